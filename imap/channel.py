"""One socket as the IMAP server sees it: bounded input, back-pressure both ways, TLS in the middle (RFC 9051 6.2.1).

Knows octets only; compression (RFC 4978) lies between them and the socket. What the peer sends before we ask stays in
the kernel once `HIGH_INPUT` is reached (security.md row 102); what it does not read makes `drained` wait and finally
fail (row 37). asyncio and uvloop are touched here and in `listeners`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import cast

from core.acks import acknowledge
from core.heap import release
from core.tls import Buffered, between, client_certificate
from imap.deflate import Deflate

HIGH_INPUT = 64 * 1024
HIGH_OUTPUT = 64 * 1024
LINGER = 10.0  # seconds that a closed connection may take to hand over its last octets


class Channel(asyncio.Protocol):
    """`stall`: seconds a peer may leave our output unread. `read` and `drained` have one caller at a time."""

    __slots__ = (
        "_deflate",
        "_drainer",
        "_encrypted",
        "_eof",
        "_full",
        "_input",
        "_interrupt",
        "_linger",
        "_lost",
        "_paused",
        "_reader",
        "_size",
        "_stained",
        "_stall",
        "_transport",
        "watcher",
    )

    def __init__(self, stall: float) -> None:
        self._stall = stall
        self._transport: asyncio.Transport | None = None
        self._encrypted: Buffered | None = None
        self._stained = True  # its buffer holds what was read, or what somebody left there
        self._input: list[bytes] = []
        self._size = 0
        self._paused = False
        self._full = False
        self._eof = False
        self._lost = False
        self._interrupt: BaseException | None = None
        self._reader: asyncio.Future[None] | None = None
        self._drainer: asyncio.Future[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._deflate: Deflate | None = None
        self.watcher: Callable[[], None] | None = None  # called when there is something to read, or an end

    # --- asyncio's side --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's have the methods, not the base class
        self._transport.set_write_buffer_limits(high=HIGH_OUTPUT)
        self._encrypted = between(transport) if self.secure else None

    def data_received(self, data: bytes) -> None:
        self._input.append(data)
        self._stained = True
        self._size += len(data)
        if self._size >= HIGH_INPUT and not self._paused:
            self._paused = True
            self._open.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """A peer that half-closes still gets its answers; TLS cannot half-close."""
        self._eof = True
        self._wake()
        return not self.secure

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._eof = True
        self._full = False
        self._encrypted = None
        if self._linger is not None:
            self._linger.cancel()
        self._wake()
        self._release(self._drainer)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._release(self._drainer)

    @staticmethod
    def _release(waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _wake(self) -> None:
        self._release(self._reader)
        if self.watcher is not None:
            self.watcher()

    # --- our side --------------------------------------------------------------------------------------------------

    @property
    def _open(self) -> asyncio.Transport:
        if self._transport is None:
            raise ConnectionResetError("not connected")
        return self._transport

    @property
    def secure(self) -> bool:
        return self._transport is not None and self._transport.get_extra_info("sslcontext") is not None

    @property
    def certificate(self) -> bytes:
        """The client's verified certificate (DER), b"" without."""
        return client_certificate(self._transport.get_extra_info("ssl_object")) if self._transport is not None else b""

    @property
    def readable(self) -> bool:
        """There is something to `take`: octets, the end, a reason to end. Compressed octets may still tell nothing."""
        more = self._deflate is not None and self._deflate.pending
        return bool(self._input) or more or self._eof or self._interrupt is not None

    @property
    def buffered(self) -> int:
        return self._size

    @property
    def unsent(self) -> int:
        """Octets that the peer has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    async def read(self, seconds: float) -> bytes:
        """All that has arrived, waiting for something; b"" at the end. Raises `TimeoutError` after `seconds`, what
        `interrupt` was given, and `ConnectionError` for compressed octets that are none."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            while not self.readable:
                if loop.time() >= until:
                    raise TimeoutError
                self._reader = reader = loop.create_future()
                timer = loop.call_at(until, _over, reader)  # each command waits once: a third of `asyncio.timeout`
                try:
                    await reader
                finally:
                    timer.cancel()
                    self._reader = None
            if self._deflate is not None and self._deflate.pending:
                await asyncio.sleep(0)  # octets that need no socket must not keep other connections waiting (P7)
            data = self.take()
            if data or self.ended:
                return data

    def acknowledge(self) -> None:
        """The rest of a command is awaited: its sender may be waiting for word of what has come."""
        acknowledge(self._transport)

    @property
    def ended(self) -> bool:
        """The peer has sent all, and it was read."""
        return self._eof and not self._input and (self._deflate is None or not self._deflate.pending)

    def take(self) -> bytes:
        """What `read` would return now without waiting; b"" is then not the end."""
        if self._interrupt is not None:
            raise self._interrupt
        if self._deflate is None:
            return self._raw()
        if self._deflate.pending:  # what is inflated already is read first: the rest stays in the kernel
            return self._deflate.inflate(b"")
        return self._deflate.inflate(self._raw())

    def _raw(self) -> bytes:
        data = self._input[0] if len(self._input) == 1 else b"".join(self._input)
        self._input.clear()
        self._size = 0
        if self._paused and not self._lost:
            self._paused = False
            self._open.resume_reading()
        return data

    def send(self, data: bytes) -> None:
        if self._lost or self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the peer is gone")
        self._transport.write(data if self._deflate is None else self._deflate.deflate(data))

    async def drained(self) -> None:
        if self._full:
            self._drainer = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._stall):
                    await self._drainer
            except TimeoutError as error:
                self.abort()
                raise ConnectionAbortedError("the peer does not read") from error
            finally:
                self._drainer = None
        if self._lost:
            raise ConnectionResetError("the peer is gone")

    async def start_tls(self, context: ssl.SSLContext, timeout: float) -> None:
        """From here on TLS. The caller has looked that no input is buffered. Raises `OSError` (SSLError among them)."""
        loop = asyncio.get_running_loop()
        transport = await loop.start_tls(
            self._open, self, context, server_side=True, ssl_handshake_timeout=timeout, ssl_shutdown_timeout=5.0
        )
        if transport is None:
            raise ConnectionResetError("the peer left during the handshake")
        self.connection_made(transport)

    @property
    def compressed(self) -> bool:
        return self._deflate is not None

    def compress(self) -> None:
        """From here on both directions are compressed; the caller has looked that no clear text is buffered."""
        self._deflate = Deflate()

    def uncompress(self) -> None:
        """From here on clear text both ways again. Raises `ConnectionError` when the peer sent more compressed."""
        if self._deflate is None:
            return
        if behind := self._deflate.end():
            self._input.insert(0, behind)
            self._size += len(behind)
        self._deflate = None

    def rest(self) -> None:
        """Nothing will be said for a while: what only helps then need not be kept."""
        if self._deflate is not None:
            self._deflate.rest()
        if self._encrypted is not None and self._stained:
            # Nothing lies in that buffer between two calls from the loop.
            release(self._encrypted.get_buffer(1))
            self._stained = False

    def hold(self) -> None:
        """Read nothing more until TLS has started."""
        self._open.pause_reading()

    def interrupt(self, reason: BaseException) -> None:
        """Make the present or next `read` raise `reason`: the server wants the connection to end."""
        self._interrupt = reason
        self._wake()

    def close(self) -> None:
        """Send what is buffered, then close. A peer that does not read it keeps nothing open: its seat is free by
        then, so nobody would count it (row 37)."""
        if self._transport is not None and not self._lost and self._linger is None:
            self._transport.close()
            self._linger = asyncio.get_running_loop().call_later(LINGER, self.abort)

    def abort(self) -> None:
        """Close without sending what is buffered."""
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):
                self._transport.abort()


def _over(reader: asyncio.Future[None]) -> None:
    if not reader.done():
        reader.set_exception(TimeoutError())
