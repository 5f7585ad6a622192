"""Octets from the peer, as command lines or as blocks, from one buffer (RFC 5321 2.3.8, 4.1.1).

Stands where aiosmtpd's command loop expects a StreamReader, and in its place: what the connection brings comes by `fed`
and `ended`. `readuntil` gives the next good command line. A line that is none raises `LineFault`; the end of the
connection raises `Hangup`. What follows a message goes back with `unread`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from core.acks import acknowledge
from core.config import Limits
from smtp import replies
from smtp.guards import foreign_protocol
from smtp.replies import Reply

READ = 64 * 1024  # octets that may wait unread; at twice as many the peer waits, too
# RFC 5321 4.1.2 and 2.4: printable characters and spaces; UTF-8 is judged by each command (RFC 6531 3.1).
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_ORDINARY = re.compile(rb"[ -~]+\r\n")  # as nearly every line is, where only its length is left to judge
_NO_VERB = re.compile(rb"\r\n|[^ ]*[\x80-\xff]")  # an empty line, or one that begins with a word of other letters
_AUTH = re.compile(rb"AUTH ", re.IGNORECASE)
# A computer's name may come in any octets; the command judges it (security.md row 18).
_GREETING = re.compile(rb"(?:EHLO|HELO) ", re.IGNORECASE)


class LineFault(Exception):
    """The line is refused; `reply` says how, `close` whether the session ends."""

    def __init__(self, reply: Reply, *, close: bool = False) -> None:
        super().__init__(reply.lines[0])
        self.reply = reply
        self.close = close


class Hangup(ConnectionResetError):
    """Nothing more will come, or we do not listen any more."""


class PeerReader:
    """`transport` is replaced when TLS begins. `closed` is set by the session: then each read raises `Hangup`.
    `expect` sets the peer's time, once for each line that is waited for; who reads blocks does it himself."""

    __slots__ = (
        "_buffer",
        "_first",
        "_limits",
        "_ordinary",
        "_over",
        "_paused",
        "_waiter",
        "closed",
        "expect",
        "received",
        "transport",
    )

    def __init__(self, transport: asyncio.Transport, limits: Limits, expect: Callable[[], None]) -> None:
        self.transport = transport
        self.expect = expect
        self._limits = limits
        self._ordinary = min(limits.command_line, limits.auth_line)  # octets that no line is too long with
        self._buffer = bytearray()
        self._first = True
        self._waiter: asyncio.Future[None] | None = None  # of the one read that waits
        self._paused = self._over = self.closed = False
        self.received = 0

    # --- what the connection brings ----------------------------------------------------------------------------------

    def fed(self, data: bytes) -> None:
        self._buffer += data
        self.received += len(data)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if len(self._buffer) > 2 * READ and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def ended(self, error: Exception | None = None) -> None:
        """Nothing more will come; after an `error` what was not read is nobody's any more."""
        self._over = True
        if error is not None:
            self._buffer.clear()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def moved(self, transport: asyncio.Transport) -> None:
        """TLS began on another transport. What came together with the end of the handshake may have paused the one
        below it, which nobody would let go on."""
        if self._paused:
            self.transport.resume_reading()
            transport.pause_reading()
        self.transport = transport

    # --- what the session reads --------------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        return bool(self._buffer)

    @property
    def line_waiting(self) -> bool:
        """Whether another whole line is here already, so that replies may be gathered (RFC 2920 3.2)."""
        return b"\n" in self._buffer

    def has(self, octets: int) -> bool:
        """Whether so many are here already, so that reading them waits for nobody."""
        return len(self._buffer) >= octets

    async def readuntil(self) -> bytes:
        """The next command line with its CRLF. Raises `LineFault`, `Hangup`."""
        end = -1 if self._first or self.closed else self._buffer.find(b"\n", 0, READ)
        line = self._take(end + 1) if end >= 0 else await self._line(self._limits.auth_line)
        if len(line) <= self._ordinary and _ORDINARY.fullmatch(line):
            return line
        auth = _AUTH.match(line) is not None
        if len(line) > (self._limits.auth_line if auth else self._limits.command_line):
            raise LineFault(replies.AUTH_LINE_TOO_LONG if auth else replies.LINE_TOO_LONG)
        if _NO_VERB.match(self._checked(line)):  # aiosmtpd's loop would answer it itself, and count nothing (row 15)
            raise LineFault(replies.BAD_SYNTAX)
        return line

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
        if not self._buffer:
            await self._more()
        return self._take(size)

    def acknowledge(self) -> None:
        """The rest of a message is awaited: its sender may be waiting for word of what has come."""
        if not self._buffer:
            acknowledge(self.transport)

    def unread(self, data: bytes) -> None:
        self._buffer[:0] = data

    def forget(self) -> None:
        """Drop what came in clear before a handshake."""
        self._buffer.clear()

    async def _line(self, most: int) -> bytes:
        """Up to and with the next LF. Past `most` octets without one the peer is not talking SMTP."""
        if self.closed:
            raise Hangup
        end = self._buffer.find(b"\n", 0, READ)
        if end < 0:
            self.expect()
        if self._first:
            await self._greeted()
            end = self._buffer.find(b"\n", 0, READ)
        while end < 0:
            if len(self._buffer) > most:
                raise LineFault(replies.LINE_TOO_LONG, close=True)
            searched = len(self._buffer)
            await self._more()
            end = self._buffer.find(b"\n", searched, READ)
        return self._take(end + 1)

    async def _greeted(self) -> None:
        """The first octets tell whether the peer is one of ours."""
        if not self._buffer:
            await self._more()
        self._first = False
        if foreign_protocol(bytes(self._buffer)):
            raise LineFault(replies.FOREIGN_PROTOCOL, close=True)

    async def _more(self) -> None:
        """Wait until there is more than now. An ended connection ends every read: else aiosmtpd's loop never would."""
        if self._over:
            raise Hangup
        if self._paused:
            self._resume()
        before = len(self._buffer)
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter
        if len(self._buffer) <= before:  # it ended instead
            raise Hangup

    def _take(self, octets: int) -> bytes:
        if octets < len(self._buffer):
            data = bytes(self._buffer[:octets])
            del self._buffer[:octets]
        else:
            data = bytes(self._buffer)
            self._buffer.clear()
        if self._paused and len(self._buffer) <= READ:
            self._resume()
        return data

    def _resume(self) -> None:
        if self._paused and not self._over:
            self._paused = False
            self.transport.resume_reading()

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
