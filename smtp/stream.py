"""Octets from the peer, as command lines or as blocks, from one buffer (RFC 5321 2.3.8, 4.1.1).

Stands where aiosmtpd's command loop expects a StreamReader: `readuntil` gives the next good command line. A line that
is none raises `LineFault`; the end of the connection raises `Hangup`. What follows a message goes back with `unread`.
"""

from __future__ import annotations

import asyncio
import re

from core.acks import acknowledge
from core.config import Limits
from smtp import replies
from smtp.guards import foreign_protocol
from smtp.replies import Reply

READ = 64 * 1024
# RFC 5321 4.1.2 and 2.4: printable characters and spaces; UTF-8 is judged by each command (RFC 6531 3.1).
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_AUTH = re.compile(rb"AUTH ", re.IGNORECASE)
# A computer's name may come in any octets; the command judges it (security.md row 18).
_GREETING = re.compile(rb"(?:EHLO|HELO) ", re.IGNORECASE)


def has_unread(stream: asyncio.StreamReader) -> bool:
    """Whether octets arrived that nobody has read. asyncio offers no public look; a private one is taken here only."""
    return bool(_unread(stream))


def _unread(stream: asyncio.StreamReader) -> bytearray:
    buffer: bytearray = vars(stream)["_buffer"]
    return buffer


class LineFault(Exception):
    """The line is refused; `reply` says how, `close` whether the session ends."""

    def __init__(self, reply: Reply, *, close: bool = False) -> None:
        super().__init__(reply.lines[0])
        self.reply = reply
        self.close = close


class Hangup(ConnectionResetError):
    """Nothing more will come, or we do not listen any more."""


class PeerReader:
    """`closed` is set by the session: from then on every read raises `Hangup`."""

    __slots__ = ("_buffer", "_first", "_limits", "closed", "received", "stream")

    def __init__(self, stream: asyncio.StreamReader, limits: Limits) -> None:
        self.stream = stream
        self._limits = limits
        self._buffer = bytearray()
        self._first = True
        self.closed = False
        self.received = 0

    @property
    def waiting(self) -> bool:
        return bool(self._buffer) or has_unread(self.stream)

    @property
    def line_waiting(self) -> bool:
        """Whether another whole line is here already, so that replies may be gathered (RFC 2920 3.2)."""
        return b"\n" in self._buffer or b"\n" in _unread(self.stream)

    def has(self, octets: int) -> bool:
        """Whether so many are here already, so that reading them waits for nobody."""
        return len(self._buffer) + len(_unread(self.stream)) >= octets

    async def readuntil(self) -> bytes:
        """The next command line with its CRLF. Raises `LineFault`, `Hangup`."""
        line = await self._line(self._limits.auth_line)
        auth = _AUTH.match(line) is not None
        if len(line) > (self._limits.auth_line if auth else self._limits.command_line):
            raise LineFault(replies.AUTH_LINE_TOO_LONG if auth else replies.LINE_TOO_LONG)
        return self._checked(line)

    async def auth_line(self) -> bytes:
        """The next line of an authentication exchange, without CRLF."""
        line = await self._line(self._limits.auth_line)
        if len(line) > self._limits.auth_line:
            raise LineFault(replies.AUTH_LINE_TOO_LONG)
        return self._checked(line)[:-2]

    async def block(self, size: int) -> bytes:
        """Whatever is here, at most `size` octets, at least one. Raises `Hangup`."""
        if self.closed:
            raise Hangup
        if self._buffer:
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
            return data
        return await self._read(size)

    def acknowledge(self) -> None:
        """The rest of a message is awaited: its sender may be waiting for word of what has come."""
        if not self.waiting:
            acknowledge(vars(self.stream)["_transport"])

    def unread(self, data: bytes) -> None:
        self._buffer[:0] = data

    def forget(self) -> None:
        """Drop what was read in clear before a handshake."""
        self._buffer.clear()
        _unread(self.stream).clear()

    async def _line(self, most: int) -> bytes:
        """Up to and with the next LF. Past `most` octets without one the peer is not talking SMTP."""
        if self.closed:
            raise Hangup
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            if len(self._buffer) > most:
                raise LineFault(replies.LINE_TOO_LONG, close=True)
            searched = len(self._buffer)
            data = await self._fill()
            if self._first:
                self._greeting_line(data)
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    async def _fill(self) -> bytes:
        data = await self._read(READ)
        self._buffer += data
        return data

    async def _read(self, size: int) -> bytes:
        """A broken connection breaks again at every read: it must end the session, or aiosmtpd's loop never would."""
        if self.closed:
            raise Hangup
        try:
            data = await self.stream.read(size)
        except OSError as error:
            raise Hangup from error
        if not data:
            raise Hangup
        self.received += len(data)
        return data

    def _greeting_line(self, data: bytes) -> None:
        self._first = False
        if foreign_protocol(data):
            raise LineFault(replies.FOREIGN_PROTOCOL, close=True)

    @staticmethod
    def _checked(line: bytes) -> bytes:
        if not line.endswith(b"\r\n") or _CONTROL.search(line, 0, len(line) - 2):
            raise LineFault(replies.BAD_LINE)
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            if not _GREETING.match(line):
                raise LineFault(replies.BAD_SYNTAX) from error
        return line
