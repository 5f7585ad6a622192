"""Messages of our own that nobody waits for, on their way into the queue: what tells a commune of a limit may neither
delay nor change the answer to the message that met it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from core import log
from core.errors import ConflictError, MailError
from delivery.queue.rows import NewMessage

PAUSE = 1.0  # seconds between two tries
MOST = 1000  # in memory: what cannot be written for long is dropped, and said so

_log = log.get(__name__)


class Outbox:
    """Owns at most one task, which `close` ends after a last try. `enqueue` is the queue's own."""

    def __init__(self, enqueue: Callable[[NewMessage], Awaitable[object]]) -> None:
        self._enqueue = enqueue
        self._waiting: deque[NewMessage] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(self, new: NewMessage) -> None:
        if len(self._waiting) >= MOST:
            _log.error("own-message-dropped", queue_id=new.queue_id)
            return
        self._waiting.append(new)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._later())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._write()

    async def _later(self) -> None:
        while True:
            if await self._write():
                return
            await asyncio.sleep(PAUSE)

    async def _write(self) -> bool:
        """False while something waits. A try that was cut off, or whose outcome is unknown, may have been the one."""
        while self._waiting:
            new = self._waiting[0]
            try:
                await self._enqueue(new)
            except ConflictError:
                pass
            except MailError as error:
                _log.warning("own-message-waits", queue_id=new.queue_id, code=error.code)
                return False
            except Exception:  # a bug met by one of them: those behind it go on
                _log.exception("own-message-lost", queue_id=new.queue_id)
            self._waiting.popleft()
        return True
