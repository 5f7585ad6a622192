"""Aliases: addresses that lead to others."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, status

from admin_api.access import AnyAdministrator, Rooms
from admin_api.paging import MAX_PAGE, After, Limit, page
from admin_api.routes.paths import AddressPath
from admin_api.schemas import AliasIn, AliasOut, DomainText, address_of

router = APIRouter(tags=["aliases"])


@router.get("/aliases")
async def list_aliases(
    actor: AnyAdministrator,
    rooms: Rooms,
    domain: Annotated[DomainText | None, Query()] = None,
    after: After = "",
    limit: Limit = MAX_PAGE,
) -> list[AliasOut]:
    """Sorted by address, which is the key of `after`."""
    aliases = await rooms.directory.aliases(actor, domain)
    return [AliasOut.of(item) for item in page(aliases, lambda alias: alias.address.key, after, limit)]


@router.post("/aliases", status_code=status.HTTP_201_CREATED)
async def add_alias(wanted: AliasIn, actor: AnyAdministrator, rooms: Rooms) -> AliasOut:
    targets = [address_of(target) for target in wanted.targets]
    return AliasOut.of(await rooms.directory.add_alias(actor, address_of(wanted.address), targets))


@router.delete("/aliases/{address}", status_code=status.HTTP_204_NO_CONTENT)
async def remove_alias(address: AddressPath, actor: AnyAdministrator, rooms: Rooms) -> None:
    await rooms.directory.remove_alias(actor, address_of(address))
