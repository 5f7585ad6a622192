"""Address lists of header fields: RFC 5322 3.4 and 4.4, groups, comments, quoted strings, routes; never encoded words.

Linear, no recursion, at most `limits.addresses_per_field` entries (security.md rows 59, 63, 64, 72). What cannot be
understood is shown as far as it can and marked unsound; `from_domains` is the strict reading that policy uses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from core import address
from core.config import Limits
from core.domain import DomainError, to_ascii
from core.frozen import dataclass
from message.header import LIMITS, Defect, Head
from message.parameters import comment_end, unquote


class Kind(Enum):
    ADDRESS = "address"
    GROUP = "group"  # `local` is the group's name
    END = "end"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry in ENVELOPE's own terms (RFC 9051 7.5.2): raw octets, unquoted, encoded words left alone. `name` the
    display name or the comment that stands for it, `route` the obsolete source route, None where absent. `sound`: it
    obeys the grammar (obsolete syntax included) and has both parts."""

    kind: Kind
    name: bytes | None = None
    route: bytes | None = None
    local: bytes | None = None
    domain: bytes | None = None
    sound: bool = True


END = Entry(Kind.END)
# What few people write to is made once and remembered (`functools.lru_cache`): so many lists, none of them longer.
KNOWN, SHORT = 1024, 256

_TOKEN = re.compile(
    rb'(?P<blank>[ \t\r\n]+)|(?P<atom>[^ \t\r\n"(),:;<>@\[\]\\.\x00-\x1f\x7f]+)'
    rb'|(?P<quoted>"(?P<inner>(?:[^"\\]++|\\.)*)(?P<close>"|\\?\Z))|(?P<open>\()|(?P<special>.)',
    re.DOTALL,
)
_LITERAL = re.compile(rb"\[(?:[^\[\]\\]++|\\.)*(\])?", re.DOTALL)


# Addresses as nearly all are written, in a list: read at once, where a test finds the whole grammar to say the same. No
# comment, escape, group, route or double blank is in it, and what follows an address is a comma or the end.
_ATOM = rb'[^ \t\r\n"(),:;<>@\[\]\\.\x00-\x1f\x7f]++'
_DOTTED = rb"%b(?:\.%b)*" % (_ATOM, _ATOM)
_QUOTED_WORD = rb'[^ "\\\x00-\x1f\x7f]++'
PLAIN = re.compile(
    rb'(?:(?:(%b(?: %b)*)|"(%b(?: %b)*)") <(%b)@(%b)>|(%b)@(%b))(?:,[ \t]*+|\Z)'
    % (_ATOM, _ATOM, _QUOTED_WORD, _QUOTED_WORD, *(_DOTTED,) * 4)
)


def plain_entry(plain: re.Match[bytes]) -> Entry:
    """What `PLAIN` matched."""
    name, quoted, local, domain, bare, bare_domain = plain.groups()
    return Entry(Kind.ADDRESS, name or quoted, None, local or bare, domain or bare_domain)


def _plain_list(value: bytes, bound: int) -> tuple[Entry, ...] | None:
    """The first `bound` entries of a list of nothing else; None for any other."""
    entries: list[Entry] = []
    position = 0
    while position < len(value) and len(entries) < bound:
        plain = PLAIN.match(value, position)
        if plain is None:
            return None
        entries.append(plain_entry(plain))
        position = plain.end()
    return tuple(entries)


class _Token(NamedTuple):
    """`kind`: "atom", "quoted", "literal", "special", "comment", or "broken" for what never ends. `spaced`: blank
    before it."""

    kind: str
    text: bytes
    spaced: bool


