"""A reader over one complete command: the words of IMAP's grammar (RFC 9051 9), nothing of any command.

The bytes are those of `wire.framing`: the line without its final CRLF, collected literals in place ("{3}" CRLF "abc").
`expect`-like methods (plain names) raise `BadSyntax`; `try_` methods answer None or False and do not move. Every method
moves forward only, so a command is read in linear time; depth is bounded by the callers that recurse.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from core import utf7
from imap.errors import BadSyntax, Code, No
from imap.types import MAX_NUMBER, FlagSet, SequenceSet
from imap.wire import dates, sequence
from store.types import DELIMITER, INBOX, NO_FLAGS, Flag

T = TypeVar("T")
LONGEST_NAME = 16 * 1024  # octets of a mailbox name or pattern; no folder's name comes near: taking one apart is 10 ms

# atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards / quoted-specials / resp-specials
_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_ASTRING_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_LIST_ATOM = re.compile(rb"[!#$%&'*+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_TAG = re.compile(rb"[!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")  # ASTRING-CHAR except "+"
_QUOTED = re.compile(rb'"((?:[^\x00\r\n"\\\x80-\xff]|\\["\\])*)"')
_QUOTED_UTF8 = re.compile(rb'"((?:[^\x00\r\n"\\]|\\["\\])*)"')
_ESCAPE = re.compile(rb'\\(["\\])')
_LITERAL = re.compile(rb"\{([0-9]{1,19})(\+?)\}\r\n")
_ANNOUNCED = re.compile(rb"(~?)\{([0-9]{1,19})(\+?)\}\Z")
_NUMBER = re.compile(rb"[0-9]{1,20}")

SYSTEM_FLAGS: dict[str, Flag] = {
    "\\SEEN": Flag.SEEN,
    "\\ANSWERED": Flag.ANSWERED,
    "\\FLAGGED": Flag.FLAGGED,
    "\\DELETED": Flag.DELETED,
    "\\DRAFT": Flag.DRAFT,
}


@dataclass(frozen=True, slots=True)
class Announced:
    """A literal whose bytes have not been collected (APPEND): `size` octets; `sync` when the client waits for "+";
    `binary`: a literal8, which may hold NUL (RFC 3516 4.4)."""

    size: int
    sync: bool
    binary: bool = False


class Scanner:
    """`utf8`: UTF8=ACCEPT is enabled, so quoted strings may hold UTF-8 and mailbox names are UTF-8 (RFC 6855 3)."""

    __slots__ = ("_data", "_octets", "_position", "_utf8", "names")

    def __init__(self, data: bytes, *, utf8: bool = False) -> None:
        self._data = data
        self._position = 0
        self._utf8 = utf8
        self._octets = False
        # The mailbox names read so far: as we keep them, and as they were written when that is not NFC (RFC 9051 5.1).
        self.names: list[tuple[str, str]] = []

    # --- position --------------------------------------------------------------------------------------------------

    @property
    def at_end(self) -> bool:
        return self._position >= len(self._data)

    def peek(self) -> bytes:
        """The next octet, b"" at the end."""
        return self._data[self._position : self._position + 1]

    def end(self) -> None:
        """Nothing may follow."""
        if not self.at_end:
            raise BadSyntax("unexpected text after the command")

    def try_token(self, token: bytes) -> bool:
        """Skip `token` (compared without case) when it comes next."""
        stop = self._position + len(token)
        if self._data[self._position : stop].upper() != token.upper():
            return False
        self._position = stop
        return True

    def token(self, token: bytes) -> None:
        if not self.try_token(token):
            raise BadSyntax(f"{token.decode('ascii').strip() or 'space'} expected")

    def space(self) -> None:
        """SP: exactly one."""
        self.token(b" ")

    def try_space(self) -> bool:
        return self.try_token(b" ")

    def try_token_before(self, token: bytes, following: bytes) -> bool:
        """Skip `token` when it comes next and `following` right behind it."""
        return self._data.startswith(following, self._position + len(token)) and self.try_token(token)

    def try_match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Skip what `pattern` matches here; for grammars of single commands (sections, partials)."""
        match = pattern.match(self._data, self._position)
        if match:
            self._position = match.end()
        return match

    def match(self, pattern: re.Pattern[bytes], wanted: str) -> re.Match[bytes]:
        """Like `try_match`; `wanted` names the thing in the error."""
        match = self.try_match(pattern)
        if match is None:
            raise BadSyntax(f"{wanted} expected")
        return match

    def forgive_octets(self) -> None:
        """From here on quoted strings may hold 8-bit octets, as many clients write passwords and what they search for;
        the grammar wants literals (docs/quirks.md)."""
        self._octets = True

    # --- words -----------------------------------------------------------------------------------------------------

    def tag(self) -> str:
        return self.match(_TAG, "tag").group().decode("ascii")

    def atom(self) -> bytes:
        return self.match(_ATOM, "atom").group()

    def keyword(self) -> str:
        """An atom that names something in a table: upper-case str."""
        return self.atom().decode("ascii").upper()

    def astring(self) -> bytes:
        """astring = 1*ASTRING-CHAR / string"""
        match = self.try_match(_ASTRING_ATOM)
        return match.group() if match else self.string()

    def string(self) -> bytes:
        """string = quoted / literal"""
        text = self.try_string()
        if text is None:
            raise BadSyntax("string expected")
        return text

    def try_string(self) -> bytes | None:
        if self.peek() == b'"':
            return self._quoted()
        return self._literal() if self.peek() == b"{" else None

    def nstring(self) -> bytes | None:
        """nstring = string / nil"""
        return None if self.try_token(b"NIL") else self.string()

    def _quoted(self) -> bytes:
        match = self.match(_QUOTED_UTF8 if self._utf8 or self._octets else _QUOTED, "quoted string")
        text = _ESCAPE.sub(rb"\1", match[1])
        if self._utf8:
            _utf8(text)
        return text

    def _literal(self, *, binary: bool = False) -> bytes:
        match = self.match(_LITERAL, "literal")
        start, size = self._position, int(match[1])
        text = self._data[start : start + size]
        # RFC 9051 9: literal = "{" number64 ["+"] "}" CRLF *CHAR8, and CHAR8 is never NUL.
        if len(text) < size or (b"\0" in text and not binary):
            raise BadSyntax("malformed literal")
        self._position = start + size
        return text

    def nstring8(self) -> bytes | None:
        """nstring / literal8 (RFC 5464 5)."""
        if self.peek() != b"~":
            return self.nstring()
        self.token(b"~")
        return self._literal(binary=True)

    def announced_literal(self) -> Announced:
        """The literal that ends this head and is still to be read (`wire.framing.Streamed`)."""
        match = self.match(_ANNOUNCED, "literal")
        return Announced(int(match[2]), sync=not match[3], binary=bool(match[1]))

    # --- numbers and sets ------------------------------------------------------------------------------------------

    def number(self, largest: int = MAX_NUMBER) -> int:
        """number = 1*DIGIT, at most `largest`."""
        value = int(self.match(_NUMBER, "number").group())
        if value > largest:
            raise BadSyntax("number too large")
        return value

    def nz_number(self, largest: int = MAX_NUMBER) -> int:
        value = self.number(largest)
        if not value:
            raise BadSyntax("zero is not allowed here")
        return value

    def sequence_set(self) -> SequenceSet:
        return sequence.parse(self.match(sequence.PATTERN, "sequence set").group())

    def try_sequence_set(self) -> SequenceSet | None:
        match = self.try_match(sequence.PATTERN)
        return sequence.parse(match.group()) if match else None

    # --- lists -----------------------------------------------------------------------------------------------------

    def parenthesised(self, item: Callable[[], T], *, empty: bool = False) -> list[T]:
        """ "(" item *(SP item) ")"; "()" only when `empty`."""
        self.token(b"(")
        if empty and self.try_token(b")"):
            return []
        items = [item()]
        while not self.try_token(b")"):
            self.space()
            items.append(item())
        return items

    # --- flags -----------------------------------------------------------------------------------------------------

    def flag_list(self) -> FlagSet:
        """flag-list = "(" [flag *(SP flag)] ")" """
        return _flag_set(self.parenthesised(self._flag, empty=True))

    def flags(self) -> FlagSet:
        """store-att-flags' (flag-list / (flag *(SP flag)))"""
        if self.peek() == b"(":
            return self.flag_list()
        flags = [self._flag()]
        while self.try_space():
            flags.append(self._flag())
        return _flag_set(flags)

    def _flag(self) -> str:
        prefix = "\\" if self.try_token(b"\\") else ""
        return prefix + self.atom().decode("ascii")

    # --- mailboxes and dates ---------------------------------------------------------------------------------------

    def mailbox(self, *, empty: bool = False) -> str:
        """mailbox = "INBOX" / astring, as NFC Unicode, INBOX in capitals, also above others; a name that is no
        canonical spelling gets NO (row 96). `empty`: "" is a name, too (RFC 5464 4.1)."""
        name = self._name(self.astring())
        if not name and not empty:
            raise No("empty mailbox name", Code.CANNOT)
        first, delimiter, below = name.partition(DELIMITER)
        return INBOX + delimiter + below if first.upper() == INBOX else name

    def list_mailbox(self) -> str | None:
        """list-mailbox = 1*list-char / string; None for a pattern that no canonical name can match."""
        match = self.try_match(_LIST_ATOM)
        text = match.group() if match else self.string()
        try:
            return self._name(text)
        except No:
            return None

    def _name(self, text: bytes) -> str:
        if len(text) > LONGEST_NAME:
            raise No("folder name is too long", Code.CANNOT)
        if self._utf8:
            return self._composed(_utf8(text))
        try:
            return self._composed(utf7.decode(text))
        except utf7.Utf7Error as error:
            raise No("mailbox name is not valid modified UTF-7", Code.CANNOT) from error

    def _composed(self, text: str) -> str:
        name = unicodedata.normalize("NFC", text)
        self.names.append((name, text if text != name else ""))
        return name

    def date(self) -> date:
        """date = date-text / DQUOTE date-text DQUOTE"""
        return dates.parse_date(self._quoted() if self.peek() == b'"' else self.atom())

    def date_time(self) -> int:
        """date-time, as Unix seconds."""
        return dates.parse_date_time(self._quoted())


def _flag_set(names: list[str]) -> FlagSet:
    """RFC 9051 2.3.2: system flags without case; \\Recent is the server's and passed over; others are BAD."""
    flags, keywords = NO_FLAGS, dict[str, str]()
    for name in names:
        if not name.startswith("\\"):
            keywords.setdefault(name.lower(), name)
        elif name.upper() in SYSTEM_FLAGS:
            flags |= SYSTEM_FLAGS[name.upper()]
        elif name.upper() != "\\RECENT":
            raise BadSyntax("unknown system flag")
    return FlagSet(flags, tuple(keywords.values()))


def _utf8(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadSyntax("malformed UTF-8") from error
