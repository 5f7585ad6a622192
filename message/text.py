"""The text of a message as people read it, piece by piece: for SEARCH TEXT and BODY, for the index, for previews.

Header fields are decoded, text parts are decoded and freed of markup, messages inside count as text (RFC 9051 6.4.4).
What stands before the first part of a multipart and behind the last is no text of the message: RFC 2046 5.1.1 has it
ignored. Bounded: no more than `limit` characters leave, blocks are short, nothing is decoded before it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum

from core.config import Limits
from core.frozen import dataclass
from message import charset, decode, mime
from message.collation import searchable
from message.content import BLOCK, Content
from message.header import LIMITS, Head, split
from message.html import Stripper
from message.media import Media
from message.parts import Part, PartKind
from message.transfer import Encoding, decoded

MAX_TEXT = 16 * 1024 * 1024  # characters of one message that are searched; far past anything written by people
PREVIEW_LENGTH = 200  # characters; RFC 8970 3.1 allows 256
_PREVIEW_BLOCK = 2 * 1024  # octets decoded at a time
_PREVIEW_STEP = 256  # characters cleaned at a time: mostly the first ones are enough
_PREVIEW_READ = 256 * 1024  # octets of one part that are looked at for a preview: style sheets come first
_CODED = (Encoding.QUOTED_PRINTABLE, Encoding.BASE64)  # octets of all others are read as they are
# Invisible padding that newsletters put behind their first words.
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2060-\u2064\ufeff]")


class Kind(Enum):
    """TEXT: of a part, cut anywhere. LINES: a header as it was sent, unfolded and decoded, names and all. FIELD: one
    value in one line, as people read it. BLANKS: likewise, and only white space differs from LINES. NAME: of an
    attachment."""

    TEXT = "text"
    LINES = "lines"
    FIELD = "field"
    BLANKS = "blanks"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text. `part` is the part's index: those of the kind TEXT that follow each other are one text. `header`:
    TEXT looks in it and BODY does not."""

    text: str
    part: int
    kind: Kind = Kind.TEXT
    header: bool = False


def pieces(
    content: Content, structure: mime.Structure | None = None, *, limit: int = MAX_TEXT, limits: Limits = LIMITS
) -> Iterator[Piece]:
    """The parts in their order: header fields (those of messages inside are text, too), names of attachments, text.
    Stops after `limit` characters."""
    room = limit
    for piece in _all(content, structure or mime.scan(content, limits), limits):
        yield piece if len(piece.text) <= room else Piece(piece.text[:room], piece.part, piece.kind, piece.header)
        room -= len(piece.text)
        if room <= 0:
            return


def _all(content: Content, structure: mime.Structure, limits: Limits) -> Iterator[Piece]:
    inside = {part.children[0].index for part in structure.walk() if part.kind is PartKind.MESSAGE}
    for part in structure.walk():
        about = structure.media[part.index]
        yield from _header(_head(content, part, limits), part.index, text=part.index in inside)
        if name := _filename(about):
            yield Piece(name, part.index, Kind.NAME, header=part.index == 0)
        # Only other types than these two may be left out of a search (RFC 9051 6.4.4).
        if part.kind is PartKind.LEAF and about.type in (b"text", b"message"):
            for text in part_text(content, part, about):
                yield Piece(text, part.index)


def _head(content: Content, part: Part, limits: Limits) -> Head:
    stop = min(part.body_start, part.header_start + limits.header_block)
    return split(content.read(part.header_start, stop), limits)


def _header(head: Head, index: int, *, text: bool) -> Iterator[Piece]:
    """`text`: of a message inside, whose values are part of the text of the outer one."""
    lines, shown = list[str](), list[Piece]()
    for field in head.fields:
        sent = decode.unfolded(field.unfolded)
        lines.append(sent)
        if not text and "  " not in sent and sent.isprintable():  # mostly: it is shown as it was sent
            continue
        value = charset.shown(sent.partition(":")[2])
        if text and value:
            shown.append(Piece(value, index, Kind.FIELD))
        elif value not in sent:
            words = value.split()
            kind = Kind.BLANKS if sent.split()[-len(words) :] == words else Kind.FIELD
            shown.append(Piece(value, index, kind, header=True))
    if lines:
        yield Piece("\r\n".join([*lines, ""]), index, Kind.LINES, header=True)
    yield from shown


