"""The web process: REST and metrics under uvicorn (touched here only), on the sockets it was given."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from importlib.metadata import version

import uvicorn

from admin_api.app import create_app
from admin_api.services import Services
from beffroi import metrics
from beffroi.rooms import CLOCK, open_keyring
from beffroi.wiring import Rooms, open_rooms
from beffroi.worker.bootstrap import Assignment
from core import log
from core.config import Config

KEEP_ALIVE = 15  # seconds
_log = log.get(__name__)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the worker's bootstrap has them."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Web:
    def __init__(self, config: Config, rooms: Rooms, stack: AsyncExitStack) -> None:
        self._config = config
        self._rooms = rooms
        self._stack = stack
        self._servers: list[_Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._services = _services(config, rooms)
        self._api = create_app(self._services, version("beffroi"))

    async def serve(self, sockets: tuple[tuple[str, socket.socket], ...]) -> None:
        for role, sock in sockets:
            application = metrics.application if role == "metrics" else self._api
            settings = uvicorn.Config(
                application,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE,
                limit_concurrency=200,
                ssl_certfile=str(self._config.certificate_file) if role == "https" else None,
                ssl_keyfile=str(self._config.key_file) if role == "https" else None,
            )
            server = _Server(settings)
            self._servers.append(server)
            self._tasks.append(asyncio.create_task(server.serve(sockets=[sock])))
        while not all(server.started for server in self._servers):
            if any(task.done() for task in self._tasks):
                raise RuntimeError("the web server did not start")
            await asyncio.sleep(0.01)

    async def reload(self, config: Config) -> None:
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
