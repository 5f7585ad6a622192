"""What FETCH answers: msg-att (RFC 9051 9), RFC 3501's RFC822 items, and those of the extensions."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.imap.syntax.terminals import Cursor

_DATE = re.compile(
    rb'"[ 0-3]\d-(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)-\d{4} [0-2]\d:[0-5]\d:[0-6]\d [+-]\d{4}"'
)
_OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}")  # RFC 8474 7
_FLAG = re.compile(rb"\\?[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_SYSTEM = {b"\\ANSWERED", b"\\FLAGGED", b"\\DELETED", b"\\SEEN", b"\\DRAFT"}
_PART = re.compile(rb"[1-9]\d*(?:\.[1-9]\d*)*")

Read = Callable[[Cursor], object]


def flag(at: Cursor) -> None:
    """flag: no flag-extension, for none is defined."""
    _known_flag(at, _SYSTEM)


def flag_perm(at: Cursor) -> None:
    if not at.takes(b"\\*"):
        flag(at)


def _flag_fetch(at: Cursor) -> None:
    _known_flag(at, _SYSTEM if at.mode.rev2 else _SYSTEM | {b"\\RECENT"})  # RFC 9051 appendix E


def _known_flag(at: Cursor, known: set[bytes]) -> None:
    value = at.match(_FLAG, "a flag")[0].upper()
    if value.startswith(b"\\") and value not in known:
        raise at.fail(f"a flag that is defined instead of {value!r}")


def _address(at: Cursor) -> None:
    at.needs(b"(")
    at.nstring()
    at.spaced(Cursor.nstring, Cursor.nstring, Cursor.nstring)
    at.needs(b")")


def _addresses(at: Cursor) -> None:
    if not at.nil():
        at.listed(_address, least=1, between=b"")


def envelope(at: Cursor) -> None:
    at.needs(b"(")
    at.nstring()
    at.spaced(Cursor.nstring, *([_addresses] * 6), Cursor.nstring, Cursor.nstring)
    at.needs(b")")


def _pair(at: Cursor) -> None:
    at.string()
    at.spaced(Cursor.string)


def _parameters(at: Cursor) -> None:
    if not at.nil():
        at.listed(_pair, least=1)


def _disposition(at: Cursor) -> None:
    if not at.nil():
        at.needs(b"(")
        at.string()
        at.spaced(_parameters)
        at.needs(b")")


def _language(at: Cursor) -> None:
    if at.sees(b"("):
        at.listed(Cursor.string, least=1)
    else:
        at.nstring()


def structure(at: Cursor) -> None:
    """body, as BODYSTRUCTURE has it: with all extension data."""
    _body(at, extended=True)


def body(at: Cursor) -> None:
    """body, as BODY has it: MUST NOT have extension data."""
    _body(at, extended=False)


def _body(at: Cursor, *, extended: bool) -> None:
    at.needs(b"(")
    if at.sees(b"("):
        while at.sees(b"("):
            _body(at, extended=extended)
        at.spaced(Cursor.string)
        extension: tuple[Read, ...] = (_parameters,)
    else:
        _single(at, extended=extended)
        extension = (Cursor.nstring,)
    if extended:
        at.spaced(*extension, _disposition, _language, Cursor.nstring)
    at.needs(b")")


def _single(at: Cursor, *, extended: bool) -> None:
    kind = at.string().upper()
    at.needs(b" ")
    kind += b"/" + at.string().upper()
    at.spaced(_parameters, Cursor.nstring, Cursor.nstring, Cursor.string, Cursor.number)
    # RFC 3501 9 media-message: MESSAGE/GLOBAL came with RFC 9051
    if kind in ((b"MESSAGE/RFC822", b"MESSAGE/GLOBAL") if at.mode.rev2 else (b"MESSAGE/RFC822",)):
        at.spaced(envelope, structure if extended else body, Cursor.number64)
    elif kind.startswith(b"TEXT/"):
        at.spaced(Cursor.number64)


def _section(at: Cursor) -> None:
    """section, behind "[", with the origin of a partial. Behind a part a section-text, else a section-msgtext."""
    part = _part(at)
    if not part or at.takes(b"."):
        if at.takes(b"HEADER.FIELDS.NOT ") or at.takes(b"HEADER.FIELDS "):
            at.listed(Cursor.astring, least=1)
        elif not (at.takes(b"HEADER") or at.takes(b"TEXT") or (part and at.takes(b"MIME"))) and part:
            raise at.fail("section-text")
    at.needs(b"]")
    _origin(at)


def _part(at: Cursor) -> bool:
    return bool(at.sees_digit() and at.match(_PART, "section-part"))


def _origin(at: Cursor) -> None:
    """ "<" number ">"; a client may ask from a number64 on, so it may be one."""
    if at.takes(b"<"):
        at.number64()
        at.needs(b">")


def _body_section(at: Cursor) -> None:
    _section(at)
    at.spaced(Cursor.nstring)


def _binary(at: Cursor) -> None:
    """BINARY[…], and of headers and texts, which clients of Dovecot ask for under this name (docs/quirks.md)."""
    _section(at)
    at.spaced(Cursor.nstring8)


def _binary_size(at: Cursor) -> None:
    _section(at)
    at.spaced(Cursor.number)


def date_time(at: Cursor) -> None:
    at.match(_DATE, "date-time")


def object_id(at: Cursor) -> None:
    at.needs(b"(")
    at.match(_OBJECT_ID, "objectid")
    at.needs(b")")


def _flags(at: Cursor) -> None:
    at.listed(_flag_fetch)


def _mod_sequence(at: Cursor) -> None:
    at.needs(b"(")
    at.mod_sequence()
    at.needs(b")")


def _or_nil(read: Read) -> Read:
    return lambda at: at.nil() or read(at)


ITEMS: dict[bytes, Read] = {
    b"BODY[": _body_section,
    b"BINARY.SIZE[": _binary_size,
    b"BINARY[": _binary,
    b"FLAGS ": _flags,
    b"ENVELOPE ": envelope,
    b"INTERNALDATE ": date_time,
    b"RFC822.SIZE ": Cursor.number64,
    b"RFC822.HEADER ": Cursor.nstring,
    b"RFC822.TEXT ": Cursor.nstring,
    b"RFC822 ": Cursor.nstring,
    b"BODYSTRUCTURE ": structure,
    b"BODY ": body,
    b"UID ": Cursor.nz_number,
    b"MODSEQ ": _mod_sequence,  # RFC 7162 7
    b"EMAILID ": object_id,  # RFC 8474 7
    b"THREADID ": _or_nil(object_id),
    b"SAVEDATE ": _or_nil(date_time),  # RFC 8514 6
    b"PREVIEW ": Cursor.nstring,  # RFC 8970 6
}


def _item(at: Cursor) -> None:
    for name, read in ITEMS.items():
        if at.takes(name):
            read(at)
            return
    raise at.fail("a FETCH item")


def attributes(at: Cursor) -> None:
    """msg-att"""
    at.listed(_item, least=1)
