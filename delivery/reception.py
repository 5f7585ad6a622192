"""One message on its way in: block by block into a spool, its head watched, its body shown to the signature check.

Bounded: the head by `limits.header_*` (552 5.3.4), the whole by `limits.message_octets`. Implements
`delivery.types.Reception` for inbound and submission alike; what happens to the whole is the caller's `complete`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic

from core import log
from core.config import Limits
from core.errors import MailError
from core.status import Status, deferred, refused
from delivery.commit import refusal
from delivery.evidence import V
from message import header
from message.content import Content
from message.header import Defect, Head
from store.store import Spool

TOO_LARGE = refused("message is too large", "message-too-large", "5.3.4", code=552)
HEADER_TOO_LARGE = refused("header block is too large", "header-too-large", "5.3.4", code=552)
ABORTED = deferred("message was cut off", "aborted", "4.4.2")

_OVERSIZE = Defect.FIELD_TOO_LONG | Defect.BLOCK_TOO_LONG | Defect.TOO_MANY_FIELDS

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Arrived(Generic[V]):
    """A whole message. `eight_bit`: it has octets above 127, whatever BODY= promised (RFC 6152)."""

    content: Content
    head: Head
    eight_bit: bool
    verification: V


class SpooledReception(Generic[V]):
    """`begin(head)` is called once with the header block and its answer fed the body; `complete` is called once with
    the whole message."""

    def __init__(
        self,
        spool: Spool,
        limits: Limits,
        begin: Callable[[Head], V],
        complete: Callable[[Arrived[V]], Awaitable[Status]],
    ) -> None:
        self._spool = spool
        self._limits = limits
        self._complete = complete
        self._begin = begin
        self._start = bytearray()
        self._head: Head | None = None
        self._verification: V | None = None
        self._eight_bit = False
        self._refusal: Status | None = None
        self._size = 0

    async def feed(self, block: bytes) -> None:
        if self._refusal is not None:
            return
        self._size += len(block)
        self._eight_bit = self._eight_bit or not block.isascii()
        if self._size > self._limits.message_octets:
            self._refusal = TOO_LARGE
        elif self._head is None:
            self._watch(block)
        elif self._verification is not None:
            self._verification.feed(block)
        await self._keep(block)

    async def finish(self) -> Status:
        try:
            if self._refusal is None and self._head is None:  # no empty line: all of it is head (RFC 5322 2.1)
                self._behead(bytes(self._start), b"")
            if self._refusal is not None or self._head is None or self._verification is None:
                return self._refusal or ABORTED
            return await self._complete(Arrived(self._spool.content(), self._head, self._eight_bit, self._verification))
        except MailError as error:
            _log.warning("reception-failed", code=error.code, **error.fields)
            return refusal(error)
        finally:
            await self._spool.close()

    async def abort(self) -> None:
        self._refusal = self._refusal or ABORTED
        await self._spool.close()

    def _watch(self, block: bytes) -> None:
        """Collect until the empty line; the bound holds while it does not come."""
        searched = max(len(self._start) - 3, 0)
        self._start += block
        end = 2 if self._start.startswith(b"\r\n") else self._start.find(b"\r\n\r\n", searched) + 4
        if end >= 4 or self._start.startswith(b"\r\n"):
            self._behead(bytes(self._start[:end]), bytes(self._start[end:]))
        elif len(self._start) > self._limits.header_block:
            self._refusal = HEADER_TOO_LARGE

    def _behead(self, head: bytes, body: bytes) -> None:
        fields = header.split(head, self._limits)
        self._start.clear()
        if fields.defects & _OVERSIZE:
            self._refusal = HEADER_TOO_LARGE
            return
        self._head = fields
        self._verification = self._begin(fields)
        self._verification.feed(body)

    async def _keep(self, block: bytes) -> None:
        if self._refusal is not None:
            return
        try:
            await self._spool.write(block)
        except MailError as error:
            _log.warning("spool-failed", code=error.code, **error.fields)
            self._refusal = refusal(error)
