"""The recycle bin: what was removed in the last days, and its way back. No route shows a message."""

from __future__ import annotations

from fastapi import APIRouter

from admin_api.access import AnyAdministrator, Rooms
from admin_api.routes.paths import AddressPath
from admin_api.schemas import RecycledOut, RestoredOut, RestoreIn, address_of
from store.custody import restore_items, restored_into

router = APIRouter(tags=["mailboxes"])

MOST = 1000


@router.get("/recycled")
async def list_recycled(actor: AnyAdministrator, rooms: Rooms) -> list[RecycledOut]:
    """Newest first, at most 1,000; a commune sees its own."""
    found = await rooms.store.administration.recycled(actor.organisation_id)
    return [RecycledOut.of(item) for item in reversed(found[-MOST:])]


@router.post("/mailboxes/{address}/restore")
async def restore_mailbox(
    address: AddressPath, wanted: RestoreIn, actor: AnyAdministrator, rooms: Rooms
) -> RestoredOut:
    """Mail comes back in folders below "Restauration <date>"; the mailbox itself must exist. One that was
    removed (`mailbox-removed`) is added again first, then `in_place` makes it what it was. Audited before: mail that
    somebody deleted can be read again. What is absent is 404 and leaves no line."""
    administration = rooms.store.administration
    ref = await restored_into(rooms.directory, administration, actor, address_of(address))
    done = await restore_items(rooms.directory, administration, actor, ref, wanted.items, in_place=wanted.in_place)
    return RestoredOut.of(done)
