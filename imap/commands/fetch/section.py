"""BODY[section]<partial> as values, and where its octets lie (RFC 9051 6.4.5.1).

Knows the section names, the maths of partial ranges and which fields a header subset keeps; refuses to know how message
bytes are read. All numbers are octets from the start of the message.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from imap.wire import encode
from message.facts import KEPT_FIELDS

Span = tuple[int, int]  # [start, stop) in the message


class Text(Enum):
    """section-text of RFC 9051 9; `WHOLE` is the empty one: the message, or the body of a part."""

    WHOLE = b""
    HEADER = b"HEADER"
    FIELDS = b"HEADER.FIELDS"
    FIELDS_NOT = b"HEADER.FIELDS.NOT"
    TEXT = b"TEXT"
    MIME = b"MIME"


SUBSETS = frozenset({Text.FIELDS, Text.FIELDS_NOT})


@dataclass(frozen=True, slots=True)
class Section:
    """`path` () is the message itself, (1, 2) part 1.2; `fields` as the client spelled them, for the two subsets.

    `wanted`: the field names in lower case, as headers are searched. `in_index`: the kept fields of the index answer it
    exactly (a subset of the message's own header, of kept fields only). Both are asked once per message, made once.
    """

    path: tuple[int, ...] = ()
    text: Text = Text.WHOLE
    fields: tuple[bytes, ...] = ()
    wanted: frozenset[bytes] = field(init=False, compare=False)
    in_index: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        wanted = frozenset(name.lower() for name in self.fields)
        in_index = not self.path and self.text is Text.FIELDS and wanted <= KEPT_FIELDS
        object.__setattr__(self, "wanted", wanted)
        object.__setattr__(self, "in_index", in_index)

    def label(self) -> bytes:
        """What stands between the brackets of the answer; clients match it with what they asked."""
        words = [b".".join(b"%d" % number for number in self.path), self.text.value]
        name = b".".join(word for word in words if word)
        if self.text not in SUBSETS:
            return name
        return name + b" (" + b" ".join(encode.astring(field) for field in self.fields) + b")"


@dataclass(frozen=True, slots=True)
class Partial:
    """`<start.length>`; numbers of any size are legal and simply reach past the end (security.md row 101)."""

    start: int
    length: int

    def cut(self, span: Span) -> Span:
        """RFC 9051 6.4.5: cut at the end of the text; past the end it is the empty string."""
        first = min(span[0] + self.start, span[1])
        return first, min(first + self.length, span[1])


def clip(span: Span, size: int) -> Span:
    """Within a file of `size` octets: an index that is ahead of its file must not promise octets that are not there."""
    return min(span[0], size), min(span[1], size)
