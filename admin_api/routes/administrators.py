"""Administrators and their tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, status

from admin_api.access import AnyAdministrator, OperatorOnly, Rooms
from admin_api.paging import MAX_PAGE, After, Limit, page
from admin_api.schemas import AdministratorCreated, AdministratorDetail, AdministratorIn
from directory.types import Role

router = APIRouter(tags=["administrators"])


@router.get("/administrators")
async def list_administrators(
    actor: AnyAdministrator, rooms: Rooms, after: After = "", limit: Limit = MAX_PAGE
) -> list[AdministratorDetail]:
    """All for an operator, those of one's own commune for its administrators. Sorted by id, which is the key of
    `after`."""
    administrators = await rooms.directory.administrators(actor)
    return [AdministratorDetail.of(item) for item in page(administrators, lambda item: item.id, after, limit)]


@router.post("/administrators", status_code=status.HTTP_201_CREATED)
async def add_administrator(wanted: AdministratorIn, actor: OperatorOnly, rooms: Rooms) -> AdministratorCreated:
    """The token in the answer is shown this once."""
    added, token = await rooms.directory.add_administrator(actor, wanted.name, Role(wanted.role), wanted.organisation)
    return AdministratorCreated(**AdministratorDetail.of(added).model_dump(), token=token.reveal())


@router.delete("/administrators/{administrator}", status_code=status.HTTP_204_NO_CONTENT)
async def remove_administrator(
    administrator: Annotated[str, Path(max_length=64, description="Its id.")], actor: AnyAdministrator, rooms: Rooms
) -> None:
    """The tokens answer 401 at once. The last operator stays (409 `last-operator`)."""
    await rooms.directory.remove_administrator_by_id(actor, administrator)
