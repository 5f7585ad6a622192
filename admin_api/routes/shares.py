"""Shared mailboxes: one call lets a colleague read, write and send; nobody of another commune ever."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, status

from admin_api.access import AnyAdministrator, Rooms
from admin_api.routes.paths import AddressPath, known_shape
from admin_api.schemas import address_of
from admin_api.schemas_access import ShareIn, ShareOut
from core.address import Address
from directory import rights
from directory.rights import ANYONE

router = APIRouter(tags=["shared mailboxes"])


def _grantee(grantee: Annotated[str, Path(max_length=400, description='An address, or "anyone".')]) -> Address | None:
    return None if grantee == ANYONE else address_of(known_shape(grantee))


Grantee = Annotated[Address | None, Depends(_grantee)]


@router.get("/mailboxes/{address}/shares")
async def list_shares(address: AddressPath, actor: AnyAdministrator, rooms: Rooms) -> list[ShareOut]:
    """With whom the whole mailbox is shared; single folders are shared by their holder, over IMAP."""
    return [ShareOut.of(item) for item in await rooms.directory.sharing.shares(actor, address_of(address))]


@router.put("/mailboxes/{address}/shares/{grantee}")
async def share(
    address: AddressPath, grantee: Grantee, wanted: ShareIn, actor: AnyAdministrator, rooms: Rooms
) -> ShareOut:
    """Gives these rights in all folders, in place of those they had; `send_as` gives or takes sending, too, and
    `set_quota` setting how much it may hold."""
    granted = rights.bundle(wanted.rights)
    sharing = rooms.directory.sharing
    owner, send_as, set_quota = address_of(address), wanted.send_as, wanted.set_quota
    return ShareOut.of(await sharing.share(actor, owner, grantee, granted, send_as=send_as, set_quota=set_quota))


@router.delete("/mailboxes/{address}/shares/{grantee}", status_code=status.HTTP_204_NO_CONTENT)
async def unshare(address: AddressPath, grantee: Grantee, actor: AnyAdministrator, rooms: Rooms) -> None:
    """Everything they had there, sending and its quota included."""
    await rooms.directory.sharing.unshare(actor, address_of(address), grantee)
