"""A message while it arrives, and the two kinds of `Content` that lie in files.

In memory up to 256 KiB, then in a nameless unsynced file whose space is reserved ahead, so that a full disk is told
while the client still sends (452 4.3.1, fault 149). Nothing here survives a crash, nor need it: nothing was answered.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from core.errors import InvalidError, StorageError
from message.content import BytesContent, head_length
from store.ending import through
from store.faults import translated
from store.fsops import FileSystem

IN_MEMORY = 256 * 1024
RESERVE = 4 * 1024 * 1024  # reserved at once when the client declared no size


class FileContent:
    """An open file as a `message.content.Content`; who opened it closes it."""

    __slots__ = ("_fs", "fd", "head", "size")

    def __init__(self, fs: FileSystem, fd: int, size: int, head: bytes) -> None:
        self._fs, self.fd, self.size, self.head = fs, fd, size, head

    def read(self, start: int, stop: int) -> bytes:
        return self._fs.read(self.fd, start, min(stop, self.size))


class SpooledContent(FileContent):
    """What lies in a spool file: its octets can be copied inside the kernel."""

    __slots__ = ()


class SpoolFile:
    """Implements `store.store.Spool`. `limit` octets are accepted, one more raises InvalidError; `declared` is the
    SIZE the client announced, reserved at once when it will not fit in memory."""

    def __init__(self, fs: FileSystem, directory: int, pool: Executor, *, limit: int, declared: int) -> None:
        self._fs, self._directory, self._pool = fs, directory, pool
        self._limit, self._declared = limit, min(declared, limit)
        self._pieces: list[bytes] = []
        self._start = b""  # the first octets, kept for the header block once the rest went to the file
        self._size = 0
        self._fd: int | None = None
        self._reserved = 0
        self._closed = False
        self._writing: asyncio.Future[None] | None = None

    @property
    def size(self) -> int:
        return self._size

    async def write(self, block: bytes) -> None:
        if self._closed:
            raise StorageError("the spool is closed", code="storage")
        if self._size + len(block) > self._limit:
            raise InvalidError("message is too large", code="too-large")
        if self._fd is None and self._size + len(block) <= IN_MEMORY:
            self._pieces.append(block)
            self._size += len(block)
            return
        self._writing = asyncio.get_running_loop().run_in_executor(self._pool, self._write_out, block)
        await asyncio.shield(self._writing)

    def _write_out(self, block: bytes) -> None:
        with translated():
            if self._fd is None:
                self._open()
            self._append(block)

    def _open(self) -> None:
        self._fd = self._fs.scratch(self._directory)
        memory = b"".join(self._pieces)
        self._pieces.clear()
        self._start, self._size = memory, 0
        self._append(memory)

    def _append(self, block: bytes) -> None:
        if self._fd is None:
            raise StorageError("the spool is closed", code="storage")
        end = self._size + len(block)
        if end > self._reserved:
            ahead = max(end, min(self._declared, self._limit), min(end + RESERVE, self._limit))
            self._fs.leave_room(self._fd, ahead - self._reserved)
            self._fs.reserve(self._fd, self._reserved, ahead - self._reserved)
            self._reserved = ahead
        self._fs.write(self._fd, block, self._size)
        if len(self._start) < IN_MEMORY:
            self._start += block[: IN_MEMORY - len(self._start)]
        self._size = end

    def content(self) -> BytesContent | SpooledContent:
        if self._fd is None:
            return BytesContent(b"".join(self._pieces))
        return SpooledContent(self._fs, self._fd, self._size, self._start[: head_length(self._start)])

    async def close(self) -> None:
        self._closed = True
        if self._writing is not None:
            # Of a writer that was cancelled the thread goes on: a number closed under it is soon another file's.
            await through(self._writing)
            self._writing.exception()
        self._pieces.clear()
        if self._fd is not None:
            fd, self._fd = self._fd, None
            await asyncio.get_running_loop().run_in_executor(self._pool, self._fs.close, fd)
