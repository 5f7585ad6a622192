"""A header block as fields that keep their original bytes; edits touch nothing else (RFC 5322 2.2, 3.6.8, 4.5).

Knows where a field starts and ends and what is odd about it. Refuses to judge: an oddity is a `Defect`, a value that
policy looks at. Lines end with CRLF only; a lone CR or LF is data inside a field (security.md rows 58, 65, 67).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Flag
from typing import NamedTuple

from core.config import Limits
from core.frozen import dataclass, once
from message.content import BytesContent
from message.lines import has_bare

LIMITS = Limits()


class Defect(Flag):
    """What is wrong with a field or a block. Nothing here stops mail from being stored byte for byte."""

    NONE = 0
    NO_COLON = 1  # a line that is no field; its `name` is b""
    SPACE_BEFORE_COLON = 2  # RFC 5322 4.5 (obsolete): "From : x"
    MBOX_FROM = 4  # the first line starts with "From " and readers of mbox files would drop it
    CONTINUATION_FIRST = 8  # the block starts with white space
    LONE_CR = 16
    LONE_LF = 32
    NUL = 64
    FIELD_TOO_LONG = 128  # past limits.header_field
    BLOCK_TOO_LONG = 256  # past limits.header_block: the fields after it were not looked at
    TOO_MANY_FIELDS = 512  # past limits.header_fields: likewise

    def any_of(self, others: Defect) -> bool:
        """`&` makes another member first, which takes six times as long, and each message is asked this four times."""
        return bool(self._value_ & others._value_)


# RFC 5322 2.2: ftext = %d33-57 / %d59-126
_NAME = re.compile(rb"([!-9;-~]+)([ \t]*):")
# A field as nearly all are: name, colon, lines that go on after white space; only a lone LF may be in it. Looked for at
# the beginning of lines alone, and not behind a lone LF, so that no octet is tried twice as a part of a value.
_SOUND = re.compile(rb"^(?<![^\r]\n)(([!-9;-~]++):[^\r]*+(?:\r\n[ \t][^\r]*+)*\r\n)(?![ \t])", re.MULTILINE)
_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\x00")
_LONE_DEFECT = {b"\r": Defect.LONE_CR, b"\n": Defect.LONE_LF, b"\0": Defect.NUL}


class Field(NamedTuple):
    """One field. `name` lower case, b"" when the line is no field; `raw` every octet of it with its final CRLF;
    `colon` the offset of the value in `raw`."""

    name: bytes
    raw: bytes
    colon: int
    defects: Defect = Defect.NONE

    @property
    def body(self) -> bytes:
        """After the colon, folded as it came, without the final CRLF."""
        raw = self.raw
        return raw[self.colon : -2] if raw.endswith(b"\r\n") else raw[self.colon :]

    @property
    def value(self) -> bytes:
        """Unfolded (RFC 5322 2.2.3: each CRLF before white space goes, the white space stays) and stripped."""
        body = self.raw[self.colon :].strip(b" \t\r\n")
        return _FOLD.sub(b"", body) if b"\r\n" in body else body

    @property
    def unfolded(self) -> bytes:
        """The whole field as one line without its final CRLF, every blank kept."""
        raw = self.raw.removesuffix(b"\r\n")
        return _FOLD.sub(b"", raw) if b"\r\n" in raw else raw


@dataclass(frozen=True)
class Head:
    """A header block. `fields` and `rest` joined are the octets that were split: `rest` is the empty line, when there
    is one, preceded by whatever lies past the bounds."""

    fields: tuple[Field, ...]
    rest: bytes
    defects: Defect = Defect.NONE
    _values: dict[bytes, list[bytes]] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    def __bytes__(self) -> bytes:
        return b"".join([field.raw for field in self.fields]) + self.rest

    @once
    def named(self) -> Mapping[bytes, Sequence[Field]]:
        """By name: a message's fields are asked for forty times."""
        alone = {field.name: (field,) for field in self.fields}
        if len(alone) == len(self.fields):
            return alone
        named: dict[bytes, list[Field]] = {}
        for field in self.fields:
            named.setdefault(field.name, []).append(field)
        return named

    def lacks(self, names: frozenset[bytes]) -> bool:
        """Whether it has no field of these names."""
        return names.isdisjoint(self.named)

    def all(self, name: bytes) -> Sequence[Field]:
        """The fields of this name (lower case), in their order."""
        return self.named.get(name, ())

    def first(self, name: bytes) -> Field | None:
        fields = self.named.get(name)
        return fields[0] if fields else None

    def values(self, name: bytes) -> Sequence[bytes]:
        """The unfolded values of the fields of this name, in their order: unfolded once, whoever asks."""
        values = self._values.get(name)
        if values is None and (fields := self.named.get(name)):
            values = self._values[name] = [field.value for field in fields]
        return values or ()

    def value(self, name: bytes) -> bytes | None:
        """The unfolded value of the first field of this name."""
        return self.values(name)[0] if name in self.named else None

    def stands(self, size: int, limits: Limits) -> bool:
        """Whether `split` would make the same of its octets, which are `size`: sound fields, not more than may be, the
        empty line, and altogether no more than even one field may have."""
        bounded = size <= min(limits.header_field, limits.header_block) and len(self.fields) <= limits.header_fields
        return bounded and self.defects is Defect.NONE and self.rest == b"\r\n"

    def without(self, drop: Callable[[Field], bool]) -> Head:
        """Without the fields that `drop` names; every other octet stays."""
        return Head(tuple(field for field in self.fields if not drop(field)), self.rest, self.defects)

    def without_names(self, *names: bytes) -> Head:
        return self.without(lambda field: field.name in names)

    def replaced(self, name: bytes, raw: bytes) -> Head:
        """The first field of this name becomes `raw` (with its CRLF) and the others go; absent, it is put last."""
        if self.first(name) is None:
            return Head((*self.fields, _field(raw)), self.rest, self.defects)
        kept: list[Field] = []
        pending: Field | None = _field(raw)
        for field in self.fields:
            if field.name != name:
                kept.append(field)
            elif pending is not None:
                kept.append(pending)
                pending = None
        return Head(tuple(kept), self.rest, self.defects)


