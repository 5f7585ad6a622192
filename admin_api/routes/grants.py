"""Grants (sending in a colleague's name) and the operator's postmaster."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, status

from admin_api.access import AnyAdministrator, OperatorOnly, Rooms
from admin_api.paging import MAX_PAGE, After, Limit, page
from admin_api.routes.paths import known_shape
from admin_api.schemas import GrantIn, GrantOut, PostmasterIn, address_of

router = APIRouter(tags=["grants"])


def _owner(owner: Annotated[str, Path(max_length=400)]) -> str:
    return known_shape(owner)


def _grantee(grantee: Annotated[str, Path(max_length=400)]) -> str:
    return known_shape(grantee)


@router.get("/grants")
async def list_grants(
    actor: AnyAdministrator, rooms: Rooms, after: After = "", limit: Limit = MAX_PAGE
) -> list[GrantOut]:
    """Sorted by "owner,grantee", which is the key of `after`."""
    grants = await rooms.directory.grants(actor)
    return [GrantOut.of(item) for item in page(grants, lambda it: f"{it.owner.key},{it.grantee.key}", after, limit)]


@router.post("/grants", status_code=status.HTTP_201_CREATED)
async def add_grant(wanted: GrantIn, actor: AnyAdministrator, rooms: Rooms) -> GrantOut:
    """`grantee` may send in the name of `owner`; both mailboxes of one organisation."""
    return GrantOut.of(await rooms.directory.add_grant(actor, address_of(wanted.owner), address_of(wanted.grantee)))


@router.delete("/grants/{owner}/{grantee}", status_code=status.HTTP_204_NO_CONTENT)
async def remove_grant(
    owner: Annotated[str, Depends(_owner)],
    grantee: Annotated[str, Depends(_grantee)],
    actor: AnyAdministrator,
    rooms: Rooms,
) -> None:
    await rooms.directory.remove_grant(actor, address_of(owner), address_of(grantee))


@router.put("/postmaster", status_code=status.HTTP_204_NO_CONTENT)
async def set_postmaster(wanted: PostmasterIn, actor: OperatorOnly, rooms: Rooms) -> None:
    """Where postmaster@ and abuse@ of this host, and of communes without a mailbox, lead; null takes it away."""
    address = address_of(wanted.address) if wanted.address is not None else None
    await rooms.directory.set_operator_postmaster(actor, address)
