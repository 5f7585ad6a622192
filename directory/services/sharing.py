"""Operations on access lists: what a holder does over IMAP (RFC 4314), and what an administrator shares at once.

Whoever changes a list must have the right to, which is checked before (`directory.sharing`); here it is bounded to one
organisation: a grantee of another one is unknown (promise P8).
"""

from __future__ import annotations

from collections.abc import Sequence

from core.address import Address
from directory import scope
from directory.codes import refusal
from directory.repositories.acl import WHOLE, Stored
from directory.repositories.grants import SEND_AS, SET_QUOTA
from directory.rights import ANYONE, NEGATIVE, Right, letters
from directory.types import Account, AclEntry, Actor, Change, Share
from directory.work import Work

UNSUBSCRIBED = "/private/vendor/beffroi/unsubscribed"  # the annotation of a shared folder somebody wants hidden
MAX_ENTRIES = 200  # of one folder: what a GETACL answers


async def set_entry(
    work: Work, actor: Actor, owner: Address, folder_id: str, grantee: Address | None, change: Change
) -> None:
    """One entry of one folder, or of the whole account (`folder_id` ""). `grantee` None: anyone. An entry of negative
    rights stands beside the other one of its grantee (RFC 4314 2)."""
    account = (await scope.account(work, actor, owner)).own
    sign = NEGATIVE if change.negative else ""
    subject = sign + await _subject(work, actor, account, grantee)
    kept = await work.acl.find(account.id, folder_id, subject)
    inherited = await work.acl.find(account.id, WHOLE, subject) if folder_id != WHOLE else None
    before = kept.rights if kept else inherited.rights if inherited else Right.NONE
    rights = change.applied(before)
    if kept is not None and not rights and inherited is None:
        await work.acl.remove(kept.id)
    elif kept is not None:
        await work.acl.change(kept.id, rights)
    elif rights or inherited is not None:  # without rights it hides what the whole account grants
        await _check_room(work, account.id, folder_id)
        entry = Stored("", folder_id, subject, grantee, rights)
        await work.acl.add(work.new_id(), account.id, entry, created_ms=work.now_ms())
    told = f"{account.address} {folder_id or 'all'}: {sign}{grantee or ANYONE} {letters(rights) or '-'}"
    work.tell("acl-set", told, account.organisation_id)


async def share(
    work: Work,
    actor: Actor,
    owner: Address,
    grantee: Address | None,
    rights: Right,
    *,
    send_as: bool,
    set_quota: bool = False,
) -> Share:
    """The whole account, folder by folder exceptions forgotten; `send_as` and `set_quota` also give or take those
    grants. RFC 9208 6: to set a quota needs the right "a", too."""
    account = (await scope.account(work, actor, owner)).own
    subject = await _subject(work, actor, account, grantee)
    if grantee is None and send_as:
        raise refusal("send-as-for-anyone")
    if grantee is None and set_quota:
        raise refusal("set-quota-for-anyone")
    if set_quota and Right.ADMINISTER not in rights:
        raise refusal("set-quota-needs-manage")
    await work.acl.remove_subject(account.id, subject)
    entry = Stored("", WHOLE, subject, grantee, rights)
    await work.acl.add(work.new_id(), account.id, entry, created_ms=work.now_ms())
    if grantee is not None:
        await _grant(work, account.id, subject, SEND_AS, send_as)
        await _grant(work, account.id, subject, SET_QUOTA, set_quota)
    granted = f"{' send-as' if send_as else ''}{' set-quota' if set_quota else ''}"
    work.tell(
        "mailbox-shared", f"{account.address}: {grantee or ANYONE} {letters(rights)}{granted}", account.organisation_id
    )
    return Share(account.address, grantee, rights, send_as, set_quota)


async def _grant(work: Work, owner_id: str, grantee_id: str, kind: str, wanted: bool) -> None:
    if wanted == await work.grants.exists(owner_id, grantee_id, kind):
        return
    if wanted:
        await work.grants.add(owner_id, grantee_id, created_ms=work.now_ms(), kind=kind)
    else:
        await work.grants.remove(owner_id, grantee_id, kind)


async def unshare(work: Work, actor: Actor, owner: Address, grantee: Address | None) -> None:
    """Everything that `grantee` was granted there, sending and its quota included."""
    account = (await scope.account(work, actor, owner)).own
    subject = await _subject(work, actor, account, grantee)
    if await work.acl.find(account.id, WHOLE, subject) is None:
        raise refusal("unknown-share")
    await work.acl.remove_subject(account.id, subject)
    if grantee is not None:
        await work.grants.remove(account.id, subject, SEND_AS)
        await work.grants.remove(account.id, subject, SET_QUOTA)
    work.tell("mailbox-unshared", f"{account.address}: {grantee or ANYONE}", account.organisation_id)


async def shares(work: Work, actor: Actor, owner: Address) -> Sequence[Share]:
    """What is shared of the whole account; single folders are their holder's business."""
    account = (await scope.account(work, actor, owner)).own
    found = []
    for entry in await work.acl.of(account.id, WHOLE):
        send_as = entry.address is not None and await work.grants.exists(account.id, entry.subject, SEND_AS)
        set_quota = entry.address is not None and await work.grants.exists(account.id, entry.subject, SET_QUOTA)
        found.append(Share(account.address, entry.address, entry.rights, send_as, set_quota))
    return found


async def entries(work: Work, account_id: str, folder_id: str) -> Sequence[AclEntry]:
    """The list that counts for a folder: its own entries, and the whole account's where it has none of its own."""
    found: dict[str, AclEntry] = {}
    for entry in await work.acl.of(account_id, folder_id):
        if entry.folder_id == folder_id or entry.subject not in found:
            found[entry.subject] = AclEntry(entry.address, entry.rights, entry.subject.startswith(NEGATIVE))
    return [entry for entry in found.values() if entry.rights]


async def inherit(work: Work, account_id: str, parent_id: str, folder_id: str) -> None:
    """RFC 4314 4: a new folder begins with its parent's list."""
    for entry in await work.acl.of(account_id, parent_id):
        if entry.folder_id == parent_id != WHOLE:
            copied = Stored("", folder_id, entry.subject, entry.address, entry.rights)
            await work.acl.add(work.new_id(), account_id, copied, created_ms=work.now_ms())


async def subscribe(work: Work, reader: Account, owner: Account, folder_id: str, subscribed: bool) -> None:
    if subscribed:
        await work.annotations.remove(owner.id, folder_id, reader.id, UNSUBSCRIBED)
    else:
        await work.annotations.put(work.new_id(), owner.id, folder_id, reader.id, UNSUBSCRIBED, b"1")


async def _subject(work: Work, actor: Actor, owner: Account, grantee: Address | None) -> str:
    """Raises unless the grantee belongs to the owner's organisation; the owner needs no entry."""
    if grantee is None:
        return ANYONE
    found = (await scope.account(work, actor, grantee)).own
    if found.organisation_id != owner.organisation_id:
        raise refusal("grant-across-organisations")
    if found.id == owner.id:
        raise refusal("acl-of-owner")
    return found.id


async def _check_room(work: Work, account_id: str, folder_id: str) -> None:
    if len(await work.acl.of(account_id, folder_id)) >= MAX_ENTRIES:
        raise refusal("acl-full")
