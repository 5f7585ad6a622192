"""Commands that take minutes: how far they are, on a terminal, and that Ctrl-C ends them within a second or two.

An interrupted command is ended as a kill would end it, which every account survives (fault 144): what a thread is in
the middle of gets a second to come to an end, and is cut off then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator

EVERY = 1.0  # seconds between two lines of progress
PATIENCE = 1.0  # seconds that threads have to end after Ctrl-C
INTERRUPTED = 128 + signal.SIGINT
SENTENCE = "beffroi: interrupted; what was done stays, the rest is done by the next run\n"
CLEAR = "\r\x1b[K"


class Progress:
    """Told by whoever works, from the event loop; shown each second."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._done = self._all = self._messages = 0

    def tell(self, done: int, total: int, messages: int) -> None:
        """Accounts done, of all; messages so far, 0 where they are not counted."""
        self._done, self._all, self._messages = done, total, messages

    async def show(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            passed = round(time.monotonic() - self._began)
            messages = f"{self._messages:,} messages, " if self._messages else ""
            sys.stderr.write(f"{CLEAR}{self._done} of {self._all} accounts, {messages}{passed} s")
            sys.stderr.flush()


@contextlib.asynccontextmanager
async def lengthy(*, shown: bool) -> AsyncIterator[Progress]:
    """Around the work of a command. `shown`: on standard error, if that is a terminal. Ctrl-C cancels the work, and
    ends the process with code 130 in any case."""
    shown = shown and sys.stderr.isatty()
    loop, work, progress = asyncio.get_running_loop(), asyncio.current_task(), Progress()

    def interrupted() -> None:
        sys.stderr.write((CLEAR if shown else "") + SENTENCE)
        sys.stderr.flush()
        loop.remove_signal_handler(signal.SIGINT)
        cut = threading.Timer(PATIENCE, os._exit, (INTERRUPTED,))
        cut.daemon = True
        cut.start()
        if work is not None:
            work.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    showing = asyncio.create_task(progress.show()) if shown else None
    try:
        yield progress
    except asyncio.CancelledError:
        raise SystemExit(INTERRUPTED) from None
    finally:
        if showing is not None:
            showing.cancel()
            sys.stderr.write(CLEAR)
        loop.remove_signal_handler(signal.SIGINT)