def _filename(about: Media) -> str:
    disposition = about.disposition[1] if about.disposition else ()
    return decode.filename(disposition, about.parameters)


def part_text(content: Content, part: Part, about: Media, *, block: int = BLOCK) -> Iterator[str]:
    """The decoded text of one text part in pieces, HTML without its markup."""
    name = about.parameter(b"charset") or b""
    letters = charset.Decoder(name.decode("ascii", "replace"))
    stripper = Stripper() if about.subtype == b"html" else None
    ranges = range(part.body_start, part.body_end, block)
    octets = (content.read(start, min(start + block, part.body_end)) for start in ranges)
    for data in decoded(about.encoding, octets):
        text = letters.feed(data)
        if text := stripper.feed(text) if stripper else text:
            yield text
    text = letters.feed(b"", final=True)
    if text := stripper.feed(text) + stripper.flush() if stripper else text:
        yield text


def contains(
    content: Content,
    pattern: str,
    *,
    body_only: bool,
    structure: mime.Structure | None = None,
    fold: Callable[[str], str] = searchable,
    limits: Limits = LIMITS,
) -> bool:
    """Whether the text holds `pattern`, both in the form `fold` gives them (RFC 9051 6.4.4), across the cuts between
    pieces.

    Blanks count as they are written, line ends as CRLF.
    """
    wanted = fold(pattern)
    tail, last = "", (-1, Kind.NAME)
    for piece in pieces(content, structure, limits=limits):
        if body_only and piece.header:
            continue
        text = fold(piece.text)
        if (piece.part, piece.kind) == last and piece.kind is Kind.TEXT:
            text = tail + text
        if wanted in text:
            return True
        last, tail = (piece.part, piece.kind), text[len(text) - len(wanted) + 1 :] if len(wanted) > 1 else ""
    return not wanted


def preview(content: Content, structure: mime.Structure) -> str:
    """At most 200 characters of the first readable text, blanks folded, nothing invisible (RFC 8970)."""
    for subtype in (b"plain", b"html"):
        for part in structure.walk():
            about = structure.media[part.index]
            if part.kind is not PartKind.LEAF or about.type != b"text" or about.subtype != subtype:
                continue
            attached = about.disposition is not None and about.disposition[0] == b"attachment"
            if not attached and (text := _plain_words(content, part, about) or _first_words(content, part, about)):
                return text
    return ""


def _plain_words(content: Content, part: Part, about: Media) -> str:
    """What `_first_words` finds, where its first step is enough: ASCII that stands there as it is. Else nothing."""
    name = about.parameter(b"charset")
    if about.subtype != b"plain" or part.encoding in _CODED or not (name is None or charset.keeps_ascii(name)):
        return ""
    octets = content.read(part.body_start, min(part.body_start + _PREVIEW_STEP, part.body_end))
    if not octets.isascii():
        return ""
    line = charset.shown(octets.decode("ascii"))
    return line[:PREVIEW_LENGTH].strip() if len(line) >= PREVIEW_LENGTH or len(octets) == part.octets else ""


def _first_words(content: Content, part: Part, about: Media) -> str:
    gathered = ""
    short = Part(
        part.index, part.kind, part.encoding, part.header_start, part.body_start,
        min(part.body_end, part.body_start + _PREVIEW_READ),
    )  # fmt: skip
    blocks = part_text(content, short, about, block=_PREVIEW_BLOCK)
    for text in (
        block[start : start + _PREVIEW_STEP] for block in blocks for start in range(0, len(block), _PREVIEW_STEP)
    ):
        gathered = charset.shown(_visible(gathered + text))
        if len(gathered) >= PREVIEW_LENGTH:
            break
        if text[-1:].isspace():
            gathered += " "
    return gathered[:PREVIEW_LENGTH].strip()


def _visible(text: str) -> str:
    return text if text.isascii() else _INVISIBLE.sub("", text)
