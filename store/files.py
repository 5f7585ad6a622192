"""An open message, read by range. Short reads happen at once, long ones in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from store.faults import of_message
from store.fsops import BLOCK, FileSystem

AT_ONCE = 64 * 1024
TRIED_AT_ONCE = 8 * 1024 * 1024  # in one turn of a thread, of which there are few


def with_other_letters(fs: FileSystem, directory: int, name: str) -> str | None:
    """The name of the same file, whose flags are told otherwise by now."""
    base = name.partition(":2,")[0]
    return next((each for each in fs.names(directory) if each.partition(":2,")[0] == base), None)


class OpenFile:
    """Implements `store.store.MessageFile`; it owns its descriptor."""

    __slots__ = ("_fd", "_fs", "_pool", "_size", "_tell")

    def __init__(self, fs: FileSystem, fd: int, size: int, pool: Executor, tell: Callable[[OSError], None]) -> None:
        """`tell` hears what the disk says instead of giving the octets."""
        self._fs, self._fd, self._size, self._pool, self._tell = fs, fd, size, pool, tell

    @property
    def size(self) -> int:
        return self._size

    async def read(self, start: int, stop: int) -> bytes:
        """Octets `start` to `stop`, cut at the message's end."""
        stop = min(stop, self._size)
        if stop <= start:
            return b""
        if stop - start <= AT_ONCE:
            return self._read(start, stop)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read_long, start, stop)

    async def check(self, start: int, stop: int) -> None:
        """The disk gives the same octets, for now: they are in memory then."""
        loop = asyncio.get_running_loop()
        for first in range(start, min(stop, self._size), TRIED_AT_ONCE):
            await loop.run_in_executor(self._pool, self._try, first, min(first + TRIED_AT_ONCE, stop, self._size))

    def _try(self, start: int, stop: int) -> None:
        with of_message(self._tell):
            self._fs.try_range(self._fd, start, stop)

    def _read(self, start: int, stop: int) -> bytes:
        with of_message(self._tell):
            return self._fs.read(self._fd, start, stop)

    def _read_long(self, start: int, stop: int) -> bytes:
        return b"".join(self._read(offset, min(offset + BLOCK, stop)) for offset in range(start, stop, BLOCK))

    def close(self) -> None:
        if self._fd >= 0:
            self._fs.close(self._fd)
            self._fd = -1
