"""The delivery process: the queue's runner with its local and remote agents, and the small background jobs."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Collection
from contextlib import AsyncExitStack

from beffroi.rooms import CLOCK, open_keyring
from beffroi.wiring import Rooms, make_agent, make_means, make_scheduler, make_tls_reporter, open_rooms
from beffroi.worker.bootstrap import Assignment
from core import log
from core.config import Config
from core.errors import MailError
from delivery.scheduler import Scheduler
from delivery.standing import Follower
from dkim_keys.domain_setup import ensure_keys
from dkim_keys.keyring import Keyring
from smtp.outbound.agent import SmtpAgent
from smtp.outbound.tls_counts import TlsCounts

ROTATION = 3600.0  # seconds between two looks at DKIM keys that wait for their records

_log = log.get(__name__)


class Runner:
    """Owns the tasks of this process: the scheduler, TLS reports, the directory's changes, keys that wait."""

    def __init__(self, config: Config, rooms: Rooms, stack: AsyncExitStack) -> None:
        self._rooms = rooms
        self._stack = stack
        self._counts = TlsCounts(rooms.queue, CLOCK)
        self._agent: SmtpAgent = make_agent(config, rooms.resolver, self._counts)
        self._scheduler: Scheduler = make_scheduler(config, rooms, make_means(config, rooms, self._agent))
        self._running = asyncio.create_task(self._scheduler.run())
        self._running.add_done_callback(_end_with)
        self._retiring: set[asyncio.Task[None]] = set()  # agents that still have what they began before a reload
        self._reporter = make_tls_reporter(config, rooms, self._counts)
        self._reports = asyncio.create_task(self._reporter.run())
        self._follower = asyncio.create_task(Follower(rooms.directory, rooms.queue.administration).run())
        self._rotation = asyncio.create_task(self._rotate(open_keyring(config, rooms.directory)))

    async def reload(self, config: Config) -> None:
        """What runs goes on as it began."""
        former, self._agent = self._agent, make_agent(config, self._rooms.resolver, self._counts)
        jobs = self._scheduler.adopt(make_means(config, self._rooms, self._agent))
        task = asyncio.create_task(_retire(former, jobs))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def drain(self) -> None:
        await self._stop_scheduler()

    async def close(self) -> None:
        tasks = (self._rotation, self._running, self._reports, self._follower, *self._retiring)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._agent.close()
        await self._reporter.close()
        await self._stack.aclose()

    async def _stop_scheduler(self) -> None:
        self._scheduler.stop()
        await asyncio.gather(self._running, return_exceptions=True)

    async def _rotate(self, keyring: Keyring) -> None:
        """At start, keys for a domain that was added by a process killed before it made them; then the rotation."""
        while True:
            try:
                await ensure_keys(self._rooms.directory, keyring)
                await keyring.activate_due(self._rooms.resolver)
            except MailError as error:
                _log.warning("dkim-rotation-put-off", code=error.code)
            except Exception:  # the next look may fare better; the queue goes on in any case
                _log.exception("dkim-rotation-failed")
            await asyncio.sleep(ROTATION)


async def _retire(agent: SmtpAgent, jobs: Collection[asyncio.Task[None]]) -> None:
    """Closed once nobody uses it, who is about to call it included: its policies could not be asked for any more."""
    try:
        if jobs:
            await asyncio.wait(jobs)
    finally:
        await agent.retire()


def _end_with(task: asyncio.Task[None]) -> None:
    """A process whose scheduler failed would hold the queue and deliver nothing: it ends, and the supervisor starts
    another (promise P6)."""
    if not task.cancelled() and task.exception() is not None:
        _log.error("scheduler-failed", exc_info=task.exception())
        os.kill(os.getpid(), signal.SIGTERM)


async def start(_assignment: Assignment, config: Config) -> Runner:
    stack = AsyncExitStack()
    try:
        rooms = await stack.enter_async_context(open_rooms(config))
        return Runner(config, rooms, stack)
    except BaseException:
        await stack.aclose()
        raise
