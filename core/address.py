"""Mail addresses: one strict parser, one canonical value (RFC 5321 4.1.2, RFC 6531 3.3).

Parsed once at the edge and never re-parsed inside: the quoted form exists on the wire only, so neither a quote nor a
control character can reach a path, a command or a header (security.md rows 43-50). Address literals are refused.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import field
from functools import lru_cache

from core.domain import DomainError, to_ascii, to_unicode
from core.frozen import dataclass

MAX_LOCAL = 64  # octets, RFC 5321 4.5.3.1.1
MAX_ADDRESS = 254  # octets of local@domain, RFC 5321 4.5.3.1.3 less the brackets
MAX_REWRITTEN = 180  # octets of a local part that forwarders have wrapped (SRS): longer than RFC 5321 asks of anybody
_MAX_WIRE = MAX_ADDRESS + MAX_LOCAL  # with a quoted local part, whose quotes and escapes count for nothing
SUBADDRESS = "+"

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_DOT_STRING = re.compile(rf"[{_ATEXT}\u0080-\U0010ffff]+(?:\.[{_ATEXT}\u0080-\U0010ffff]+)*")
# RFC 5321 4.1.2: quoted-pairSMTP = %d92 %d32-126; qtextSMTP = %d32-33 / %d35-91 / %d93-126
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*"')
_SOURCE_ROUTE = re.compile(r"@[^@:,<>\s]+(?:,@[^@:,<>\s]+)*:")


_REWRITTEN = re.compile(r"srs[01][=+-]", re.IGNORECASE | re.ASCII)


class AddressError(ValueError):
    """The text is no mail address; the message is safe to show."""


@dataclass(frozen=True, slots=True)
class Address:
    """`local` is unquoted and NFC, in the sender's case; `domain` is lower-case A-labels."""

    local: str
    domain: str
    # Its text, once it was asked for: parsed addresses are kept, and a delivery tells each several times.
    _text: str = field(default="", init=False, repr=False, compare=False)
    _key: str = field(default="", init=False, repr=False, compare=False)  # likewise

    @property
    def key(self) -> str:
        """What two spellings of one mailbox have in common here: local parts are compared without case."""
        if not self._key:
            object.__setattr__(self, "_key", f"{self.local.casefold()}@{self.domain}")
        return self._key

    @property
    def ascii(self) -> bool:
        return self.local.isascii()

    def without_subaddress(self) -> Address:
        """RFC 5233: user+detail belongs to user; a local part that starts with "+" has no detail."""
        cut = self.local.find(SUBADDRESS, 1)
        return self if cut < 0 else Address(self.local[:cut], self.domain)

    def __str__(self) -> str:
        """The form for the wire: quoted only where RFC 5321 4.1.2 demands it."""
        if not self._text:
            object.__setattr__(self, "_text", f"{_wire_local(self.local)}@{self.domain}")
        return self._text

    def display(self) -> str:
        """The form for people: U-labels."""
        return str(Address(self.local, to_unicode(self.domain)))


def _wire_local(local: str) -> str:
    if _DOT_STRING.fullmatch(local):
        return local
    escaped = local.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@lru_cache(maxsize=4096)
def parse(text: str, *, utf8: bool = True) -> Address:
    """`Mailbox` of RFC 5321 4.1.2: local part (dot-string or quoted) "@" domain. Raises `AddressError`.

    `utf8` false refuses non-ASCII, as a transaction without SMTPUTF8 must (RFC 6531 3.2).
    """
    if not text.isascii() and not utf8:
        raise AddressError("internationalised address without SMTPUTF8")
    longest = _MAX_WIRE + (MAX_REWRITTEN if _REWRITTEN.match(text.removeprefix('"')) else 0)
    if len(text.encode("utf-8", "surrogatepass")) > longest:
        raise AddressError("address is too long")
    quoted = _QUOTED.match(text)
    end = quoted.end() if quoted else text.rfind("@")
    if end < 0 or text[end : end + 1] != "@":
        raise AddressError("malformed address")
    local = _unquote(text[:end]) if quoted else _dot_string(text[:end])
    address = Address(_checked_local(local), _domain(text[end + 1 :]))
    # A-labels may be thrice as long as what was typed: what is written down must be readable again.
    if len(str(address).encode("utf-8")) > longest:
        raise AddressError("address is too long")
    return address


def parse_path(path: str, *, utf8: bool = False) -> Address | None:
    """The inside of `<…>` after MAIL FROM or RCPT TO; None for the null reverse-path. Raises `AddressError`.

    A source route is stripped before the address is judged (RFC 5321 4.1.1.3, appendix C; security.md row 44).
    """
    if not path:
        return None
    route = _SOURCE_ROUTE.match(path)
    return parse(path[route.end() :] if route else path, utf8=utf8)


def _domain(text: str) -> str:
    if text.startswith("["):
        raise AddressError("address literals are not accepted")
    try:
        return to_ascii(text)
    except DomainError as error:
        raise AddressError(str(error)) from error


def _dot_string(text: str) -> str:
    if not _DOT_STRING.fullmatch(text):
        raise AddressError("malformed local part")
    return text


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _checked_local(text: str) -> str:
    local = unicodedata.normalize("NFC", text)
    try:
        size = len(local.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise AddressError("malformed local part") from error
    # RFC 5321 4.5.3.1: no limits where possible; what forwarders write is their senders' address in whole.
    if not 0 < size <= (MAX_REWRITTEN if _REWRITTEN.match(local) else MAX_LOCAL):
        raise AddressError("local part is empty or too long")
    # No format or control characters (zero-width, bidi overrides): they only serve to deceive (row 49).
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for c in local):
        raise AddressError("local part has a control character")
    return local
