"""Syncs that the event loop waits for: threads that do nothing else, so that they never wait for an account's lock.

A sync holds neither the interpreter nor any lock of ours while the disk works; many at once become one journal commit
of the file system.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from store.ending import through
from store.fsops import FileSystem

THREADS = 16  # measured: more of them do not make the disk any faster


class Syncs:
    def __init__(self, fs: FileSystem) -> None:
        self._fs = fs
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="sync")

    def begin(self, descriptors: Iterable[int]) -> asyncio.Future[None]:
        """One after the other, from now on; the first failure ends it."""
        return asyncio.get_running_loop().run_in_executor(self._pool, self._sync, tuple(descriptors))

    async def finish(self, begun: asyncio.Future[None]) -> None:
        """Returns when the thread is done with the descriptors, even when the waiter is cancelled. Raises OSError."""
        try:
            await asyncio.shield(begun)
        except asyncio.CancelledError:
            await through(begun)
            raise

    def _sync(self, descriptors: tuple[int, ...]) -> None:
        for descriptor in descriptors:
            self._fs.sync(descriptor)

    def close(self) -> None:
        self._pool.shutdown(wait=False)
