"""An open message, read by range. Short reads happen at once, long ones in a thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from store.faults import whole
from store.fsops import BLOCK, FileSystem

AT_ONCE = 64 * 1024


class OpenFile:
    """Implements `store.store.MessageFile`; it owns its descriptor."""

    __slots__ = ("_fd", "_fs", "_pool", "_size")

    def __init__(self, fs: FileSystem, fd: int, size: int, pool: Executor) -> None:
        self._fs, self._fd, self._size, self._pool = fs, fd, size, pool

    @property
    def size(self) -> int:
        return self._size

    async def read(self, start: int, stop: int) -> bytes:
        """Octets `start` to `stop`, cut at the message's end."""
        stop = min(stop, self._size)
        if stop <= start:
            return b""
        if stop - start <= AT_ONCE:
            with whole():
                return self._fs.read(self._fd, start, stop)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read_long, start, stop)

    def _read_long(self, start: int, stop: int) -> bytes:
        with whole():
            return b"".join(
                self._fs.read(self._fd, offset, min(offset + BLOCK, stop)) for offset in range(start, stop, BLOCK)
            )

    def close(self) -> None:
        if self._fd >= 0:
            self._fs.close(self._fd)
            self._fd = -1
