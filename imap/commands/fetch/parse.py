"""The arguments of FETCH and UID FETCH (RFC 9051 9: `fetch`, `fetch-att`, `section`, `partial`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from imap.commands.fetch.binary import Decoded
from imap.commands.fetch.items import ATTRIBUTES, BINARIES, BODIES, MACROS, RFC822, Body, Item, Octets
from imap.commands.fetch.section import SUBSETS, Partial, Section, Text
from imap.commands.window import Window, read_window
from imap.errors import BadSyntax, Code, No
from imap.types import MAX_MODSEQ, MAX_NUMBER, SequenceSet
from imap.wire.scanner import Scanner

MAX_ITEMS = 200  # different items in one FETCH; each BODY[...] may cost a read per message
MAX_NUMBER64 = 2**63 - 1  # number64, RFC 9051 9

_NAME = re.compile(rb"[A-Za-z0-9.]+")
# section-part = nz-number *("." nz-number); a section-text may follow behind a dot
_PART = re.compile(rb"[1-9][0-9]{0,9}(?:\.[1-9][0-9]{0,9})*(\.?)")
_TEXT = re.compile(rb"[A-Za-z.]+")
# partial = "<" number64 "." nz-number64 ">"
_PARTIAL = re.compile(rb"<([0-9]{1,19})\.([0-9]{1,19})>")
_OPEN_PARTIAL = re.compile(rb"<([0-9]{1,19})(?:\.([0-9]{1,19}))?>")
_LAZY = re.compile(rb" \(LAZY\)", re.IGNORECASE)  # RFC 8970 4.1; every preview here is ready, so it changes nothing

_TEXTS = {text.value: text for text in Text if text is not Text.WHOLE}


@dataclass(frozen=True, slots=True)
class Modifiers:
    """`changed_since`: only messages whose mod-sequence is above (RFC 7162 3.1.4.1); `vanished`: tell what went since
    then as well (RFC 7162 3.2.6); `window`: only a stretch of what is left then (RFC 9394 3.3)."""

    changed_since: int | None = None
    vanished: bool = False
    window: Window | None = None


NO_MODIFIERS = Modifiers()


@dataclass(frozen=True, slots=True)
class FetchArgs:
    """`numbers` are UIDs or sequence numbers as the command's row says; `items` each once, in the client's order."""

    numbers: SequenceSet
    items: tuple[Item, ...]
    modifiers: Modifiers = NO_MODIFIERS


def parse(scanner: Scanner) -> FetchArgs:
    """fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
    [SP "(" fetch-modifier *(SP fetch-modifier) ")"] (RFC 4466 2.4)"""
    scanner.space()
    numbers = scanner.sequence_set()
    scanner.space()
    items = _items(scanner)
    modifiers = _modifiers(scanner) if scanner.try_space() else NO_MODIFIERS
    scanner.end()
    if len(items) > MAX_ITEMS:
        raise No("too many items", Code.LIMIT)
    return FetchArgs(numbers, items, modifiers)


def _modifiers(scanner: Scanner) -> Modifiers:
    found = NO_MODIFIERS
    for change in scanner.parenthesised(lambda: _modifier(scanner)):
        found = change(found)
    if found.vanished and found.changed_since is None:
        raise BadSyntax("VANISHED needs CHANGEDSINCE")  # RFC 7162 3.2.6
    return found


Change = Callable[[Modifiers], Modifiers]


def _modifier(scanner: Scanner) -> Change:
    read = MODIFIERS.get(scanner.keyword())
    if read is None:
        raise BadSyntax("unknown FETCH modifier")
    return read(scanner)


def _changed_since(scanner: Scanner) -> Change:
    scanner.space()
    modseq = scanner.number(MAX_MODSEQ)  # 0 is not in the grammar, but clients that know nothing yet send it
    return lambda found: replace(found, changed_since=modseq)


def _vanished(_: Scanner) -> Change:
    return lambda found: replace(found, vanished=True)


def _stretch(scanner: Scanner) -> Change:
    scanner.space()
    window = read_window(scanner)
    return lambda found: replace(found, window=window)


MODIFIERS: Mapping[str, Callable[[Scanner], Change]] = {
    "CHANGEDSINCE": _changed_since,
    "VANISHED": _vanished,
    "PARTIAL": _stretch,
}


def attributes(scanner: Scanner) -> tuple[Item, ...]:
    """ "(" fetch-att *(SP fetch-att) ")" alone, as NOTIFY has it (RFC 5465 8), when "(" comes next."""
    return _items(scanner)


def _items(scanner: Scanner) -> tuple[Item, ...]:
    if scanner.peek() == b"(":
        return tuple(dict.fromkeys(scanner.parenthesised(lambda: _item(scanner, _name(scanner)))))
    name = _name(scanner)
    return MACROS.get(name) or (_item(scanner, name),)


def _name(scanner: Scanner) -> bytes:
    return scanner.match(_NAME, "fetch item").group().upper()


def _item(scanner: Scanner, name: bytes) -> Item:
    peek = BODIES.get(name)
    if peek is not None and scanner.try_token(b"["):
        return _body(scanner, peek)
    if name in BINARIES:
        return _decoded(scanner, name)
    if name == b"PREVIEW":
        scanner.try_match(_LAZY)
    item = ATTRIBUTES.get(name) or RFC822.get(name)
    if item is None:
        raise BadSyntax("unknown fetch item")
    return item


def _body(scanner: Scanner, peek: bool) -> Body:
    """ "BODY" [".PEEK"] section ["<" number64 "." nz-number64 ">"], behind the "[" """
    section = _section(scanner)
    scanner.token(b"]")
    return Body(b"BODY", section, peek, _partial(scanner))


def _decoded(scanner: Scanner, name: bytes) -> Octets:
    """ "BINARY" [".PEEK"] section-binary [partial] / "BINARY.SIZE" section-binary; section-binary = "[" [section-part]
    "]". Headers and whole texts, which have no transfer encoding, may be asked for under this name as well, and a
    partial may leave out its length: clients of Dovecot do both (docs/quirks.md)."""
    peek, size_only = BINARIES[name]
    scanner.token(b"[")
    section = _section(scanner)
    scanner.token(b"]")
    partial = None if size_only else _partial(scanner, _OPEN_PARTIAL)
    told = name if size_only else b"BINARY"
    if section.text is not Text.WHOLE:
        return Body(told, section, peek, partial, size_only)
    return Decoded(told, section.path, peek, partial, size_only)


def _section(scanner: Scanner) -> Section:
    """section-spec = section-msgtext / (section-part ["." section-text])"""
    part = scanner.try_match(_PART)
    path = _path(part.group()) if part else ()
    if scanner.peek() == b"]" and not (part and part[1]):
        return Section(path)
    if part and not part[1]:
        raise BadSyntax("malformed section")
    text = _TEXTS.get(scanner.match(_TEXT, "section text").group().upper())
    # RFC 9051 6.4.5.1: MIME must be prefixed by a part number.
    if text is None or (text is Text.MIME and not path):
        raise BadSyntax("unknown section")
    return Section(path, text, _field_names(scanner) if text in SUBSETS else ())


def _path(text: bytes) -> tuple[int, ...]:
    path = tuple(int(number) for number in text.rstrip(b".").split(b"."))
    if max(path) > MAX_NUMBER:
        raise BadSyntax("part number too large")
    return path


def _field_names(scanner: Scanner) -> tuple[bytes, ...]:
    """header-list = "(" header-fld-name *(SP header-fld-name) ")"; a name is an astring"""
    scanner.space()
    return tuple(scanner.parenthesised(scanner.astring))


def _partial(scanner: Scanner, form: re.Pattern[bytes] = _PARTIAL) -> Partial | None:
    match = scanner.try_match(form)
    if match is None:
        if scanner.peek() == b"<":
            raise BadSyntax("malformed partial")
        return None
    start, length = int(match[1]), MAX_NUMBER64 if match[2] is None else int(match[2])
    if not length or max(start, length) > MAX_NUMBER64:
        raise BadSyntax("malformed partial")
    return Partial(start, length)
