"""The way out: a small buffer, one write per fullness, and a deadline for readers who do not read (security.md row 37).

`write` never waits, `drain` waits with no lock and no transaction held; whoever writes much drains every block, so a
connection never holds more than the transport's mark plus one block.
"""

from __future__ import annotations

from typing import Protocol

FLUSH = 16 * 1024  # handed to the transport at once: one TLS record


class Outlet(Protocol):
    """What the writer needs of a connection (`channel.Channel`)."""

    def send(self, data: bytes) -> None:
        """Hand over; never blocks. Raises `ConnectionError` when the peer is gone."""

    async def drained(self) -> None:
        """Wait until the transport takes more. Raises `ConnectionError`: gone, or not reading for too long."""


class Writer:
    __slots__ = ("_buffer", "_outlet", "_size", "sent")

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._buffer: list[bytes] = []
        self._size = 0
        self.sent = 0  # octets since the connection began, for the log

    def write(self, data: bytes) -> None:
        """Queue `data`; the pieces go out in order."""
        self._buffer.append(data)
        self._size += len(data)
        if self._size >= FLUSH:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the transport without waiting."""
        if self._buffer:
            data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
            self._buffer.clear()
            self._size = 0
            self.sent += len(data)
            self._outlet.send(data)

    async def drain(self) -> None:
        """Flush, then wait until the peer has read enough. Raises `ConnectionError`."""
        self.flush()
        await self._outlet.drained()
