"""A mailbox removed, and its mail brought back: what the command line and REST do alike.

Removal: out of the directory, then the mail into the recycle bin.
Whatever is done to mail and not to the directory is audited before; what is absent leaves no line.
The second step may fail where the first is done (a full disk, a kill). So the removal can be asked for again: mail at
an address whose owner the directory does not know any more is taken away then.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.address import Address
from core.errors import NotFoundError
from directory.directory import Directory
from directory.types import Actor
from store import orphans
from store.store import Progress, Store, StoreAdministration
from store.types import AccountRef, Recycled, Restored


async def remove_mailbox(directory: Directory, store: Store, actor: Actor, address: Address) -> AccountRef:
    """What was removed. Raises NotFoundError when neither the directory nor the disk knows it, or it is not the
    actor's."""
    try:
        ref = AccountRef.of(await directory.remove_account(actor, address))
    except NotFoundError:
        left = await leftover(directory, store, actor, address)
        if left is None:
            raise
        await directory.record(actor, "mailbox.recycle", left.address)
        ref = left
    await store.remove_account(ref)
    return ref


async def compare(
    directory: Directory, store: Store, domain: str | None, progress: Progress | None = None
) -> list[str]:
    """Files, indexes and directory against each other; one line per fault."""
    known = await directory.accounts(Actor.console(), domain)
    on_disk = await store.administration.on_disk(domain)
    binned = orphans.binned(on_disk, known, await store.administration.recycled())
    return [
        *orphans.disagreements(on_disk, known),
        *(
            f"{ref.address}: its mail lies in the recycle bin, so nobody can use it; beffroi mailbox restore "
            f"{ref.address} --in-place brings it back"
            for ref, _ in binned
        ),
        *await store.verify(domain, progress),
    ]


async def repair(directory: Directory, store: Store, domain: str | None, progress: Progress | None = None) -> None:
    """Mail without a mailbox goes to the recycle bin, a mailbox's mail comes back from it, indexes are made again."""
    known = await directory.accounts(Actor.console(), domain)
    on_disk = await store.administration.on_disk(domain)
    for ref in orphans.orphans(on_disk, known):
        await directory.record(Actor.console(), "mailbox.recycle", ref.address)
        await store.remove_account(ref)
    for ref, item in orphans.binned(on_disk, known, await store.administration.recycled()):
        await directory.record(Actor.console(), "mailbox.restore", ref.address)
        await store.administration.give_back(ref, item)
    await store.rebuild(domain, progress)


async def leftover(directory: Directory, store: Store, actor: Actor, address: Address) -> AccountRef | None:
    """Mail at this address that belongs to no mailbox any more, within what the actor may touch (promise P8)."""
    ref = await store.administration.leftover(address.domain, address.local)
    if ref is None or actor.organisation_id not in (None, ref.organisation_id):
        return None
    return ref if await directory.account_by_id(ref.id) is None else None


async def recycle_leftover(directory: Directory, store: Store, actor: Actor, address: Address) -> None:
    """Take such mail away although a new mailbox has the address by now, which waits for its place."""
    ref = await leftover(directory, store, actor, address)
    if ref is None:
        raise NotFoundError("no mail without a mailbox lies there", code="no-leftover")
    await directory.record(actor, "mailbox.recycle", ref.address)
    await store.remove_account(ref)


async def restored_into(
    directory: Directory, administration: StoreAdministration, actor: Actor, address: Address
) -> AccountRef:
    """The mailbox that mail is to come back to. Raises NotFoundError, which tells the way where the recycle bin has
    something of this address that is the actor's."""
    try:
        return AccountRef.of(await directory.account(actor, address))
    except NotFoundError as absent:
        wanted = f"{address.local}@{address.domain}".casefold()
        left = [item for item in await administration.recycled(actor.organisation_id) if item.address == wanted]
        if not left:
            raise
        in_place = "" if all(item.folder for item in left) else " --in-place"
        raise NotFoundError(
            f"no such mailbox: it was removed, and the recycle bin has its mail; add it again (beffroi mailbox add "
            f"{address}), then beffroi mailbox restore {address}{in_place}",
            code="mailbox-removed",
        ) from absent


async def restore_items(
    directory: Directory, administration: StoreAdministration, actor: Actor, ref: AccountRef, ids: Sequence[str], *,
    in_place: bool,
) -> Restored:  # fmt: skip
    """Those named, else everything of this address and organisation. Raises NotFoundError without any."""
    items = _chosen(await administration.recycled(ref.organisation_id), ref, ids, in_place=in_place)
    await directory.record(actor, "mailbox.restore", ref.address)
    if in_place:
        return await administration.give_back(ref, items[-1])
    return await administration.restore(ref, items)


def _chosen(bin_: Sequence[Recycled], ref: AccountRef, ids: Sequence[str], *, in_place: bool) -> list[Recycled]:
    items = [item for item in bin_ if (item.id in ids if ids else item.address == ref.address)]
    if not items or len(items) < len(set(ids)):
        raise NotFoundError("no such item in the recycle bin", code="no-item")
    if not in_place:
        return items
    whole = [item for item in items if not item.folder]
    if not whole:
        raise NotFoundError("no removed mailbox of that address in the recycle bin", code="no-account-item")
    return whole
