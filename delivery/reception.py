"""One message on its way in: block by block into a spool, its head watched, its body shown to the signature check.

Bounded: the head by `limits.header_*` (552 5.3.4), the whole by `limits.message_octets`. Implements
`delivery.types.Reception` for inbound and submission alike; what happens to the whole is the caller's `complete`. A
binary message (RFC 3030 3) is made one of lines when it is whole; its signatures were checked as it came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic

from core import log
from core.config import Limits
from core.errors import MailError
from core.frozen import dataclass
from core.status import Status, deferred, refused
from delivery.commit import refusal
from delivery.evidence import V
from message import header
from message.content import Content, blocks
from message.header import Defect, Head
from message.lines import LONG_LINE, TEXT_LINE, LineJudge, LongLines, whole_lines
from message.unbinary import converted
from store.store import Spool

TOO_LARGE = refused("message is too large", "message-too-large", "5.3.4", code=552)
HEADER_TOO_LARGE = refused("header block is too large", "header-too-large", "5.3.4", code=552)
UNCONVERTIBLE = refused("binary message has too many parts to convert", "binary-parts", "5.6.3", code=554)
LINE_TOO_LONG = refused("a line is longer than 998 octets and cannot be encoded", "line-too-long", "5.6.0")
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
    the whole message. `binary`: it need not consist of lines. `ours`: it is to leave here in a form that everybody can
    carry (RFC 5322 2.1.1), and what `begin` made is about that form."""

    def __init__(
        self,
        spool: Spool,
        limits: Limits,
        begin: Callable[[Head], V],
        complete: Callable[[Arrived[V]], Awaitable[Status]],
        *,
        binary: bool = False,
        ours: bool = False,
    ) -> None:
        self._spool = spool
        self._limits = limits
        self._complete = complete
        self._begin = begin
        self._binary = binary
        self._long = LongLines(TEXT_LINE + 2) if ours else None
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
        if self._long is not None:
            self._long.look(block)
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
            arrived = Arrived(self._spool.content(), self._head, self._eight_bit, self._verification)
            if not self._binary and not (self._long is not None and self._long.found):
                return await self._complete(arrived)
            lines = await asyncio.to_thread(self._as_lines, arrived)
            return lines if isinstance(lines, Status) else await self._complete(lines)
        except MailError as error:
            _log.warning("reception-failed", code=error.code, **error.fields)
            return refusal(error)
        finally:
            await self._spool.close()

    async def abort(self) -> None:
        self._refusal = self._refusal or ABORTED
        await self._spool.close()

    def _as_lines(self, arrived: Arrived[V]) -> Arrived[V] | Status:
        """In a thread. What is not converted obeys the same rules as in any other message (rows 1-9)."""
        ours = self._long is not None
        content = converted(arrived.content, self._limits, wrap=ours)
        if content is None:
            return UNCONVERTIBLE
        if content.size > self._limits.message_octets:
            return TOO_LARGE
        head = header.split(content.head, self._limits)
        if head.defects.any_of(_OVERSIZE):
            return HEADER_TOO_LARGE
        judge, eight_bit = LineJudge(TEXT_LINE + 2 if ours else self._limits.data_line), False
        # The header's own lines are folded later, where its fields are known.
        for block in whole_lines(content, len(content.head) if ours and not self._binary else 0):
            judge.look(block)
            eight_bit = eight_bit or not block.isascii()
        if judge.fault is not None:
            return LINE_TOO_LONG if ours and judge.fault is LONG_LINE else judge.fault
        return Arrived(content, head, eight_bit, self._judged(content, head, arrived, ours=ours))

    def _judged(self, content: Content, head: Head, arrived: Arrived[V], *, ours: bool) -> V:
        """Signatures of others are about what they sent; ours will be about what leaves."""
        if not ours:
            return arrived.verification
        verification = self._begin(head)
        for block in blocks(content, len(content.head)):
            verification.feed(block)
        return verification

    def _watch(self, block: bytes) -> None:
        """Collect until the empty line; the bound holds while it does not come."""
        start = self._start
        searched = max(len(start) - 3, 0)
        start += block
        end = 2 if start.startswith(b"\r\n") else start.find(b"\r\n\r\n", searched) + 4
        if end != 3:  # -1 + 4: it has not come yet
            self._behead(bytes(start[:end]), bytes(start[end:]))
        elif len(start) > self._limits.header_block:
            self._refusal = HEADER_TOO_LARGE

    def _behead(self, head: bytes, body: bytes) -> None:
        fields = header.split(head, self._limits)
        self._start.clear()
        if fields.defects.any_of(_OVERSIZE):
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
