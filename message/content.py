"""A whole message as a value: a bounded head in memory, the rest readable by range wherever it lies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

BLOCK = 256 * 1024  # no call that holds the GIL gets more than this on a front (design.md section 6)


class Content(Protocol):
    """The bytes of one message exactly as on the wire (CRLF, dots unstuffed, final CRLF present).

    `head` is the header block including the empty line that ends it (bounded by `limits.header_block`); `size` is the
    whole. `read` returns exactly `stop - start` octets, fewer only at the end. Reads of a spooled message touch the
    disk: callers on the event loop use `asyncio.to_thread` for anything past the head.
    """

    @property
    def size(self) -> int: ...

    @property
    def head(self) -> bytes: ...

    def read(self, start: int, stop: int) -> bytes: ...


class BytesContent:
    """A message that fits in memory."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def head(self) -> bytes:
        return self._data[: head_length(self._data)]

    def read(self, start: int, stop: int) -> bytes:
        return self._data[start:stop]


def head_length(data: bytes) -> int:
    """Octets of the header block with its empty line; the whole when there is no empty line (RFC 5322 2.1)."""
    if data.startswith(b"\r\n"):
        return 2
    end = data.find(b"\r\n\r\n")
    return len(data) if end < 0 else end + 4


def blocks(content: Content, start: int = 0, size: int = BLOCK) -> Iterator[bytes]:
    """The content from `start` on, in pieces of at most `size` octets."""
    for offset in range(start, content.size, size):
        yield content.read(offset, min(offset + size, content.size))
