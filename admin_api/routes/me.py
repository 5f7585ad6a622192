"""Who am I: what a token login shows first."""

from __future__ import annotations

from fastapi import APIRouter

from admin_api.access import AnyAdministrator
from admin_api.schemas import AdministratorOut

router = APIRouter(tags=["access"])


@router.get("/me")
async def me(actor: AnyAdministrator) -> AdministratorOut:
    """The administrator whose token this is."""
    return AdministratorOut(name=actor.name, role=actor.role.value, organisation=actor.organisation_id)
