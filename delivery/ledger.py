"""Results on their way into the queue: those of many jobs in one commit, and none of them later than a beat.

A message takes some milliseconds to leave and its result a commit of its own, for which the fronts wait, too: they
share one file. What is still to be written when a worker is killed is sent again (fault 146), so nothing waits long.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from core import log
from core.errors import TemporaryError
from delivery.queue.queue import Queue
from delivery.queue.results import Judge, Settled
from delivery.types import Result

MOST = 1000  # results in one commit

# Results of one job, and how it hears whose were nobody's any more; None: it does not.
_Entry = tuple[Sequence[Result], asyncio.Future[frozenset[int]] | None]

_log = log.get(__name__)


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
    """`run` is its caller's task; without it nobody's `write` ends. `finish` once that task was cancelled. `told` hears
    what came of each result that was written, once, whether its job still waits for it or was cancelled."""

    def __init__(self, queue: Queue, judge: Judge, beat: float, told: Callable[[Sequence[Settled]], None]) -> None:
        self._queue = queue
        self._judge = judge
        self._beat = Beat(beat)
        self._told = told
        self._waiting: list[_Entry] = []
        self._left: list[_Entry] = []  # could not be written, and nobody waits who would try again
        self._filled = asyncio.Event()
        self._over = False

    async def write(self, results: Sequence[Result]) -> frozenset[int]:
        """`Queue.apply`; raises as it does. Those recipients that were not written: dropped meanwhile, or another
        worker's by now. Once `run` has ended, `finish` writes it and nobody waits."""
        if self._over:
            self.keep(results)
            return frozenset()
        future: asyncio.Future[frozenset[int]] = asyncio.get_running_loop().create_future()
        self._waiting.append((results, future))
        self._filled.set()
        return await future

    def keep(self, results: Sequence[Result]) -> None:
        """Of a job that cannot wait any more."""
        self._waiting.append((results, None))
        self._filled.set()

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
                if future is not None and not future.done():
                    future.set_result(frozenset())

    async def finish(self) -> None:
        """Write what still waits, also for jobs that were cancelled meanwhile: each of these results is a message that
        would be sent again."""
        self._waiting, self._left = [*self._waiting, *self._left], []
        await self._all()
        if self._left:
            _log.error("results-not-recorded", results=sum(len(results) for results, _ in self._left))

    async def _all(self) -> None:
        while self._waiting:
            writing = asyncio.ensure_future(self._write(self._part()))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:  # what runs is perhaps committed: what came of it has to be heard
                while not writing.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait({writing})
                raise

    def _part(self) -> list[_Entry]:
        count = total = 0
        for results, _ in self._waiting:
            if count and total + len(results) > MOST:
                break
            count, total = count + 1, total + len(results)
        part, self._waiting = self._waiting[:count], self._waiting[count:]
        return part

    async def _write(self, part: Sequence[_Entry]) -> None:
        try:
            settled = await self._queue.apply([result for results, _ in part for result in results], self._judge)
        except Exception as error:  # each job hears it, and decides what it is worth
            if len(part) > 1 and _of_one(error):
                for each in part:
                    await self._write([each])
                return
            for results, future in part:
                if future is None or future.done():  # its job was cancelled
                    self._left.append((results, None))
                else:
                    future.set_exception(error)
            return
        self._tell(settled)
        written = {item.recipient.id for item in settled}
        for results, future in part:
            if future is not None and not future.done():
                future.set_result(frozenset(result.recipient_id for result in results) - written)

    def _tell(self, settled: Sequence[Settled]) -> None:
        try:
            self._told(settled)
        except Exception:  # a bug in what is said of one must not end the writing of all
            _log.exception("result-not-told")


def _of_one(error: Exception) -> bool:
    """A bug met with one message, or a value that the database refuses, must not keep the others' results from being
    written; a database that is away is away for all."""
    return not isinstance(error, TemporaryError) or error.code == "queue-operation"
