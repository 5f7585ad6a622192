"""A bound on a wait that mostly is none: what is answered from memory sets no timer.

`asyncio.timeout` has the loop set a timer and take it back; three checks of each message ask DNS, whose answers mostly
are known.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
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
