"""Signs of life from a command that takes long (RFC 9585): one untagged OK [INPROGRESS] every ten seconds.

A timer writes them, so a handler says only where nothing else is being written: between the halves of a response there
is no place for one. Costs a command that is quick nothing but the timer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from imap import responses
from imap.session import Session

EVERY = 10.0  # seconds; RFC 9585 4: 10 to 15

Counts = Callable[[], tuple[int, int | None]]  # items done so far, items to do (None: not known)


@contextlib.contextmanager
def working(session: Session, counts: Counts | None = None) -> Iterator[None]:
    """While the store works for the command that runs. Nothing may be written inside."""
    if "INPROGRESS" in session.withheld:
        yield
        return
    signs = _Signs(session, counts)
    signs.wait()
    try:
        yield
    finally:
        signs.timer.cancel()


class _Signs:
    """One after the other, until the timer is cancelled."""

    __slots__ = ("_counts", "_session", "timer")

    timer: asyncio.TimerHandle

    def __init__(self, session: Session, counts: Counts | None) -> None:
        self._session, self._counts = session, counts

    def wait(self) -> None:
        self.timer = asyncio.get_running_loop().call_later(EVERY, self._give)

    def _give(self) -> None:
        self.wait()
        done, goal = self._counts() if self._counts else (None, None)
        with contextlib.suppress(OSError):  # a peer that is gone is the handler's to find
            self._session.writer.write(responses.in_progress(self._session.tag, done, goal))
            self._session.writer.flush()
