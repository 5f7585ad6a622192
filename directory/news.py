"""That something in the directory has changed, here or in another process: told at once where the database tells of
every commit (`core.sqlite.Watch`), else found by whoever looks by the clock.

One per directory. Knows neither what changed nor for whom: who listens looks for himself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import core.log
from core.sqlite import Watch

LOOK = 0.04  # seconds between two looks while anybody listens; a look takes microseconds
REST = 1.0  # seconds between two rings: each lets every listener ask the directory

log = core.log.get(__name__)
Forget = Callable[[], None]


class News:
    """`forget` is called for each change that was heard of, before anybody is told."""

    def __init__(self, watch: Watch | None, forget: Forget) -> None:
        self._watch = watch
        self._forget = forget
        self._listeners: dict[object, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rung = 0  # the change that listeners were told of last
        self.changes = 0

    def heed(self) -> bool:
        """Forget what was kept, if anything changed since the last look. False where the database does not tell."""
        if self._watch is None:
            return False
        if self._watch.moved():
            self.changes += 1
            self._forget()
        return True

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """`callback` is called within `LOOK` of a change, of many at once within `REST`; never where the database does
        not tell. Returns what ends it."""
        token = object()
        if self._watch is not None and not self._listeners:
            self.heed()
            self._rung = self.changes
            self._later(LOOK)
        self._listeners[token] = callback

        def stop() -> None:
            self._listeners.pop(token, None)

        return stop

    def close(self) -> None:
        self._listeners.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _later(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._listeners:
            return
        self.heed()
        if self.changes == self._rung:
            self._later(LOOK)
            return
        self._rung = self.changes
        self._later(REST)
        for callback in tuple(self._listeners.values()):
            try:
                callback()
            except Exception:  # one listener's bug is not another's
                log.exception("directory-listener-failed")
