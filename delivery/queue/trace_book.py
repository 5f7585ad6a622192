"""Collects trace entries and writes them a moment later, many at a time: no message waits for its trace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from core import log
from core.errors import MailError
from delivery.queue import tracing
from delivery.queue.store import QueueStore
from delivery.types import TraceEntry

PAUSE = 1.0  # seconds
MOST = 20_000  # entries in memory: what cannot be written for long is dropped, and said so
BATCH = 1000

_log = log.get(__name__)


class TraceBook:
    """Owns at most one task, which `close` ends after a last write."""

    def __init__(self, database: QueueStore) -> None:
        self._database = database
        self._entries: list[TraceEntry] = []
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._waits = ""  # why entries wait; tried each second, told once for each reason

    def note(self, entries: Sequence[TraceEntry]) -> None:
        if self._closed:
            return
        if len(self._entries) + len(entries) > MOST:
            _log.error("trace-dropped", entries=len(entries))
            return
        self._entries += entries
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._later())

    async def close(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.flush()

    async def flush(self) -> None:
        """Never raises for a database that is away: the entries wait."""
        while self._entries:
            batch, self._entries = self._entries[:BATCH], self._entries[BATCH:]
            try:
                await self._database.write(partial(tracing.add, entries=batch), durable=False)
            except MailError as error:
                self._entries = batch + self._entries
                if error.code != self._waits:
                    _log.warning("trace-waits", code=error.code, entries=len(self._entries))
                    self._waits = error.code
                return
            self._waits = ""

    async def _later(self) -> None:
        """Until everything is written; what comes meanwhile is taken along."""
        while self._entries:
            await asyncio.sleep(PAUSE)
            await self.flush()
