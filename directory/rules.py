"""What a name, an address or a quota must be before it is stored. Pure; raises `InvalidError` with its code.

Stricter than what is received: mail for odd local parts is looked up and not found, but nobody creates them here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from core.address import SUBADDRESS, Address, AddressError, parse
from core.domain import DomainError, to_ascii, to_unicode
from directory.codes import refusal

MAX_NAME = 200  # characters
MAX_QUOTA = 2**62  # octets: fits the database's integer with room to add
MAX_TARGETS = 500
_UNFIT = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # control, format (bidi, zero width), unpaired, unassigned


def printable(text: str) -> bool:
    """No control, format, private or unassigned character (security.md rows 49, 128)."""
    return not any(unicodedata.category(char) in _UNFIT for char in text)


def name(text: str) -> str:
    """A name of an organisation or administrator: NFC, trimmed, 1 to 200 printable characters."""
    if len(text) > MAX_NAME * 4:
        raise refusal("invalid-name")
    clean = " ".join(unicodedata.normalize("NFC", text).split()) if printable(text) else ""
    if not 0 < len(clean) <= MAX_NAME:
        raise refusal("invalid-name")
    return clean


def display_name(text: str) -> str:
    """As `name`, but may be empty."""
    return name(text) if text.strip() else ""


def name_key(text: str) -> str:
    """By which two spellings of one name are found to be one; never raises."""
    return " ".join(unicodedata.normalize("NFC", text[: MAX_NAME * 4].casefold()).split())


def quota(octets: int) -> int:
    if not 0 <= octets <= MAX_QUOTA:
        raise refusal("invalid-quota")
    return octets


def domain(text: str) -> str:
    """The A-label form of a domain to be hosted: two labels or more, one script in each (security.md row 49)."""
    try:
        ascii_name = to_ascii(text)
    except DomainError as error:
        raise refusal("invalid-domain") from error
    if "." not in ascii_name or any(_mixed_scripts(label) for label in to_unicode(ascii_name).split(".")):
        raise refusal("invalid-domain")
    return ascii_name


def lookup_domain(text: str) -> str | None:
    """The A-label form of what somebody asks for; None when it is no domain name at all."""
    try:
        return to_ascii(text)
    except DomainError:
        return None


def account_address(address: Address) -> Address:
    """For a new account: no subaddress in it, else mail for user+detail would be ambiguous (RFC 5233); no hyphen before
    it, which in access lists means negative rights (RFC 4314 2)."""
    if SUBADDRESS in address.local or address.local.startswith("-"):
        raise refusal("invalid-address")
    return alias_address(address)


def alias_address(address: Address) -> Address:
    """For a new alias: what the parser itself would give, without quotes and of one script."""
    if _reparsed(address) != address or '"' in str(address) or _mixed_scripts(address.local):
        raise refusal("invalid-address")
    return address


def targets(address: Address, wanted: Sequence[Address]) -> tuple[Address, ...]:
    """The targets of an alias, each once, in their order."""
    if len(wanted) > MAX_TARGETS:
        raise refusal("too-many-targets")
    unique: dict[str, Address] = {}
    for target in wanted:
        unique.setdefault(target.key, target)
    ordered = tuple(unique.values())
    if not ordered:
        raise refusal("missing-targets")
    if address.key in unique:
        raise refusal("alias-to-itself")
    if any(_reparsed(target) != target for target in ordered):
        raise refusal("invalid-address")
    return ordered


def _reparsed(address: Address) -> Address | None:
    try:
        return parse(str(address))
    except AddressError:
        return None


def _mixed_scripts(text: str) -> bool:
    """Letters of more than one script look like what they are not. Chinese, Japanese and Korean ones mix by nature."""
    scripts = {unicodedata.name(char, "?").partition(" ")[0] for char in text if char.isalpha()}
    asian = {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "KATAKANA-HIRAGANA"}
    return len(scripts - asian) + bool(scripts & asian) > 1
