"""Who asks, and what their role may do: the one place that turns a bearer token into an `Actor`.

Default deny: a route without a dependency on `operator` or `administrator` fails the test that reads the route table.
What belongs to another organisation is refused by `directory.scope` as if it were absent (promise P8).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from admin_api.problems import challenge
from admin_api.services import Services
from core.errors import ForbiddenError
from core.log import Secret
from directory.types import Actor, Administrator, Role

MAX_TOKEN = 256


def services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


async def administrator(request: Request) -> Actor:
    """Any administrator. Raises 401 without a valid token; who shows none hears no error code (RFC 6750 3.1)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise HTTPException(401)
    found = await _holder(request, token.strip()) if len(token) <= MAX_TOKEN else None
    if found is None:
        raise HTTPException(401, headers=challenge("invalid_token"))
    return Actor(found.name, found.role, found.organisation_id)


async def _holder(request: Request, token: str) -> Administrator | None:
    return await services(request).directory.administrator(Secret(token))


async def operator(actor: Annotated[Actor, Depends(administrator)]) -> Actor:
    """The département only."""
    if actor.role is not Role.OPERATOR:
        raise ForbiddenError("only an operator may do this", code="operator-only")
    return actor


AnyAdministrator = Annotated[Actor, Depends(administrator)]
OperatorOnly = Annotated[Actor, Depends(operator)]
Rooms = Annotated[Services, Depends(services)]
