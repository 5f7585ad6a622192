"""Results on their way into the queue: those of many jobs in one commit, and none of them later than a beat.

A message takes some milliseconds to leave and its result a commit of its own, for which the fronts wait, too: they
share one file. What is still to be written when a worker is killed is sent again (fault 146), so nothing waits long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from core.errors import TemporaryError
from delivery.queue.queue import Queue
from delivery.queue.results import Judge, Settled
from delivery.types import Result

MOST = 1000  # results in one commit


class Beat:
    """`wait` returns at once when the last return is `seconds` ago or more; else at the next beat of the loop's clock,
    which is the same for all: what follows it meets in one commit."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = float("-inf")

    async def wait(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._last < self._seconds:
            await asyncio.sleep(self._seconds - now % self._seconds)
        self._last = loop.time()


class Ledger:
    """`run` is its caller's task; without it nobody's `write` ends. `finish` once that task was cancelled."""

    def __init__(self, queue: Queue, judge: Judge, beat: float) -> None:
        self._queue = queue
        self._judge = judge
        self._beat = Beat(beat)
        self._waiting: list[tuple[Sequence[Result], asyncio.Future[list[Settled]]]] = []
        self._filled = asyncio.Event()
        self._over = False

    async def write(self, results: Sequence[Result]) -> list[Settled]:
        """`Queue.apply`; raises as it does. Once `run` has ended, `finish` writes it and nobody is told."""
        if self._over:
            self.keep(results)
            return []
        future: asyncio.Future[list[Settled]] = asyncio.get_running_loop().create_future()
        self._waiting.append((results, future))
        self._filled.set()
        return await future

    def keep(self, results: Sequence[Result]) -> None:
        """For `finish`, of a job that cannot wait any more."""
        self._waiting.append((results, asyncio.get_running_loop().create_future()))

    async def run(self) -> None:
        try:
            while True:
                await self._filled.wait()
                await self._beat.wait()
                self._filled.clear()
                await self._all()
        finally:
            self._over = True
            for _, future in self._waiting:
                if not future.done():
                    future.set_result([])

    async def finish(self) -> list[Settled]:
        """Write what still waits, also for jobs that were cancelled meanwhile: each of these results is a message that
        would be sent again. What came of them, which nobody else hears."""
        return await self._all()

    async def _all(self) -> list[Settled]:
        written: list[Settled] = []
        while self._waiting:
            part = self._part()
            try:
                written += await self._write(part)
            except asyncio.CancelledError:  # perhaps it was written; a second time is no harm
                self._waiting = [*part, *self._waiting]
                raise
        return written

    def _part(self) -> list[tuple[Sequence[Result], asyncio.Future[list[Settled]]]]:
        count = total = 0
        for results, _ in self._waiting:
            if count and total + len(results) > MOST:
                break
            count, total = count + 1, total + len(results)
        part, self._waiting = self._waiting[:count], self._waiting[count:]
        return part

    async def _write(self, part: Sequence[tuple[Sequence[Result], asyncio.Future[list[Settled]]]]) -> list[Settled]:
        try:
            settled = await self._queue.apply([result for results, _ in part for result in results], self._judge)
        except Exception as error:  # each job hears it, and decides what it is worth
            if len(part) > 1 and _of_one(error):
                return [item for each in part for item in await self._write([each])]
            for _, future in part:
                if not future.done():  # its job was cancelled
                    future.set_exception(error)
            return []
        by_id = {item.result.recipient_id: item for item in settled}
        for results, future in part:
            if not future.done():
                future.set_result([by_id[item.recipient_id] for item in results if item.recipient_id in by_id])
        return settled


def _of_one(error: Exception) -> bool:
    """A bug met with one message, or a value that the database refuses, must not keep the others' results from being
    written; a database that is away is away for all."""
    return not isinstance(error, TemporaryError) or error.code == "queue-operation"
