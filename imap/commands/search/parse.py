"""The arguments of SEARCH and UID SEARCH (RFC 9051 9 and RFC 3501 9: `search`, `search-key`; RFC 7162, 8474, 8514).

Knows every key and turns it into criteria; refuses to know how they are answered. Depth and number of keys are bounded
while reading (security.md row 92).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from imap.commands.search.criteria import (
    FALSE,
    TRUE,
    Among,
    And,
    Dated,
    DateOf,
    HasEmailId,
    HasFlag,
    HasKeyword,
    HasThreadId,
    HeaderHas,
    IsRecent,
    Key,
    Larger,
    ModifiedSince,
    Not,
    Numbered,
    Or,
    Relation,
    Smaller,
    TextHas,
    Within,
    leaves,
)
from imap.commands.search.fuzzy import fuzzily
from imap.commands.search.returns import Returns, Want, try_parse
from imap.errors import BadSyntax, Code, No
from imap.types import MAX_NUMBER
from imap.wire.scanner import Scanner
from message.sorting import SEARCHED
from store.types import Flag

MAX_DEPTH = 50  # of parentheses, NOT and OR
MAX_KEYS = 1000  # in one command; a sequence set counts as one
MAX_TEXT_KEYS = 32  # TEXT and BODY: each is a question to the store

MAX_FUZZY_KEYS = 8  # texts below FUZZY: each is some twenty questions to the store

MAX_NUMBER64 = 2**63 - 1

# RFC 9051 6.4.4: US-ASCII and UTF-8 must be there; the others are what old clients in Western Europe still name.
CHARSETS: Mapping[str, str] = {
    "US-ASCII": "utf-8",
    "ASCII": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "ISO-8859-1": "latin-1",
    "ISO-8859-15": "iso8859-15",
    "WINDOWS-1252": "cp1252",
}
BADCHARSET = "BADCHARSET (US-ASCII UTF-8)"

_KEY = re.compile(rb"[A-Za-z0-9]+")
_ENTRY = re.compile(rb'"(?:[^\x00\r\n"\\\x80-\xff]|\\["\\])*" (?:priv|shared|all) ', re.IGNORECASE)  # RFC 7162 3.1.5


@dataclass(frozen=True, slots=True)
class SearchArgs:
    """`key` still holds sequence sets as written. `mod_seq`: the answer must tell the highest mod-sequence found
    (RFC 7162 3.1.5). `returns`: None for the answer of IMAP4rev1. `charset`: the client named one.
    `refused`: understood, but not possible (charset, limits); the handler says so, for a saved result goes with it."""

    key: Key
    mod_seq: bool = False
    fuzzy: bool = False
    returns: Returns | None = None
    charset: bool = False
    refused: No | None = None


class _Reader:
    """One command: the scanner, the charset of its strings, and how much was read."""

    def __init__(self, scanner: Scanner, encoding: str) -> None:
        self.scanner = scanner
        self.mod_seq = False
        self.fuzzy = False
        self._encoding = encoding
        self._keys = 0
        self._texts = 0
        self._loose = 0

    def count(self) -> None:
        self._keys += 1
        if self._keys > MAX_KEYS:
            raise No("too many search keys", Code.LIMIT)

    def count_text(self) -> None:
        self._texts += 1
        if self._texts > MAX_TEXT_KEYS:
            raise No("too many text searches in one command", Code.LIMIT)

    def count_fuzzy(self, keys: int) -> None:
        self._loose += keys
        if self._loose > MAX_FUZZY_KEYS:
            raise No("too many fuzzy searches in one command", Code.LIMIT)

    def text(self) -> str:
        """SP astring, decoded. Bytes that the charset cannot mean are refused, not guessed."""
        self.scanner.space()
        try:
            return self.scanner.astring().decode(self._encoding)
        except UnicodeDecodeError as error:
            raise No("string is not in the stated charset", BADCHARSET) from error

    def name(self) -> str:
        """SP atom, as ASCII."""
        self.scanner.space()
        return self.scanner.atom().decode("ascii")


def parse(scanner: Scanner) -> SearchArgs:
    """search = "SEARCH" [SP search-return-opts] SP ["CHARSET" SP charset SP] search-key *(SP search-key)"""
    scanner.space()
    return after_source(scanner)


def after_source(scanner: Scanner) -> SearchArgs:
    """The same behind the first space; what ESEARCH ends with (RFC 7377 4)."""
    returns = try_parse(scanner)
    charset = scanner.try_token(b"CHARSET ")
    try:
        read = program(scanner, read_charset(scanner) if charset else "utf-8")
    except No as refused:
        if not (returns and Want.SAVE in returns.wants):
            raise
        return SearchArgs(FALSE, returns=returns, refused=refused)
    return SearchArgs(read.key, read.mod_seq, read.fuzzy, returns, charset)


@dataclass(frozen=True, slots=True)
class Program:
    """`mod_seq`, `fuzzy`: MODSEQ or FUZZY was among the keys."""

    key: Key
    mod_seq: bool
    fuzzy: bool


def program(scanner: Scanner, encoding: str) -> Program:
    """search-key *(SP search-key) up to the end of the command; also what SORT and THREAD end with (RFC 5256 5)."""
    scanner.forgive_octets()
    reader = _Reader(scanner, encoding)
    keys = [_key(reader, 0)]
    while scanner.try_space():
        keys.append(_key(reader, 0))
    scanner.end()
    return Program(_one(keys), reader.mod_seq, reader.fuzzy)


def read_charset(scanner: Scanner) -> str:
    """A charset and the space behind it: the codec of the strings that follow."""
    name = scanner.astring().decode("ascii", "replace").upper()
    scanner.space()  # before it is judged: in "SORT (DATE) ALL" the charset is missing, not unknown
    if name not in CHARSETS:
        raise No("charset is not supported", BADCHARSET)
    return CHARSETS[name]


def _one(keys: list[Key]) -> Key:
    return keys[0] if len(keys) == 1 else And(tuple(keys))


def _key(reader: _Reader, depth: int) -> Key:
    """search-key: a sequence set, a parenthesised list, or a name of `KEYS` with its arguments."""
    reader.count()
    if depth > MAX_DEPTH:
        raise No("search keys are nested too deeply", Code.LIMIT)
    if reader.scanner.peek() == b"(":
        return _one(reader.scanner.parenthesised(lambda: _key(reader, depth + 1)))
    numbers = reader.scanner.try_sequence_set()
    if numbers is not None:
        return Numbered(numbers, by_uid=False)
    word = reader.scanner.match(_KEY, "search key").group().upper()
    read = KEYS.get(word)
    if read is None:
        raise BadSyntax("unknown search key")
    return read(reader, depth)


Read = Callable[[_Reader, int], Key]


def _fixed(key: Key) -> Read:
    return lambda _reader, _depth: key


def _header(field: bytes) -> Read:
    return lambda reader, _depth: HeaderHas(field, reader.text())


def _dated(of: DateOf, relation: Relation) -> Read:
    def read(reader: _Reader, _depth: int) -> Key:
        reader.scanner.space()
        return Dated(of, relation, reader.scanner.date().toordinal())

    return read


def _text(*, body_only: bool) -> Read:
    def read(reader: _Reader, _depth: int) -> Key:
        reader.count_text()
        pattern = reader.text()
        return TextHas(pattern, body_only) if pattern else TRUE  # every text contains the empty string

    return read


def _any_header(reader: _Reader, _depth: int) -> Key:
    """ "HEADER" SP header-fld-name SP astring"""
    field = reader.text().encode("utf-8").lower().strip()
    return HeaderHas(field.removesuffix(b":"), reader.text())


def _keyword(reader: _Reader, _depth: int) -> Key:
    return HasKeyword(reader.name().lower())


def _not(reader: _Reader, depth: int) -> Key:
    reader.scanner.space()
    return Not(_key(reader, depth + 1))


def _or(reader: _Reader, depth: int) -> Key:
    reader.scanner.space()
    left = _key(reader, depth + 1)
    reader.scanner.space()
    return Or(left, _key(reader, depth + 1))


def _uid(reader: _Reader, _depth: int) -> Key:
    reader.scanner.space()
    return Numbered(reader.scanner.sequence_set(), by_uid=True)


def _fuzzy(reader: _Reader, depth: int) -> Key:
    """ "FUZZY" SP search-key (RFC 6203 7)"""
    reader.scanner.space()
    reader.fuzzy = True
    key = fuzzily(_key(reader, depth + 1), searched=frozenset(SEARCHED))
    loose = sum(isinstance(leaf, TextHas | HeaderHas) and leaf.fuzzy for leaf in leaves(key))
    reader.count_fuzzy(loose)
    return key


def _after(reader: _Reader, _depth: int) -> Key:
    """UIDAFTER SP uniqueid (RFC 9738 3.2)"""
    reader.scanner.space()
    uid = reader.scanner.nz_number()
    return Among(((uid + 1, MAX_NUMBER),)) if uid < MAX_NUMBER else FALSE


def _before(reader: _Reader, _depth: int) -> Key:
    """UIDBEFORE SP uniqueid (RFC 9738 3.2)"""
    reader.scanner.space()
    uid = reader.scanner.nz_number()
    return Among(((1, uid - 1),)) if uid > 1 else FALSE


def _size(kind: type[Larger] | type[Smaller]) -> Read:
    def read(reader: _Reader, _depth: int) -> Key:
        reader.scanner.space()
        return kind(reader.scanner.number(MAX_NUMBER64))  # number64 since RFC 9051

    return read


def _mod_seq(reader: _Reader, _depth: int) -> Key:
    """MODSEQ [entry-name SP entry-type-req] mod-sequence-valzer; entries are not told apart (RFC 7162 3.1.5)."""
    reader.scanner.space()
    reader.scanner.try_match(_ENTRY)
    reader.mod_seq = True
    return ModifiedSince(reader.scanner.number(MAX_NUMBER64))


def _within(*, younger: bool) -> Read:
    def read(reader: _Reader, _depth: int) -> Key:
        reader.scanner.space()
        return Within(reader.scanner.nz_number(), younger)  # RFC 5032 4: nz-number

    return read


KEYS: Mapping[bytes, Read] = {
    b"ALL": _fixed(TRUE),
    b"ANSWERED": _fixed(HasFlag(Flag.ANSWERED)),
    b"BCC": _header(b"bcc"),
    b"BEFORE": _dated(DateOf.INTERNAL, Relation.BEFORE),
    b"BODY": _text(body_only=True),
    b"CC": _header(b"cc"),
    b"DELETED": _fixed(HasFlag(Flag.DELETED)),
    b"DRAFT": _fixed(HasFlag(Flag.DRAFT)),
    b"EMAILID": lambda reader, _depth: HasEmailId(reader.name()),
    b"FLAGGED": _fixed(HasFlag(Flag.FLAGGED)),
    b"FROM": _header(b"from"),
    b"FUZZY": _fuzzy,
    b"HEADER": _any_header,
    b"KEYWORD": _keyword,
    b"LARGER": _size(Larger),
    b"MODSEQ": _mod_seq,
    b"NEW": _fixed(And((IsRecent(), Not(HasFlag(Flag.SEEN))))),  # RFC 3501 6.4.4
    b"NOT": _not,
    b"OLD": _fixed(Not(IsRecent())),
    b"OLDER": _within(younger=False),
    b"ON": _dated(DateOf.INTERNAL, Relation.ON),
    b"OR": _or,
    b"RECENT": _fixed(IsRecent()),
    b"SAVEDATESUPPORTED": _fixed(TRUE),
    b"SAVEDBEFORE": _dated(DateOf.SAVED, Relation.BEFORE),
    b"SAVEDON": _dated(DateOf.SAVED, Relation.ON),
    b"SAVEDSINCE": _dated(DateOf.SAVED, Relation.SINCE),
    b"SEEN": _fixed(HasFlag(Flag.SEEN)),
    b"SENTBEFORE": _dated(DateOf.SENT, Relation.BEFORE),
    b"SENTON": _dated(DateOf.SENT, Relation.ON),
    b"SENTSINCE": _dated(DateOf.SENT, Relation.SINCE),
    b"SINCE": _dated(DateOf.INTERNAL, Relation.SINCE),
    b"SMALLER": _size(Smaller),
    b"SUBJECT": _header(b"subject"),
    b"TEXT": _text(body_only=False),
    b"THREADID": lambda reader, _depth: HasThreadId(reader.name()),
    b"TO": _header(b"to"),
    b"UID": _uid,
    b"UIDAFTER": _after,
    b"UIDBEFORE": _before,
    b"UNANSWERED": _fixed(Not(HasFlag(Flag.ANSWERED))),
    b"UNDELETED": _fixed(Not(HasFlag(Flag.DELETED))),
    b"UNDRAFT": _fixed(Not(HasFlag(Flag.DRAFT))),
    b"UNFLAGGED": _fixed(Not(HasFlag(Flag.FLAGGED))),
    b"UNKEYWORD": lambda reader, depth: Not(_keyword(reader, depth)),
    b"UNSEEN": _fixed(Not(HasFlag(Flag.SEEN))),
    b"YOUNGER": _within(younger=True),
}
