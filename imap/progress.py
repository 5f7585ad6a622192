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
    loop = asyncio.get_running_loop()

    def tick() -> None:
        nonlocal timer
        timer = loop.call_later(EVERY, tick)
        with contextlib.suppress(OSError):  # a peer that is gone is the handler's to find
            session.writer.write(responses.in_progress(session.tag, *(counts() if counts else (None, None))))
            session.writer.flush()

    timer = loop.call_later(EVERY, tick)
    try:
        yield
    finally:
        timer.cancel()
