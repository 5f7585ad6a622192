"""A bound on a wait that mostly is none: what is answered from memory sets no timer.

`asyncio.timeout` has the loop set a timer and take it back; three checks of each message ask DNS, whose answers mostly
are known. Where each message does wait, `Bounds` has one timer for all of them.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work` when it need not wait. Else None: it is over, and who wants its result begins again, with a
    task that may wait; what it asked for meanwhile is on its way."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    return None


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which runs in the caller's task. Raises TimeoutError when it has waited for `seconds`; the
    time counts from where it waits first."""
    try:
        first = work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    async with asyncio.timeout(seconds):
        return await _resumed(work, first)


@types.coroutine
def _resumed(work: Coroutine[Any, Any, T], awaited: Any) -> Generator[Any, Any, T]:
    """The rest of `work`, which waits for `awaited` (PEP 380, "yield from" from its second step on)."""
    while True:
        try:
            try:
                sent = yield awaited
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:  # thrown into it, as "yield from" does
                awaited = work.throw(error)
            else:
                awaited = work.send(sent)
        except StopIteration as done:
            result: T = done.value
            return result


class Bounds:
    """Bounds of `seconds` each, of which hardly one is ever reached: one timer of the loop stands for all of them. It
    is set for the first one's end, and whoever began since then is looked at when it fires."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun: dict[int, tuple[float, Callable[[], object]]] = {}  # the oldest first, whose end is the next one
        self._numbers = count(1)
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, over: Callable[[], object]) -> int:
        """`over` is called in so many seconds, unless `end` is told the number before."""
        loop, number = asyncio.get_running_loop(), next(self._numbers)
        end = loop.time() + self._seconds
        self._begun[number] = (end, over)
        if self._timer is None:
            self._timer = loop.call_at(end, self._look, loop)
        return number

    def end(self, number: int) -> bool:
        """False when it was over already. Once more is no harm."""
        return self._begun.pop(number, None) is not None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now, self._timer = loop.time(), None
        while self._begun:
            number, (end, over) = next(iter(self._begun.items()))
            if end > now:
                self._timer = loop.call_at(end, self._look, loop)
                return
            del self._begun[number]
            over()

    async def within(self, work: Awaitable[T]) -> T:
        """The result of `work`, which runs in the caller's task; TimeoutError when it took too long. As
        `asyncio.timeout`: another's cancellation goes on."""
        task = asyncio.current_task()
        assert task is not None
        asked = task.cancelling()
        number = self.begin(task.cancel)
        try:
            result = await work
        except asyncio.CancelledError as cancelled:
            if self.end(number) or task.uncancel() > asked:
                raise
            raise TimeoutError from cancelled
        except BaseException:
            self._taken_back(number, task)
            raise
        self._taken_back(number, task)
        return result

    def _taken_back(self, number: int, task: asyncio.Task[object]) -> None:
        """It ended by itself, be it that it was cancelled and took no notice."""
        if not self.end(number):
            task.uncancel()
