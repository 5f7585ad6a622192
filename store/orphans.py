"""The accounts on disk against those the directory knows: after a restore of one without the other (fault 167), after a
removal that was cut off. Pure.

An account without a directory on disk is no fault: it is made at its first use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from directory.types import KEEPER, Account
from store.types import AccountRef, Recycled


def orphans(on_disk: Sequence[AccountRef], known: Sequence[Account]) -> list[AccountRef]:
    """Those whose mailbox is gone; the one that keeps postmaster's mail is in no directory."""
    ids = {KEEPER, *(account.id for account in known)}
    return [ref for ref in on_disk if ref.id not in ids]


def binned(
    on_disk: Sequence[AccountRef], known: Sequence[Account], bin_: Sequence[Recycled]
) -> list[tuple[AccountRef, Recycled]]:
    """Mailboxes that the directory knows and whose mail was removed with them: the directory is an older one, put back.
    Nobody is served them, for sessions of a mailbox that is being removed must not make it anew."""
    present = {ref.id for ref in on_disk}
    last = {item.account_id: item for item in bin_ if not item.folder}  # oldest first
    refs = (AccountRef.of(account) for account in known if account.id not in present)
    return [(ref, last[ref.id]) for ref in refs if ref.id in last]


def disagreements(on_disk: Sequence[AccountRef], known: Sequence[Account]) -> Iterator[str]:
    """One line per fault."""
    lost = orphans(on_disk, known)
    for ref in lost:
        yield f"{ref.address}: mail whose mailbox is gone; beffroi store recycle {ref.address} takes it away"
    accounts = {account.id: AccountRef.of(account) for account in known}
    for ref in (ref for ref in on_disk if ref.id in accounts):
        account = accounts[ref.id]
        if ref.address != account.address:
            yield f"{ref.address}: holds the mail of {account.address}"
        if ref.organisation_id != account.organisation_id:
            yield f"{ref.address}: belongs to another organisation than the directory tells"
    for account_id, times in Counter(ref.id for ref in on_disk).items():
        if times > 1:
            places = ", ".join(ref.address for ref in on_disk if ref.id == account_id)
            yield f"{places}: the same mailbox, copied by hand"
