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
        self.rouse()

    def rouse(self) -> None:
        """Whoever waits goes on, and was given no word."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def is_set(self) -> bool:
        return self._given

    def clear(self) -> None:
        """The next `wait` waits for the next `set`; who was woken before is awake."""
        self._given = False

    def wait(self) -> asyncio.Future[None]:
        """To be awaited at once. (No coroutine, of which each that waits takes 250 octets.)"""
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        if self._given:
            waiter.set_result(None)
        return waiter


class Alarms:
    """Rouses those who have waited long enough, by one timer for all of a loop: `asyncio.timeout` makes one for each,
    800 octets. The time is kept to a hundredth."""

    __slots__ = ("_due", "_next", "_timer")

    def __init__(self) -> None:
        self._due: dict[Wake, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0  # when it rings

    def begin(self, wake: Wake, seconds: float) -> None:
        """Who waits for it is roused once they have passed, unless it was `end`ed. (No coroutine of ours around his:
        that one would cost 200 octets again.)"""
        due = self._due[wake] = asyncio.get_running_loop().time() + seconds
        if self._timer is None or due < self._next:
            self._ring(due, seconds / 100)

    def end(self, wake: Wake) -> None:
        del self._due[wake]

    def _ring(self, at: float, grain: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._next = asyncio.get_running_loop().call_at(at, self._look, grain), at

    def _look(self, grain: float) -> None:
        """Again when the next is due, but not for each of thousands."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        for wake, due in self._due.items():
            if due <= now:
                wake.rouse()
        later = min((due for due in self._due.values() if due > now), default=0.0)
        if later:
            self._ring(max(later, now + grain), grain)
