"""Where the octets of one BODY item come from: the index, the message file, or nowhere (RFC 9051 6.4.5.1).

Knows the message's structure and its open file; refuses to know how an answer is written. Whole bodies are never read
here: a `Span` says what to stream.
"""

from __future__ import annotations

import asyncio

from imap.commands.fetch.binary import Decoded, Measured, locate, measure
from imap.commands.fetch.items import Body
from imap.commands.fetch.section import SUBSETS, Partial, Section, Span, Text, clip
from message import fields, parts
from message.content import BLOCK
from store.store import MessageFile
from store.types import Message

# A part's header has no bound of its own; fields beyond this are not found.
MAX_HEADER = 1024 * 1024
LONG = 16 * 1024  # octets of a header after whose scan other sessions get their turn (promise P7)

# Which octets of the message a section-text is cut from.
_PIECES: dict[Text, parts.Text] = {
    Text.WHOLE: parts.Text.CONTENT,
    Text.HEADER: parts.Text.HEADER,
    Text.FIELDS: parts.Text.HEADER,
    Text.FIELDS_NOT: parts.Text.HEADER,
    Text.TEXT: parts.Text.TEXT,
    Text.MIME: parts.Text.MIME,
}

Value = bytes | Span | None  # octets in hand, octets to stream, NIL


class Source:
    """One message while it is answered. `file` is None when the plan opens none."""

    __slots__ = ("_file", "_head", "_row", "_tree")

    def __init__(self, row: Message, file: MessageFile | None) -> None:
        self._row = row
        self._file = file
        self._tree: parts.Tree | None = None
        self._head: tuple[Span, bytes] | None = None  # the header last read: clients ask one for several subsets

    @property
    def file(self) -> MessageFile:
        if self._file is None:
            raise RuntimeError("the plan opened no file for this item")
        return self._file

    async def value(self, body: Body) -> Value:
        """What the item is answered with; None when the message has no such part."""
        if body.section.in_index:
            return _of(body, subset(self._row.headers, body.section))
        span = self._span(body.section)
        if span is None:
            return None
        if body.section.text in SUBSETS:
            return _of(body, await self._subset(span, body.section))
        return body.partial.cut(span) if body.partial else span

    def _span(self, section: Section) -> Span | None:
        if not section.path and section.text is Text.WHOLE:
            return 0, self.file.size
        span = self._structure().section(section.path, _PIECES[section.text])
        return None if span is None else clip(span, self.file.size)

    def _structure(self) -> parts.Tree:
        if self._tree is None:
            self._tree = parts.Tree.unpack(self._row.parts)
        return self._tree

    async def decoded(self, item: Decoded) -> Measured | int | None:
        """A part that is not there is NIL, and has no octets (RFC 3516 4.2: BINARY.SIZE is a number). Raises
        `UnknownEncodingError`."""
        source = locate(self._structure(), item.path, self.file.size)
        if source is None:
            return 0 if item.size_only else None
        measured = await measure(self.file, source, item.partial)
        return measured.stop if item.size_only else measured

    async def _subset(self, span: Span, section: Section) -> bytes:
        if self._head is None or self._head[0] != span:
            self._head = span, await self.file.read(span[0], min(span[1], span[0] + MAX_HEADER))
        head = self._head[1]
        if len(head) > BLOCK:
            return await asyncio.to_thread(subset, head, section)
        if len(head) > LONG:
            await asyncio.sleep(0)
        return subset(head, section)


def subset(head: bytes, section: Section) -> bytes:
    """The fields a header-list keeps, in the message's order, and the empty line (RFC 9051 6.4.5.1). A message without
    one and without a body has none behind HEADER.FIELDS.NOT either; HEADER.FIELDS always ends with one, and a last line
    without its end gets it, as in the index and in Dovecot."""
    keep = section.text is Text.FIELDS
    ended = keep or len(head) >= MAX_HEADER or head.endswith(b"\r\n\r\n") or head == b"\r\n"
    found = fields.chosen(head, section.wanted, keep=keep)
    if keep and found and not found.endswith(b"\r\n"):
        found += b"\r\n"
    return found + (b"\r\n" if ended else b"")


def _of(body: Body, octets: bytes) -> bytes:
    return octets if body.partial is None else cut(body.partial, octets)


def cut(partial: Partial, octets: bytes) -> bytes:
    start, stop = partial.cut((0, len(octets)))
    return octets[start:stop]