def _tokens(value: bytes) -> Iterator[_Token]:
    position, spaced = 0, False
    unclosed = 0  # no "[" before here begins a literal: one that did not found no "]", nor would those inside it (h063)
    while position < len(value):
        match = _TOKEN.match(value, position)
        if match is None:  # cannot happen: `special` takes any octet
            return
        if match[0] == b"[" and match.start() >= unclosed and (literal := _LITERAL.match(value, match.start())):
            if literal[1]:
                position = literal.end()
                yield _Token("literal", literal[0], spaced)
                spaced = False
                continue
            unclosed = literal.end()
        position, kind = match.end(), match.lastgroup or ""
        if kind == "blank":
            spaced = True
        elif kind == "open":
            position, spaced = comment_end(value, match.start()), True
            if value[position - 1 : position] != b")":
                yield _Token("broken", b"", True)
            else:
                yield _Token("comment", unquote(value[match.end() : position - 1]).strip(), True)
        elif kind == "quoted":
            yield _Token("quoted" if match["close"] == b'"' else "broken", unquote(match["inner"]), spaced)
            spaced = False
        else:
            yield _Token(kind, match[0], spaced)
            spaced = False


def parse(value: bytes, limits: Limits = LIMITS, room: int | None = None) -> tuple[Entry, ...]:
    """The entries of an unfolded field value, in their order; groups as GROUP … END (closed when the text forgets).

    `room` lowers the bound when several fields share one list.
    """
    bound = limits.addresses_per_field if room is None else room
    plain = _plain_list(value, bound)
    return _Lister(bound).run(_tokens(value)) if plain is None else plain


