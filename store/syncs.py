"""Syncs that the event loop waits for: by the kernel's workers where that is wanted and possible, else in threads that
do nothing else, so that they never wait for an account's lock.

A sync holds neither the interpreter nor any lock of ours while the disk works; many at once become one journal commit
of the file system.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from store.ending import through
from store.fsops import FileSystem
from store.kernel_sync import KernelSync

THREADS = 16  # measured: more of them do not make the disk any faster


class Syncs:
    """`kernel`: past `fs`, which then neither records nor fails these syncs on demand, as tests have it do."""

    def __init__(self, fs: FileSystem, *, kernel: bool = False) -> None:
        self._fs = fs
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="sync")
        self._wanted = kernel
        self._kernel: KernelSync | None = None

    def open(self) -> None:
        """On the loop that will wait."""
        if self._wanted:
            self._kernel = KernelSync.open(asyncio.get_running_loop())

    def begin(self, descriptors: Iterable[int]) -> asyncio.Future[None]:
        """One after the other, from now on; the first failure ends it. The descriptors stay open until it is over."""
        wanted = tuple(descriptors)
        loop = asyncio.get_running_loop()
        if self._kernel is not None and len(wanted) == 1:
            future: asyncio.Future[None] = loop.create_future()
            if self._kernel.begin(wanted[0], lambda code: self._end(future, code)):
                return future
        return loop.run_in_executor(self._pool, self._sync, wanted)

    def _end(self, future: asyncio.Future[None], code: int) -> None:
        if future.done():
            return
        if code:
            self._fs.failed_syncs += 1
            future.set_exception(OSError(code, os.strerror(code)))
        else:
            future.set_result(None)

    async def finish(self, begun: asyncio.Future[None]) -> None:
        """Returns when nobody uses the descriptors any more, even when the waiter is cancelled. Raises OSError."""
        try:
            await asyncio.shield(begun)
        except asyncio.CancelledError:
            await through(begun)
            raise

    def _sync(self, descriptors: tuple[int, ...]) -> None:
        for descriptor in descriptors:
            self._fs.sync(descriptor)

    def close(self) -> None:
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None
        self._pool.shutdown(wait=False)
