"""The web process: REST and metrics under uvicorn (touched here only), on the sockets it was given."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from importlib.metadata import version

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from admin_api.app import create_app
from admin_api.services import Services
from beffroi import metrics
from beffroi.rooms import CLOCK, open_keyring
from beffroi.wiring import Rooms, open_rooms
from beffroi.worker.bootstrap import Assignment
from beffroi.worker.sites import Certificates, Sites
from core.config import Config
from dkim_keys.client_records import client_services
from dkim_keys.sts_policy import policy_text

KEEP_ALIVE = 15  # seconds
GRACE = 20  # seconds for requests under way at a clean stop
LOOK = 10.0  # seconds between two looks at a connection; one that brings no whole request head between two is closed


class Patient(AutoHTTPProtocol):  # type: ignore[misc,valid-type]  # uvicorn chooses the class when it is imported
    """uvicorn waits for ever for a connection's first request, and for the rest of any head: a stranger who only
    connects would take all places (row 36)."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._found: object = self
        self._look = self.loop.call_later(LOOK, self._look_again)

    def _look_again(self) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self._found is self.cycle:
            self.transport.close()
            return
        self._found = self.cycle if idle else self
        self._look = self.loop.call_later(LOOK, self._look_again)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look.cancel()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the worker's bootstrap has them."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Web:
    """The doors of this process, each with a server of its own: REST, the sites of MTA-STS, metrics."""

    def __init__(self, config: Config, rooms: Rooms, stack: AsyncExitStack) -> None:
        self._rooms = rooms
        self._stack = stack
        self._servers: list[_Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._services = _services(config, rooms)
        self._api = create_app(self._services, version("beffroi"))
        self._config = config
        self._sites = Sites(rooms.directory, lambda: self._config)
        self._certificates = Certificates(config) if config.listen.https else None

    async def serve(self, sockets: tuple[tuple[str, socket.socket], ...]) -> None:
        applications: dict[str, ASGIApp] = {"api": self._api, "https": self._sites, "metrics": metrics.application}
        for role, sock in sockets:
            application = applications[role]
            settings = uvicorn.Config(
                application,
                http=Patient,
                log_config=None,
                log_level="error",  # each request that is none would be a line: the https door is open to the world
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE,
                limit_concurrency=200,
                timeout_graceful_shutdown=GRACE,
            )
            settings.load()
            if role == "https" and self._certificates is not None:
                settings.ssl = self._certificates.context
            server = _Server(settings)
            self._servers.append(server)
            self._tasks.append(asyncio.create_task(server.serve(sockets=[sock])))
        while not all(server.started for server in self._servers):
            if any(task.done() for task in self._tasks):
                raise RuntimeError("the web server did not start")
            await asyncio.sleep(0.01)

    async def reload(self, config: Config) -> None:
        if self._certificates is not None:
            self._certificates.reload(config)
        self._config = config
        self._api.state.services = _services(config, self._rooms)

    async def drain(self) -> None:
        for server in self._servers:
            server.should_exit = True
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        await self.drain()
        await self._stack.aclose()


def _services(config: Config, rooms: Rooms) -> Services:
    return Services(
        hostname=config.hostname,
        limits=config.limits,
        directory=rooms.directory,
        keyring=open_keyring(config, rooms.directory),
        store=rooms.store,
        queue=rooms.queue.administration,
        resolver=rooms.resolver,
        clock=CLOCK,
        sts_policy=policy_text(config),
        client_services=client_services(config.listen),
    )


async def start(assignment: Assignment, config: Config) -> Web:
    stack = AsyncExitStack()
    try:
        web = Web(config, await stack.enter_async_context(open_rooms(config)), stack)
        await web.serve(assignment.sockets)
    except BaseException:
        await stack.aclose()
        raise
    return web