class _Lister:
    """Cuts the tokens at the separators that count: not inside <…>'s route, and one level of group."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._entries: list[Entry] = []
        self._pending: list[_Token] = []
        self._comment = b""  # the last one of the present entry
        self._in_group = self._in_angle = self._in_route = False

    def run(self, tokens: Iterator[_Token]) -> tuple[Entry, ...]:
        for token in tokens:
            if len(self._entries) >= self._bound:
                self._pending = []
                break
            self._take(token)
        self._flush()
        if self._in_group:
            self._entries.append(END)
        return tuple(self._entries)

    def _take(self, token: _Token) -> None:
        if token.kind == "comment":
            self._comment = token.text if self._pending else b""
            return
        mark = token.text if token.kind == "special" else b""
        if mark == b":" and not self._in_angle and not self._in_group:
            self._entries.append(Entry(Kind.GROUP, local=_phrase(self._pending) or b""))
            self._pending, self._in_group = [], True
        elif mark in (b",", b";") and not self._in_route:
            self._flush()
            if mark == b";" and self._in_group:
                self._entries.append(END)
                self._in_group = False
        else:
            self._track_angle(mark)
            self._pending.append(token)

    def _track_angle(self, mark: bytes) -> None:
        """RFC 5322 4.4: obs-angle-addr holds [obs-route] addr-spec; obs-route = "@" domain *("," "@" domain) ":" """
        if mark == b"<" and not self._in_angle:
            self._in_angle, self._in_route = True, False
        elif mark == b">":
            self._in_angle = self._in_route = False
        elif mark == b"@" and self._in_angle and self._pending[-1].kind == "special" and self._pending[-1].text == b"<":
            self._in_route = True
        elif mark == b":":
            self._in_route = False

    def _flush(self) -> None:
        if self._pending:  # RFC 5322 4.4: empty elements between commas are allowed and mean nothing
            self._entries.append(_named(self._pending, self._comment))
        self._pending, self._comment, self._in_angle, self._in_route = [], b"", False, False


def parse_fields(head: Head, name: bytes, limits: Limits = LIMITS) -> tuple[Entry, ...]:
    """All fields of this name as one list: a reader that looks at one field only can be shown another (row 85)."""
    entries: list[Entry] = []
    for value in head.values(name):
        room = limits.addresses_per_field - len(entries)
        if room <= 0:
            break
        entries.extend(parse(value, limits, room))
    return tuple(entries)


def _entry(tokens: list[_Token]) -> Entry:
    opening = _index(tokens, b"<")
    if opening is None:
        local, domain, sound = _addr_spec(tokens)
        return Entry(Kind.ADDRESS, None, None, local, domain, sound)
    closing = _index(tokens, b">", opening)
    inside = tokens[opening + 1 : closing]
    route, inside = _route(inside)
    local, domain, sound = _addr_spec(inside)
    name = tokens[:opening]
    # Nothing may follow ">": `"a" <admin@mairie.fr> <x@evil.fr>` (finding 7 of security.md).
    sound = sound and closing == len(tokens) - 1 and _is_phrase(name)
    return Entry(Kind.ADDRESS, _phrase(name), route, local, domain, sound)


def _named(tokens: list[_Token], comment: bytes) -> Entry:
    """With the comment behind a bare address as its name, "jean@mairie.fr (Jean Dupont)": so names were written before
    there were phrases for them, and so mail programs still read them."""
    entry = _entry(tokens)
    return replace(entry, name=comment) if comment and _index(tokens, b"<") is None else entry


def _index(tokens: list[_Token], mark: bytes, start: int = 0) -> int | None:
    for index in range(start, len(tokens)):
        if tokens[index].kind == "special" and tokens[index].text == mark:
            return index
    return None


def _route(tokens: list[_Token]) -> tuple[bytes | None, list[_Token]]:
    if not tokens or tokens[0].kind != "special" or tokens[0].text != b"@":
        return None, tokens
    colon = _index(tokens, b":")
    if colon is None:
        return None, tokens
    return b"".join(token.text for token in tokens[:colon]), tokens[colon + 1 :]


def _addr_spec(tokens: list[_Token]) -> tuple[bytes | None, bytes | None, bool]:
    """(local, domain, sound). RFC 5322 3.4.1 with obs-local-part and obs-domain: blanks around dots are allowed."""
    at = _index(tokens, b"@")
    left = tokens if at is None else tokens[:at]
    local = _joined(left) or None
    if at is None:
        return local, None, False
    right = tokens[at + 1 :]
    used = _run(right)
    domain = b"".join(token.text for token in right[:used]) or None
    sound = (
        _run(left) == len(left) > 0
        and used == len(right) > 0
        and (right[0].kind == "literal") == (len(right) == 1 and right[0].kind == "literal")
        and all(token.kind != "quoted" for token in right)
    )
    return (local if left or domain is None else None), domain, sound


def _run(tokens: list[_Token]) -> int:
    """How many tokens are words joined by single dots: `word *("." word)`."""
    used = 0
    for index, token in enumerate(tokens):
        dot = token.kind == "special"
        if token.kind == "broken" or (dot and token.text != b".") or dot != bool(index % 2):
            break
        if not dot:
            used = index + 1
    return used


def _joined(tokens: list[_Token]) -> bytes:
    """Words with one blank where blanks or comments stood, none beside a dot."""
    out = bytearray()
    after_dot = True
    for token in tokens:
        dot = token.text == b"." and token.kind == "special"
        if token.spaced and not dot and not after_dot:
            out += b" "
        out += token.text
        after_dot = dot
    return bytes(out)


def _phrase(tokens: list[_Token]) -> bytes | None:
    """A display name: words, and dots where people write them ("M. Dupont", obs-phrase), blanks folded."""
    words = b"".join((b" " if token.spaced else b"") + token.text for token in tokens)
    return b" ".join(words.split()) or None


def _is_phrase(tokens: list[_Token]) -> bool:
    return all(token.kind in ("atom", "quoted") or token.text == b"." for token in tokens)


# --- the strict reading -----------------------------------------------------------------------------------------------


class FromDefect(Enum):
    """Why a From cannot be trusted to name one author; each is a reason for policy to refuse (h065, h085)."""

    ABSENT = "no-from"
    SEVERAL_FIELDS = "several-from-fields"
    FIELD = "malformed-field"  # space before the colon, lone CR or LF, NUL, too long; or the block was not read whole
    GROUP = "group-in-from"
    SYNTAX = "malformed-from"
    NO_DOMAIN = "address-without-domain"
    BAD_DOMAIN = "malformed-domain"
    ENCODED = "encoded-word-in-address"


@dataclass(frozen=True, slots=True)
class From:
    """Every author a reader could see. `addresses`: those that parse; `domains`: theirs and, when there is a defect,
    everything else that looks like a domain after an "@", sorted A-labels. With no defect and one address, that is the
    author; several addresses without a defect are legal (RFC 5322 3.6.2)."""

    addresses: tuple[address.Address, ...]
    domains: tuple[str, ...]
    defects: frozenset[FromDefect]


# Anything a lenient reader might take for the domain of an address.
_LEXICAL = re.compile(rb"@[ \t]*([A-Za-z0-9_\x80-\xff][A-Za-z0-9_.\x80-\xff-]{0,252})")
_FIELD_DEFECTS = ~(Defect.NO_COLON | Defect.CONTINUATION_FIRST)
_BLOCK_DEFECTS = Defect.MBOX_FROM | Defect.BLOCK_TOO_LONG | Defect.TOO_MANY_FIELDS | Defect.CONTINUATION_FIRST


def from_domains(head: Head, limits: Limits = LIMITS) -> From:
    """Every addr-spec of every From field, with what is wrong told. Encoded words are never decoded (RFC 2047 5)."""
    fields = head.all(b"from")
    if len(fields) == 1 and head.defects is Defect.NONE and fields[0].defects is Defect.NONE:
        value = head.values(b"from")[0]
        if len(value) <= SHORT and (sole := _known_sole(value, limits.addresses_per_field)):
            return sole
    addresses: list[address.Address] = []
    defects: set[FromDefect] = set()
    if not fields:
        defects.add(FromDefect.ABSENT)
    if len(fields) > 1:
        defects.add(FromDefect.SEVERAL_FIELDS)
    if head.defects.any_of(_BLOCK_DEFECTS) or any(field.defects.any_of(_FIELD_DEFECTS) for field in fields):
        defects.add(FromDefect.FIELD)
    for value in head.values(b"from"):
        authors = _known_authors if len(value) <= SHORT else _authors
        found, wrong = authors(value, limits.addresses_per_field)
        addresses += found
        defects |= wrong
    domains = {item.domain for item in addresses}
    if defects:
        domains |= {name for field in fields for name in _lexical_domains(field.raw[field.colon :])}
    return From(tuple(addresses), tuple(sorted(domains)), frozenset(defects))


def _authors(value: bytes, most: int) -> tuple[tuple[address.Address, ...], frozenset[FromDefect]]:
    """Of one From field: who writes, and what is wrong in it."""
    addresses: list[address.Address] = []
    defects: set[FromDefect] = set()
    entries = parse(value, room=most)
    if not entries or len(entries) >= most:
        defects.add(FromDefect.SYNTAX)
    for entry in entries:
        _judge(entry, addresses, defects)
    return tuple(addresses), frozenset(defects)


_known_authors = lru_cache(KNOWN)(_authors)


@lru_cache(KNOWN)
def _known_sole(value: bytes, most: int) -> From | None:
    """The only From field, when nothing is wrong in it."""
    found, wrong = _authors(value, most)
    return None if wrong else From(found, tuple(sorted({item.domain for item in found})), wrong)


def _judge(entry: Entry, addresses: list[address.Address], defects: set[FromDefect]) -> None:
    if entry.kind is not Kind.ADDRESS:
        defects.add(FromDefect.GROUP)
        return
    if entry.domain is None or entry.local is None:
        defects.add(FromDefect.NO_DOMAIN)
        return
    if not entry.sound or entry.route is not None:
        defects.add(FromDefect.SYNTAX)
    if b"=?" in entry.local or b"=?" in entry.domain:
        defects.add(FromDefect.ENCODED)
    try:
        addresses.append(to_address(entry))
    except address.AddressError:
        defects.add(FromDefect.BAD_DOMAIN)


def to_address(entry: Entry) -> address.Address:
    """An entry as the house's own value. Raises `AddressError` when it has no domain or is out of bounds."""
    if entry.local is None or entry.domain is None:
        raise address.AddressError("incomplete address")
    try:
        local, domain = entry.local.decode("utf-8"), entry.domain.decode("utf-8")
    except UnicodeDecodeError as error:
        raise address.AddressError("not UTF-8") from error
    return address.parse(f"{_quoted(local)}@{domain}")


def _quoted(local: str) -> str:
    """`entry.local` is unquoted; `core.address` reads the wire form, where quoting is always allowed."""
    escaped = local.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _lexical_domains(value: bytes) -> Iterator[str]:
    for match in _LEXICAL.finditer(value):
        try:
            yield to_ascii(match[1].decode("utf-8").rstrip("."))
        except (UnicodeDecodeError, DomainError):
            continue
