"""The terminals of IMAP's grammar (RFC 9051 9, RFC 3501 9), read octet by octet from what a server said."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_LITERAL = re.compile(rb"\{(\d+)\}\r\n")
_LITERAL8 = re.compile(rb"~\{(\d+)\}\r\n")
_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_ASTRING = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_NUMBER = re.compile(rb"\d+")
_SET = re.compile(rb"\d+(?::\d+)?(?:,\d+(?::\d+)?)*")
_SHIFTED = re.compile(rb"[A-Za-z0-9+,]*")  # RFC 3501 5.1.3


class Ungrammatical(AssertionError):
    """The grammar does not admit these octets; the text shows where."""


@dataclass(frozen=True, slots=True)
class Mode:
    """`utf8`: names and quoted strings may be UTF-8 (RFC 9051 5.1, RFC 6855 3). `rev2`: RFC 9051 binds; before, and
    where both are announced, RFC 3501 (RFC 9051 7.2.2). `language`: the client chose one, whose text is UTF-8 (RFC 5255
    3.1)."""

    utf8: bool = False
    rev2: bool = False
    language: bool = False


class Cursor:
    """A place in one response. What is read is returned; what must not be there raises."""

    def __init__(self, data: bytes, mode: Mode) -> None:
        self.data, self.at, self.mode = data, 0, mode

    def fail(self, expected: str) -> Ungrammatical:
        before, after = self.data[max(0, self.at - 80) : self.at], self.data[self.at : self.at + 60]
        return Ungrammatical(f"{expected} expected: {before!r} (here) {after!r}")

    def sees(self, token: bytes) -> bool:
        return self.data[self.at : self.at + len(token)].upper() == token

    def sees_digit(self) -> bool:
        return self.data[self.at : self.at + 1].isdigit()

    def takes(self, token: bytes) -> bool:
        if not self.sees(token):
            return False
        self.at += len(token)
        return True

    def needs(self, token: bytes) -> None:
        if not self.takes(token):
            raise self.fail(repr(token))

    def match(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        found = pattern.match(self.data, self.at)
        if found is None:
            raise self.fail(what)
        self.at = found.end()
        return found

    def number(self, least: int = 0, below: int = 2**32) -> int:
        start = self.at
        digits = self.match(_NUMBER, "a number")[0]
        if not least <= int(digits) < below or (least and digits.startswith(b"0")):
            self.at = start
            raise self.fail(f"a number from {least} to {below - 1}")
        return int(digits)

    def nz_number(self) -> int:
        return self.number(1)

    def number64(self) -> int:
        return self.number(0, 2**63)

    def mod_sequence(self) -> int:
        """mod-sequence-value (RFC 7162 7)."""
        return self.number(1, 2**63)

    def numbers(self) -> None:
        """A set as answers have it (uid-set, known-uids): neither "*" nor "$"."""
        for number in re.split(rb"[:,]", self.match(_SET, "a set")[0]):
            if not 0 < int(number) < 2**32 or number.startswith(b"0"):
                raise self.fail(f"nz-numbers instead of {number!r}")

    def atom(self) -> bytes:
        return self.match(_ATOM, "an atom")[0].upper()

    def quoted(self) -> bytes:
        self.needs(b'"')
        value = bytearray()
        while not self.takes(b'"'):
            if self.takes(b"\\") and self.data[self.at : self.at + 1] not in (b'"', b"\\"):
                raise self.fail("a quoted-special")
            octet = self.data[self.at : self.at + 1]
            if octet in (b"", b"\r", b"\n", b"\0"):
                raise self.fail("a QUOTED-CHAR")
            value += octet
            self.at += 1
        return self._readable(bytes(value), self.mode.utf8)

    def _readable(self, value: bytes, utf8: bool) -> bytes:
        """Outside literals, octets above 127 are UTF-8, and stand only where the client said that it reads them."""
        if not value.isascii():
            if not utf8:
                raise self.fail(f"ASCII instead of {value!r}")
            try:
                value.decode()
            except UnicodeDecodeError:
                raise self.fail(f"UTF-8 instead of {value!r}") from None
        return value

    def literal(self) -> bytes:
        value = self._counted(_LITERAL)
        if b"\0" in value:
            raise self.fail("a literal without NUL")
        return value

    def literal8(self) -> bytes:
        return self._counted(_LITERAL8)

    def _counted(self, pattern: re.Pattern[bytes]) -> bytes:
        size = int(self.match(pattern, "a literal")[1])
        value = self.data[self.at : self.at + size]
        if len(value) != size:
            raise self.fail("a whole literal")
        self.at += size
        return value

    def string(self) -> bytes:
        return self.literal() if self.sees(b"{") else self.quoted()

    def nil(self) -> bool:
        return self.takes(b"NIL")

    def nstring(self) -> None:
        if not self.nil():
            self.string()

    def nstring8(self) -> None:
        """nstring / literal8"""
        if self.sees(b"~"):
            self.literal8()
        else:
            self.nstring()

    def astring(self) -> bytes:
        return self.string() if self.sees(b'"') or self.sees(b"{") else self.match(_ASTRING, "an astring")[0]

    def mailbox(self) -> None:
        """RFC 9051 5.1, and before UTF-8 is enabled RFC 3501 5.1.3: printable ASCII, "&" begins what is shifted."""
        name = self.astring()
        if self.mode.utf8:
            self._readable(name, utf8=True)
            return
        if not all(0x20 <= octet < 0x7F for octet in name):
            raise self.fail(f"a name in printable ASCII instead of {name!r}")
        for piece in name.split(b"&")[1:]:
            shifted, end, _ = piece.partition(b"-")
            if not end or not _SHIFTED.fullmatch(shifted):
                raise self.fail(f"modified UTF-7 instead of {name!r}")

    def text(self) -> None:
        """Up to the end of the line; one TEXT-CHAR at least (RFC 3501; RFC 9051 has it optional)."""
        value = self.data[self.at : -2]
        if not value or any(octet in value for octet in b"\r\n\0"):
            raise self.fail("text")
        self._readable(value, self.mode.utf8 or self.mode.language)
        self.at += len(value)

    def end(self) -> None:
        self.needs(b"\r\n")
        if self.at != len(self.data):
            raise self.fail("the end")

    def listed(self, one: Callable[[Cursor], object], least: int = 0, between: bytes = b" ") -> None:
        """ "(", `one` so many times with `between` between, ")" """
        self.needs(b"(")
        count = 0
        while not self.sees(b")"):
            if count:
                self.needs(between)
            one(self)
            count += 1
        if count < least:
            raise self.fail(f"{least} at least")
        self.needs(b")")

    def spaced(self, *ones: Callable[[Cursor], object]) -> None:
        """One space before each."""
        for one in ones:
            self.needs(b" ")
            one(self)
