"""The application: bounds first, then routes, and problems for everything that fails."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from admin_api import problems
from admin_api.access import administrator
from admin_api.described import REFUSED, Described
from admin_api.intake import Intake
from admin_api.routes import (
    administrators,
    aliases,
    app_passwords,
    domains,
    grants,
    mailboxes,
    me,
    organisations,
    queue,
    recycling,
    sending,
    shares,
)
from admin_api.services import Services
from admin_api.welcome import welcome

ROUTERS: tuple[APIRouter, ...] = (
    me.router,
    organisations.router,
    administrators.router,
    domains.router,
    mailboxes.router,
    recycling.router,
    shares.router,
    app_passwords.router,
    aliases.router,
    grants.router,
    queue.router,
    sending.router,
)
LOOPBACK = ("127.0.0.1", "::1")


def create_app(services: Services, version: str) -> FastAPI:
    """`/v1/…`, `/v1/openapi.json` (with a token, or from loopback: h132), `/health`, which says nothing more, and a
    page at `/` for browsers."""
    app = Described(
        title="Beffroi", version=version, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.services = services
    problems.install(app)
    app.add_middleware(Intake, limit=services.limits.api_body)
    for router in ROUTERS:
        app.include_router(router, prefix="/v1", responses={"default": REFUSED})
    app.add_api_route("/v1/openapi.json", _openapi, include_in_schema=False)
    app.add_api_route("/health", _health, include_in_schema=False)
    app.add_api_route("/", welcome, methods=["GET", "HEAD"], include_in_schema=False)
    return app


async def _openapi(request: Request) -> Response:
    if request.client is None or request.client.host not in LOOPBACK:
        await administrator(request)
    app: FastAPI = request.app
    return JSONResponse(app.openapi())


async def _health(request: Request) -> Response:
    """200 when the directory answers, 503 when it does not."""
    services: Services = request.app.state.services
    try:
        await services.directory.hosted_domain(services.hostname)
    except Exception as error:
        raise HTTPException(503) from error
    return Response("ok\n", media_type="text/plain")
