"""A message as one that mail systems of lines can carry: binary parts (RFC 3030 3), and with `wrap` those with lines
over 998 octets, in base64.

The result is a view: only the offsets of what changes are kept, octets are converted when they are read, so that a
large message costs no second copy. One pass to find the parts, linear and bounded like the MIME scanner that finds
them. Refuses what it cannot describe (too many parts, too deep); whether the rest has sound lines is `message.lines`'.
"""

from __future__ import annotations

import binascii
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from core.config import Limits
from message.content import BLOCK, Content
from message.header import LIMITS, split
from message.lines import TEXT_LINE, LongLines
from message.media import OPAQUE
from message.mime import Structure, scan
from message.parts import Part, PartKind
from message.transfer import Encoding

_RAW = 57  # octets on a line of 76 characters (RFC 2045 6.8)
_LINE = 78  # with its CRLF
_CTE = b"content-transfer-encoding"


@dataclass(frozen=True, slots=True)
class _Piece:
    """What stands at `at` in the result for [start, stop) of the source: those octets, `literal` for them, or they in
    base64 (`encoded`)."""

    at: int
    size: int
    start: int
    stop: int
    literal: bytes = b""
    encoded: bool = False


class Converted:
    """Implements `message.content.Content` over another one."""

    __slots__ = ("_content", "_pieces", "_starts", "head", "size")

    def __init__(self, content: Content, pieces: list[_Piece]) -> None:
        self._content = content
        self._pieces = pieces
        self._starts = [piece.at for piece in pieces]
        self.size = pieces[-1].at + pieces[-1].size if pieces else 0
        first = pieces[0] if pieces else None
        self.head = first.literal if first is not None and first.literal else content.head

    def read(self, start: int, stop: int) -> bytes:
        found = []
        stop = min(stop, self.size)
        for index in range(max(bisect_right(self._starts, start) - 1, 0), len(self._pieces)):
            piece = self._pieces[index]
            if piece.at >= stop:
                break
            found.append(self._of(piece, max(start - piece.at, 0), min(stop - piece.at, piece.size)))
        return b"".join(found)

    def _of(self, piece: _Piece, start: int, stop: int) -> bytes:
        if piece.literal:
            return piece.literal[start:stop]
        if not piece.encoded:
            return self._content.read(piece.start + start, piece.start + stop)
        first = start // _LINE  # whole lines are made, then cut
        raw = self._content.read(piece.start + first * _RAW, min(piece.start + (stop // _LINE + 1) * _RAW, piece.stop))
        lines = b"\r\n".join(binascii.b2a_base64(raw[at : at + _RAW], newline=False) for at in range(0, len(raw), _RAW))
        # The CRLF after a line stands before the next one: there is none after the last.
        return (lines + b"\r\n")[start - first * _LINE : stop - first * _LINE]


def converted(content: Content, limits: Limits = LIMITS, *, wrap: bool = False) -> Content | None:
    """`content` without binary parts; itself when it has none, None when its structure is past the limits. `wrap`:
    without long lines in parts that are not encoded yet, too. Reads it once or twice: in a thread when it is long."""
    structure = scan(content, limits)
    changes = list(_changes(content, structure, limits, wrap=wrap))
    if None in changes:
        return None
    pieces = [change for change in changes if change is not None]
    return Converted(content, _laid_out(content, pieces)) if pieces else content


def _changes(content: Content, structure: Structure, limits: Limits, *, wrap: bool) -> Iterator[_Piece | None]:
    """In the order they stand in; None for a part that cannot be looked into. What is signed stays (RFC 1847 2.1)."""
    signed_until = 0
    for part in structure.walk():
        about = structure.media[part.index]
        if about is OPAQUE:
            yield None
        elif part.encoding is Encoding.BINARY or (
            wrap and part.kind is PartKind.LEAF and part.body_start >= signed_until and _has_long_lines(content, part)
        ):
            yield from _change(content, part, limits)
        if about.type == b"multipart" and about.subtype == b"signed":
            signed_until = max(signed_until, part.body_end)


def _has_long_lines(content: Content, part: Part) -> bool:
    """Of a part that is not encoded: in an encoded one they are a fault of their own."""
    if part.encoding not in (Encoding.SEVENBIT, Encoding.EIGHTBIT):
        return False
    lines = LongLines(TEXT_LINE + 2)
    for start in range(part.body_start, part.body_end, BLOCK):
        lines.look(content.read(start, min(start + BLOCK, part.body_end)))
    return lines.found


def _change(content: Content, part: Part, limits: Limits) -> Iterator[_Piece]:
    """RFC 2045 6.4: only what is no composite may be encoded; those hold converted parts and are 8-bit at most."""
    leaf = part.kind is PartKind.LEAF
    head = split(content.read(part.header_start, part.body_start), limits)
    name = b"base64" if leaf else b"8bit"
    field = b"Content-Transfer-Encoding: " + name + b"\r\n"
    if part.header_start == 0 and head.first(b"mime-version") is None:  # without it nobody need decode (RFC 2045 4)
        field = b"MIME-Version: 1.0\r\n" + field
    literal = bytes(head.replaced(_CTE, field))
    yield _Piece(0, len(literal), part.header_start, part.body_start, literal)
    if leaf and part.octets:
        yield _Piece(0, _encoded_size(part.octets), part.body_start, part.body_end, encoded=True)
        if part.body_end == content.size:  # the last line of a message ends, too
            yield _Piece(0, 2, part.body_end, part.body_end, b"\r\n")


def _encoded_size(octets: int) -> int:
    whole, rest = divmod(octets, _RAW)
    return whole * _LINE + ((rest + 2) // 3 * 4 + 2 if rest else 0) - 2


def _laid_out(content: Content, changes: list[_Piece]) -> list[_Piece]:
    """The whole result: what changes, and what stands between."""
    pieces: list[_Piece] = []
    at = position = 0
    for change in changes:
        if change.start > position:
            pieces.append(_Piece(at, change.start - position, position, change.start))
            at += change.start - position
        pieces.append(_Piece(at, change.size, change.start, change.stop, change.literal, change.encoded))
        at, position = at + change.size, change.stop
    if content.size > position:
        pieces.append(_Piece(at, content.size - position, position, content.size))
    return pieces
