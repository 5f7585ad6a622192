"""Mailboxes (accounts inside the code). No route shows a message: administrators do not read mail."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, status

from admin_api.access import AnyAdministrator, Rooms
from admin_api.paging import MAX_PAGE, After, Limit, page
from admin_api.routes.paths import AddressPath
from admin_api.schemas import DomainText, MailboxChange, MailboxDetail, MailboxIn, MailboxOut, PasswordIn, address_of
from core.log import Secret
from delivery import standing
from store.types import AccountRef

router = APIRouter(tags=["mailboxes"])


@router.get("/mailboxes")
async def list_mailboxes(
    actor: AnyAdministrator,
    rooms: Rooms,
    domain: Annotated[DomainText | None, Query()] = None,
    after: After = "",
    limit: Limit = MAX_PAGE,
) -> list[MailboxOut]:
    """Sorted by address, which is the key of `after`."""
    accounts = await rooms.directory.accounts(actor, domain)
    return [MailboxOut.of(item) for item in page(accounts, lambda account: account.address.key, after, limit)]


@router.post("/mailboxes", status_code=status.HTTP_201_CREATED)
async def add_mailbox(wanted: MailboxIn, actor: AnyAdministrator, rooms: Rooms) -> MailboxOut:
    """Without a password nobody can log in yet."""
    password = Secret(wanted.password.get_secret_value()) if wanted.password else None
    added = await rooms.directory.add_account(
        actor,
        address_of(wanted.address),
        password=password,
        quota=wanted.quota,
        display_name=wanted.display_name,
        shared=wanted.shared,
    )
    return MailboxOut.of(added)


@router.get("/mailboxes/{address}")
async def show_mailbox(address: AddressPath, actor: AnyAdministrator, rooms: Rooms) -> MailboxDetail:
    """With its size, and whether its sending is locked; no message is opened."""
    account = await rooms.directory.account(actor, address_of(address))
    octets, messages = await (await rooms.store.account(AccountRef.of(account))).usage()
    locked = await rooms.queue.locked(account.id)
    told = MailboxOut.of(account).model_dump()
    return MailboxDetail(**told, octets=octets, messages=messages, sending_locked=locked)


@router.patch("/mailboxes/{address}")
async def change_mailbox(
    address: AddressPath, wanted: MailboxChange, actor: AnyAdministrator, rooms: Rooms
) -> MailboxOut:
    """Quota, display name, state; a suspended mailbox receives but cannot log in or send, and what it has in the
    queue is held."""
    target = address_of(address)
    await rooms.directory.account(actor, target)
    if wanted.quota is not None:
        await rooms.directory.set_quota(actor, target, wanted.quota)
    if wanted.display_name is not None:
        await rooms.directory.set_display_name(actor, target, wanted.display_name)
    if wanted.shared is not None:
        await rooms.directory.set_shared(actor, target, wanted.shared)
    if wanted.state == "suspended":
        await standing.suspend(rooms.directory, rooms.queue, actor, target)
    elif wanted.state == "active":
        await standing.resume(rooms.directory, rooms.queue, actor, target)
    return MailboxOut.of(await rooms.directory.account(actor, target))


@router.put("/mailboxes/{address}/password", status_code=status.HTTP_204_NO_CONTENT)
async def set_password(address: AddressPath, wanted: PasswordIn, actor: AnyAdministrator, rooms: Rooms) -> None:
    await rooms.directory.set_password(actor, address_of(address), Secret(wanted.password.get_secret_value()))


@router.delete("/mailboxes/{address}", status_code=status.HTTP_204_NO_CONTENT)
async def remove_mailbox(address: AddressPath, actor: AnyAdministrator, rooms: Rooms) -> None:
    """Its mail goes to the recycle bin; what it sent goes on, but for what is held of it (`held_by` "removal"). May
    be asked for again when the disk refused the first time."""
    await standing.remove(rooms.directory, rooms.store, rooms.queue, actor, address_of(address))
