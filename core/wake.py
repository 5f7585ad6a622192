"""A word to one who waits. `asyncio.Event` does the same for many and keeps a queue of them: 700 octets for each of the
connections that wait in IDLE.
"""

from __future__ import annotations

import asyncio


class Wake:
    """For the loop it is used in; one waits at a time."""

    __slots__ = ("_given", "_waiter")

    def __init__(self) -> None:
        self._given = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._given = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def is_set(self) -> bool:
        return self._given

    def clear(self) -> None:
        """The next `wait` waits for the next `set`; who was woken before is awake."""
        self._given = False

    async def wait(self) -> None:
        if self._given:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
