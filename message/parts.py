"""Where the parts of a message lie: offsets only, packed into a few bytes per part, and looked up by section number.

Serves BODY[1.2.HEADER], BODY[2.MIME], BODY[TEXT], BINARY[3] (RFC 9051 6.4.5) from the index, without a new scan.
Knows no header field and reads no message.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

from core.frozen import dataclass
from message.transfer import Encoding

VERSION = 1


class PartKind(Enum):
    """LEAF: content. MULTIPART: children are its parts. MESSAGE: its only child is the message inside."""

    LEAF = 0
    MULTIPART = 1
    MESSAGE = 2


class Text(Enum):
    """What of a section is meant (RFC 9051 6.4.5.1): its content, or a named piece."""

    CONTENT = ""
    HEADER = "HEADER"
    TEXT = "TEXT"
    MIME = "MIME"


class PackError(ValueError):
    """The bytes are no packed structure of a version we know: scan the message again."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part, or the message itself (`index` 0; parts are numbered in the order they stand in). The header with its
    empty line is [header_start, body_start), the content [body_start, body_end), in octets of the message."""

    index: int
    kind: PartKind
    encoding: Encoding
    header_start: int
    body_start: int
    body_end: int
    children: tuple[Part, ...] = ()

    @property
    def octets(self) -> int:
        return self.body_end - self.body_start


@dataclass(frozen=True, slots=True)
class Tree:
    """All parts of one message."""

    root: Part

    def walk(self) -> Iterator[Part]:
        """Every part in the order of `index`."""
        return self._walk() if self.root.children else iter((self.root,))

    def _walk(self) -> Iterator[Part]:
        stack = [self.root]
        while stack:
            part = stack.pop()
            yield part
            stack.extend(reversed(part.children))

    def part(self, path: Sequence[int]) -> Part | None:
        """The part with this section number; () is the message. None when there is none (h101: NIL, however long).

        RFC 9051 6.4.5.1: a message that is no multipart has one part, number 1, which is its content; a number after
        that of a message/rfc822 part counts inside the message that it holds.
        """
        part, whole_message = self.root, True
        for number in path:
            if not whole_message and part.kind is PartKind.LEAF:
                return None
            if not whole_message and part.kind is PartKind.MESSAGE:
                part = part.children[0]
            if part.kind is PartKind.MULTIPART:
                if not 0 < number <= len(part.children):
                    return None
                part = part.children[number - 1]
            elif number != 1:
                return None
            whole_message = False
        return part

    def section(self, path: Sequence[int], text: Text = Text.CONTENT) -> tuple[int, int] | None:
        """(start, stop) of BODY[path.text] in the message; None where IMAP answers NIL."""
        part = self.part(path)
        if part is None:
            return None
        if not path:
            return _of_message(part, text)
        if text is Text.MIME:
            return part.header_start, part.body_start
        if text is Text.CONTENT:
            return part.body_start, part.body_end
        # HEADER and TEXT of a part exist only where the part is a message (RFC 9051 6.4.5.1).
        return _of_message(part.children[0], text) if part.kind is PartKind.MESSAGE else None

    def pack(self) -> bytes:
        """Version, then each part in order of `index`: kind and encoding in one octet, three distances, children."""
        out = bytearray((VERSION,))
        last = 0
        for part in self.walk():
            out.append(part.kind.value << 4 | part.encoding.value)
            for number in (part.header_start - last, part.body_start - part.header_start, part.octets):
                _put(out, number)
            if part.kind is PartKind.MULTIPART:
                _put(out, len(part.children))
            last = part.header_start
        return bytes(out)

    @staticmethod
    def unpack(data: bytes) -> Tree:
        """The inverse of `pack`. Raises `PackError`."""
        if data[:1] != bytes((VERSION,)):
            raise PackError("unknown version")
        try:
            return Tree(_Unpacker(data).part())
        except (IndexError, ValueError) as error:
            raise PackError("damaged structure") from error


def _of_message(part: Part, text: Text) -> tuple[int, int] | None:
    if text is Text.CONTENT:
        return part.header_start, part.body_end
    if text is Text.HEADER:
        return part.header_start, part.body_start
    return (part.body_start, part.body_end) if text is Text.TEXT else None


def _put(out: bytearray, number: int) -> None:
    """Seven bits an octet, low ones first, the high bit says that more follow."""
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


class _Unpacker:
    """Reads parts in order; the nesting, bounded when it was packed, is kept on a list, not on the call stack."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 1
        self._last = 0
        self._index = 0

    def part(self) -> Part:
        open_parts: list[tuple[Part, int, list[Part]]] = []
        while True:
            done, wanted = self._one()
            if wanted:
                open_parts.append((done, wanted, []))
                continue
            while open_parts:
                parent, missing, children = open_parts[-1]
                children.append(done)
                if len(children) < missing:
                    break
                open_parts.pop()
                done = _with_children(parent, children)
            else:
                if self._at != len(self._data):
                    raise ValueError("octets left over")
                return done

    def _one(self) -> tuple[Part, int]:
        """(a part without its children, how many it wants)."""
        octet = self._data[self._at]
        self._at += 1
        kind, encoding = PartKind(octet >> 4), Encoding(octet & 15)
        header = self._last + self._number()
        body = header + self._number()
        part = Part(self._index, kind, encoding, header, body, body + self._number())
        self._last = header
        self._index += 1
        wanted = {PartKind.LEAF: 0, PartKind.MESSAGE: 1}.get(kind)
        return part, self._number() if wanted is None else wanted

    def _number(self) -> int:
        number = shift = 0
        while True:
            octet = self._data[self._at]
            self._at += 1
            number |= (octet & 127) << shift
            if octet < 128:
                return number
            shift += 7


def _with_children(part: Part, children: list[Part]) -> Part:
    return Part(
        part.index, part.kind, part.encoding, part.header_start, part.body_start, part.body_end, tuple(children)
    )
