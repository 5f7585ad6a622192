"""One FETCH response after another, in pieces: small ones gathered, message text in blocks with back-pressure.

Knows the form of `* n FETCH (...)` and when to wait for the reader; never holds more than one block of a message
(security.md row 37).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core import log
from core.errors import MailError
from imap.commands.fetch.binary import Decoded, Measured, inside
from imap.commands.fetch.items import Attribute, Octets
from imap.commands.fetch.section import Span
from imap.commands.fetch.source import Source, Value
from imap.wire import encode
from imap.writer import Writer
from message.content import BLOCK
from store.store import MessageFile
from store.types import Message

SETTLE = 64 * 1024  # octets written between two looks at the reader

_log = log.get(__name__)


async def _value_of(item: Octets, source: Source) -> Value | Measured | int:
    if isinstance(item, Decoded):
        return await source.decoded(item)
    value = await source.value(item)
    return value if not item.size_only else _octets(value)


def _octets(value: Value) -> int:
    if value is None:
        return 0
    return len(value) if isinstance(value, bytes) else value[1] - value[0]


async def _begun(spans: Sequence[Span], source: Source) -> tuple[Span | None, bytes | None]:
    """The first text with octets and its first block; all others can be read, too. Raises UnreadableError."""
    texts = [span for span in spans if span[0] < span[1]]
    if not texts:
        return None, None
    start, stop = texts[0]
    begun = await source.file.read(start, min(start + BLOCK, stop))
    for first, last in [(start + BLOCK, stop), *texts[1:]]:
        if first < last:
            await source.file.check(first, last)
    return texts[0], begun


class Answer:
    """Writes the responses of one FETCH."""

    __slots__ = ("_unsettled", "_word", "_writer")

    def __init__(self, writer: Writer, *, uid_only: bool = False) -> None:
        """`uid_only`: messages are named by their UID (RFC 9586 3)."""
        self._writer = writer
        self._word = b"UIDFETCH" if uid_only else b"FETCH"
        self._unsettled = 0

    async def message(
        self, number: int, row: Message, attributes: Iterable[Attribute], bodies: Sequence[Octets], source: Source
    ) -> None:
        """One whole response. Every value is known before the first octet goes out, so that failing to find one
        leaves no half response, and the first block of the first text with them: most messages are no longer. The disk
        is asked for the rest, which is read again, from memory. Only what it forgets until then can fail inside a
        literal. Raises UnreadableError, `UnknownEncodingError`, with nothing written.
        """
        values = [(body, await _value_of(body, source)) for body in bodies]
        span, begun = await _begun([value for _, value in values if isinstance(value, tuple)], source)
        words = [b"%b %b" % (attribute.name, attribute.render(row)) for attribute in attributes]
        self._write(b"* %d %b (%b" % (number, self._word, b" ".join(words)))
        separator = b" " if words else b""
        for body, value in values:
            self._write(separator + body.label + b" ")
            if value is span and span is not None:
                await self._stream(source.file, span, begun)
                begun = None
            else:
                await self._value(value, source)
            separator = b" "
        self._write(b")\r\n")
        await self.settle(SETTLE)

    async def pieces(self, pieces: Iterable[bytes]) -> None:
        """Whole responses made elsewhere, a few in a piece; the reader is waited for after each."""
        for piece in pieces:
            self._write(piece)
            await self.settle(SETTLE)

    async def _value(self, value: Value | Measured | int, source: Source) -> None:
        if value is None:
            self._write(b"NIL")
        elif isinstance(value, bytes):
            self._write(encode.literal(value))
        elif isinstance(value, int):
            self._write(b"%d" % value)
        elif isinstance(value, Measured):
            await self._decode(source.file, value)
        else:
            await self._stream(source.file, value)

    async def _stream(self, file: MessageFile, span: Span, begun: bytes | None = None) -> None:
        """A literal of known length, block by block; a reader that is slow is waited for before the next read. `begun`:
        its first block."""
        start, stop = span
        self._write(b"{%d}\r\n" % (stop - start))
        while start < stop:
            block = await self._block(file, start, min(start + BLOCK, stop), begun)
            begun = None
            self._write(block)
            start += len(block)
            await self.settle(BLOCK if start < stop else SETTLE)

    async def _decode(self, file: MessageFile, value: Measured) -> None:
        """A literal8 where only that can carry the octets (RFC 3516 4.2)."""
        left = value.stop - value.start
        self._write(b"%b{%d}\r\n" % (b"~" if value.nul else b"", left))
        try:
            async for piece in inside(file, value):
                self._write(piece)
                left -= len(piece)
                await self.settle(BLOCK if left else SETTLE)
        except MailError as error:
            _log.error("message-read-failed", start=value.start, stop=value.stop, **error.fields)
            raise ConnectionAbortedError("message could not be read") from error
        if left:
            _log.error("message-file-short", start=value.start, stop=value.stop, read=value.stop - left)
            raise ConnectionAbortedError("message file is shorter than it was")

    async def _block(self, file: MessageFile, start: int, stop: int, read: bytes | None) -> bytes:
        """The announced length cannot be taken back: when the disk fails now, only closing tells the truth."""
        try:
            block = await file.read(start, stop) if read is None else read
        except MailError as error:
            _log.error("message-read-failed", start=start, stop=stop, **error.fields)
            raise ConnectionAbortedError("message could not be read") from error
        if len(block) < stop - start:
            _log.error("message-file-short", start=start, stop=stop, read=len(block))
            raise ConnectionAbortedError("message file is shorter than it was")
        # RFC 9051 4.3.1: no NUL in a literal; the length stays as announced.
        return block.replace(b"\0", b"?") if b"\0" in block else block

    def _write(self, data: bytes) -> None:
        self._writer.write(data)
        self._unsettled += len(data)

    async def settle(self, mark: int = 0) -> None:
        """Wait for the reader once `mark` octets were written since the last wait."""
        if self._unsettled >= mark:
            self._unsettled = 0
            await self._writer.drain()
