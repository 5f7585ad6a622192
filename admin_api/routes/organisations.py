"""Organisations (communes)."""

from __future__ import annotations

from fastapi import APIRouter, status

from admin_api.access import AnyAdministrator, OperatorOnly, Rooms
from admin_api.paging import MAX_PAGE, After, Limit, page
from admin_api.schemas import (
    OrganisationChange,
    OrganisationDetail,
    OrganisationIn,
    OrganisationOut,
)
from delivery import standing
from directory.types import State

router = APIRouter(tags=["organisations"])


@router.get("/organisations")
async def list_organisations(
    actor: AnyAdministrator, rooms: Rooms, after: After = "", limit: Limit = MAX_PAGE
) -> list[OrganisationOut]:
    """All for an operator, one's own for a commune's administrator. Sorted by id, which is the key of `after`."""
    organisations = await rooms.directory.organisations(actor)
    return [OrganisationOut.of(item) for item in page(organisations, lambda item: item.id, after, limit)]


@router.post("/organisations", status_code=status.HTTP_201_CREATED)
async def add_organisation(wanted: OrganisationIn, actor: OperatorOnly, rooms: Rooms) -> OrganisationOut:
    return OrganisationOut.of(await rooms.directory.add_organisation(actor, wanted.name))


@router.get("/organisations/{organisation}")
async def show_organisation(organisation: str, actor: AnyAdministrator, rooms: Rooms) -> OrganisationDetail:
    """By id or name."""
    found = await rooms.directory.organisation(actor, organisation)
    octets = await rooms.store.administration.organisation_octets(found.id)
    return OrganisationDetail(**OrganisationOut.of(found).model_dump(), octets=octets)


@router.patch("/organisations/{organisation}")
async def change_organisation(
    organisation: str, wanted: OrganisationChange, actor: OperatorOnly, rooms: Rooms
) -> OrganisationOut:
    """Its ceiling: what all its mailboxes may hold together. Its state: suspended, its mailboxes receive but cannot log
    in or send, what they have in the queue is held, and its administrators' tokens do not work."""
    found = await rooms.directory.organisation(actor, organisation)
    if wanted.quota is not None:
        found = await rooms.directory.set_organisation_quota(actor, found.id, wanted.quota)
    if wanted.state is not None:
        found = await standing.set_organisation_state(
            rooms.directory, rooms.queue, actor, found.id, State(wanted.state)
        )
    return OrganisationOut.of(found)
