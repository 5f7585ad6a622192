"""Syncs that the event loop waits for: by the kernel's workers where that is wanted and possible, else in threads that
do nothing else, so that they never wait for an account's lock.

A sync holds neither the interpreter nor any lock of ours while the disk works; many at once become one journal commit
of the file system.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from store.ending import through
from store.fsops import FileSystem
from store.kernel_sync import KernelSync

THREADS = 16  # measured: more of them do not make the disk any faster
_WHATEVER = contextlib.suppress(OSError, asyncio.CancelledError)


class Syncing(asyncio.Future[None]):
    """A sync under way, to be awaited. Nobody takes it back, for the disk does not: who is cancelled while he waits
    leaves when nobody uses the descriptors any more. Raises OSError."""

    def cancel(self, msg: object = None) -> bool:
        return False

    async def over(self) -> None:
        """Until it is, whatever becomes of whoever waits; its error stays in it."""
        while not self.done():
            with _WHATEVER:
                await self


class Syncs:
    """`kernel`: past `fs`, which then neither records nor fails these syncs on demand, as tests have it do."""

    def __init__(self, fs: FileSystem, *, kernel: bool = False) -> None:
        self._fs = fs
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="sync")
        self._wanted = kernel
        self._kernel: KernelSync | None = None
        self.under_way = 0  # of files and directories, in this process

    def open(self) -> None:
        """On the loop that will wait."""
        if self._wanted:
            self._kernel = KernelSync.open(asyncio.get_running_loop())

    def begin(self, descriptors: Iterable[int]) -> Syncing:
        """One after the other, from now on; the first failure ends it. The descriptors stay open until it is over."""
        return self._begin(tuple(descriptors), self._sync)

    def begin_data(self, descriptor: int) -> Syncing:
        """Likewise, of a file's octets alone."""
        return self._begin((descriptor,), self._sync_data, data_only=True)

    def _begin(
        self, wanted: tuple[int, ...], work: Callable[[tuple[int, ...]], None], *, data_only: bool = False
    ) -> Syncing:
        """`work` is for a thread, where the kernel does not take it."""
        loop, kernel = asyncio.get_running_loop(), self._kernel
        syncing = Syncing(loop=loop)
        self.under_way += 1
        if kernel is None or len(wanted) != 1 or not kernel.begin(wanted[0], partial(self._told, syncing), data_only):
            loop.run_in_executor(self._pool, work, wanted).add_done_callback(partial(self._ended, syncing))
        return syncing

    async def beside(self, work: Callable[[], None]) -> None:
        """`work`, which waits for the disk, in a thread. To its end, whatever becomes of whoever waits; its error is
        raised."""
        working = asyncio.get_running_loop().run_in_executor(self._pool, work)
        await through(working)
        working.result()

    def _told(self, syncing: Syncing, code: int) -> None:
        """By the kernel: 0, or what went wrong."""
        self.under_way -= 1
        if code:
            self._fs.failed_syncs += 1
            syncing.set_exception(OSError(code, os.strerror(code)))
        else:
            syncing.set_result(None)

    def _ended(self, syncing: Syncing, worked: asyncio.Future[None]) -> None:
        """By a thread."""
        self.under_way -= 1
        error = worked.exception()
        if error is not None:
            syncing.set_exception(error)
        else:
            syncing.set_result(None)

    def _sync(self, descriptors: tuple[int, ...]) -> None:
        for descriptor in descriptors:
            self._fs.sync(descriptor)

    def _sync_data(self, descriptors: tuple[int, ...]) -> None:
        for descriptor in descriptors:
            self._fs.sync_data(descriptor)

    def close(self) -> None:
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None
        self._pool.shutdown(wait=False)
