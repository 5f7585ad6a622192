"""App passwords of a mailbox: for a telephone, a mail program, a copier. Whoever makes one sees it once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, status

from admin_api.access import AnyAdministrator, Rooms
from admin_api.routes.paths import AddressPath
from admin_api.schemas import address_of
from admin_api.schemas_access import AppPasswordCreated, AppPasswordIn, AppPasswordOut
from directory.types import Scope

router = APIRouter(tags=["app passwords"])


@router.get("/mailboxes/{address}/app-passwords")
async def list_app_passwords(address: AddressPath, actor: AnyAdministrator, rooms: Rooms) -> list[AppPasswordOut]:
    """At most 50, oldest first; those that have ended among them."""
    return [AppPasswordOut.of(item) for item in await rooms.directory.app_passwords(actor, address_of(address))]


@router.post("/mailboxes/{address}/app-passwords", status_code=status.HTTP_201_CREATED)
async def add_app_password(
    address: AddressPath, wanted: AppPasswordIn, actor: AnyAdministrator, rooms: Rooms
) -> AppPasswordCreated:
    about, password = await rooms.directory.add_app_password(
        actor,
        address_of(address),
        wanted.label,
        Scope(wanted.scope),
        networks=wanted.networks,
        expires_at=wanted.expires_at,
        bare_lines=wanted.bare_lines,
    )
    return AppPasswordCreated(**AppPasswordOut.of(about).model_dump(), password=password.reveal())


@router.delete("/mailboxes/{address}/app-passwords/{app_password}", status_code=status.HTTP_204_NO_CONTENT)
async def remove_app_password(
    address: AddressPath, app_password: Annotated[str, Path(max_length=64)], actor: AnyAdministrator, rooms: Rooms
) -> None:
    """Sessions that it opened end within seconds."""
    await rooms.directory.remove_app_password(actor, address_of(address), app_password)