class Headed(BytesContent):
    """A message in memory whose header block was split already: `fields`."""

    __slots__ = ("fields",)

    def __init__(self, data: bytes, fields: Head) -> None:
        super().__init__(data)
        self.fields = fields


def split(data: bytes, limits: Limits = LIMITS) -> Head:
    """The fields of a header block; `data` may hold more than the block, what follows its empty line is dropped.

    Linear, and never more than `limits.header_block` octets or `limits.header_fields` fields are looked at.
    """
    end, blank = _block_end(data)
    block = data[:end]
    if end <= limits.header_block and (every := _all_sound(block, limits)) is not None:
        return Head(every, data[end : end + blank])
    lone = _has_lone(block)
    bound, most = min(end, limits.header_block), limits.header_field
    fields: list[Field] = []
    defects = Defect.NONE
    start = 0
    while start < bound:
        if len(fields) == limits.header_fields:
            defects |= Defect.TOO_MANY_FIELDS
            break
        if not lone and (sound := _SOUND.match(data, start, end)):
            raw, name = sound.groups()
            if len(raw) <= most and start + len(raw) <= bound:
                fields.append(Field(name.lower(), raw, len(name) + 1))
                start += len(raw)
                continue
        match = _FIELD_END.search(data, start, end)
        stop = match.end() if match else end
        if stop > bound:
            defects |= Defect.BLOCK_TOO_LONG
            break
        field = _field(data[start:stop], first=start == 0, limit=most, lone=lone)
        if field.defects is not Defect.NONE:  # arithmetic of Flag is slow, and most fields are sound
            defects |= field.defects
        fields.append(field)
        start = stop
    if start < end and Defect.TOO_MANY_FIELDS not in defects:
        defects |= Defect.BLOCK_TOO_LONG
    return Head(tuple(fields), data[start : end + blank], defects)


def _block_end(data: bytes) -> tuple[int, int]:
    """(octets of fields, octets of the empty line after them)."""
    if data.startswith(b"\r\n"):
        return 0, 2
    end = data.find(b"\r\n\r\n")
    return (len(data), 0) if end < 0 else (end + 2, 2)


def _has_lone(block: bytes) -> bool:
    """Whether any CR, LF or NUL stands alone; mostly none does, and no field need be searched for one."""
    return has_bare(block) or b"\0" in block


def _all_sound(block: bytes, limits: Limits) -> tuple[Field, ...] | None:
    """All fields at once, when there is nothing but sound ones and none is over a bound; what they leave out shows in
    their lengths. An LF stands alone in them when there are more than CRs."""
    found = _SOUND.findall(block)
    sizes = [len(raw) for raw, _ in found]
    if sum(sizes) != len(block) or len(found) > limits.header_fields or (found and max(sizes) > limits.header_field):
        return None
    if len(block.replace(b"\n", b"")) != len(block.replace(b"\r", b"")) or b"\0" in block:
        return None
    made, none = tuple.__new__, Defect.NONE  # `Field` without its own constructor: a third of the time
    return tuple([made(Field, (name.lower(), raw, len(name) + 1, none)) for raw, name in found])


def _field(raw: bytes, *, first: bool = False, limit: int = 0, lone: bool = True) -> Field:
    """`lone` False: it is known that there is no lone CR, LF or NUL."""
    defects = Defect.NONE
    match = _NAME.match(raw)
    if lone and _LONE.search(raw):
        defects = _lone(raw)
    if limit and len(raw) > limit:
        defects |= Defect.FIELD_TOO_LONG
    if first and raw.startswith(b"From "):
        defects |= Defect.MBOX_FROM
    if match is None:
        defects |= Defect.CONTINUATION_FIRST if raw[:1] in (b" ", b"\t") else Defect.NO_COLON
        return Field(b"", raw, 0, defects)
    if match[2]:
        defects |= Defect.SPACE_BEFORE_COLON
    return Field(match[1].lower(), raw, match.end(), defects)


def _lone(raw: bytes) -> Defect:
    defects = Defect.NONE
    for octet, defect in _LONE_DEFECT.items():
        if octet in raw and (octet == b"\0" or any(match[0] == octet for match in _LONE.finditer(raw))):
            defects |= defect
    return defects
