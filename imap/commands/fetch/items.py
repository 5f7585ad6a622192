"""The data items a client can name in FETCH (RFC 9051 6.4.5, RFC 3501 6.4.5) and what each costs.

`ATTRIBUTES` are answered from the index alone; `BODIES` name message text. Knows which columns an item needs and how an
index value looks on the wire; refuses to know sections (`section`) and sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from imap import responses
from imap.commands.fetch.binary import Decoded
from imap.commands.fetch.section import Partial, Section, Text
from imap.wire import dates, encode
from message.structure import of_rev1
from store.types import Column, Message


@dataclass(frozen=True, slots=True)
class Attribute:
    """An item whose value is one `field` of a message's row. `form`: the value as the wire wants it, without the name;
    `shown` makes of the field what goes into it (None: it does itself)."""

    name: bytes
    columns: Column
    field: str
    form: bytes = b"%b"
    shown: Callable[[Any], bytes] | None = None  # of the field's type, which only the row knows

    def render(self, row: Message) -> bytes:
        value = getattr(row, self.field)
        return self.form % (value if self.shown is None else self.shown(value))


@dataclass(frozen=True, slots=True)
class FlagList(Attribute):
    """Flags and keywords in one list, made by `listed`."""

    listed: Callable[[int, Collection[str]], bytes] = responses.flag_list

    def render(self, row: Message) -> bytes:
        return self.listed(row.flags, row.keywords)


@dataclass(frozen=True, slots=True)
class Body:
    """An item made of message text, under the name the client used; `peek` false sets \\Seen (RFC 9051 6.4.5).
    `size_only`: the number of its octets.

    `label` is what the answer calls it: BODY[section]<origin octet>, without the length (RFC 9051 7.5.2).
    """

    name: bytes
    section: Section
    peek: bool
    partial: Partial | None = None
    size_only: bool = False
    label: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.name if self.name.startswith(b"RFC822") else self._body_label())

    def _body_label(self) -> bytes:
        origin = b"<%d>" % self.partial.start if self.partial else b""
        return b"%b[%b]%b" % (self.name, self.section.label(), origin)


Octets = Body | Decoded  # items made of message text
Item = Attribute | Octets


def _ascii(text: str) -> bytes:
    return text.encode("ascii")


def _thread_id(thread: str) -> bytes:
    return b"(%b)" % thread.encode("ascii") if thread else b"NIL"  # RFC 8474 5.2


def _save_date(seconds: int) -> bytes:
    return dates.encode_date_time(seconds) if seconds else b"NIL"  # RFC 8514 4.2


def _preview(text: str) -> bytes:
    return encode.string(text.encode("utf-8"))  # RFC 8970 3.1: UTF-8; "" is "no text in this message"


UID = Attribute(b"UID", Column.NONE, "uid", b"%d")
FLAGS = FlagList(b"FLAGS", Column.NONE, "flags")
RECENT_FLAGS = FlagList(
    b"FLAGS", Column.NONE, "flags", listed=responses.recent_flag_list
)  # in the place of FLAGS where the message is recent (RFC 3501 2.3.2)
DATE = Attribute(b"INTERNALDATE", Column.DATES, "internal_date", shown=dates.encode_date_time)
SIZE = Attribute(b"RFC822.SIZE", Column.DATES, "size", b"%d")
ENVELOPE = Attribute(b"ENVELOPE", Column.ENVELOPE, "envelope")
STRUCTURE = Attribute(b"BODY", Column.STRUCTURE, "body")  # without extension data
EXTENDED = Attribute(b"BODYSTRUCTURE", Column.STRUCTURE, "bodystructure")
# In their place until IMAP4rev2 is enabled, for RFC 3501 binds until then (RFC 9051 7.2.2).
OF_REV1 = {item: replace(item, shown=of_rev1) for item in (STRUCTURE, EXTENDED)}

MOD_SEQ = Attribute(b"MODSEQ", Column.NONE, "modseq", b"(%d)")  # RFC 7162 3.1.4.2

ATTRIBUTES: Mapping[bytes, Attribute] = {
    item.name: item
    for item in (
        UID,
        FLAGS,
        DATE,
        SIZE,
        ENVELOPE,
        STRUCTURE,
        EXTENDED,
        MOD_SEQ,
        Attribute(b"EMAILID", Column.IDS, "email_id", b"(%b)", _ascii),  # RFC 8474 5.1
        Attribute(b"THREADID", Column.IDS, "thread_id", shown=_thread_id),
        Attribute(b"SAVEDATE", Column.DATES, "save_date", shown=_save_date),
        Attribute(b"PREVIEW", Column.PREVIEW, "preview", shown=_preview),
    )
}

# RFC 3501 6.4.5: each is functionally equivalent to a BODY item, but answers under its own name.
RFC822: Mapping[bytes, Body] = {
    item.name: item
    for item in (
        Body(b"RFC822", Section(), peek=False),
        Body(b"RFC822.HEADER", Section(text=Text.HEADER), peek=True),
        Body(b"RFC822.TEXT", Section(text=Text.TEXT), peek=False),
    )
}

# Names that a section in brackets must follow > peek.
BODIES: Mapping[bytes, bool] = {b"BODY": False, b"BODY.PEEK": True}

# The same for decoded parts (RFC 3516 4.2) > (peek, the size only).
BINARIES: Mapping[bytes, tuple[bool, bool]] = {
    b"BINARY": (False, False),
    b"BINARY.PEEK": (True, False),
    b"BINARY.SIZE": (True, True),
}

# RFC 9051 6.4.5: a macro stands alone, never in a list.
MACROS: Mapping[bytes, tuple[Item, ...]] = {
    b"FAST": (FLAGS, DATE, SIZE),
    b"ALL": (FLAGS, DATE, SIZE, ENVELOPE),
    b"FULL": (FLAGS, DATE, SIZE, ENVELOPE, STRUCTURE),
}
