"""An SPF record as a value: strict grammar, nothing evaluated (RFC 7208 4.5, 4.6, 5, 6, 12).

A record with a fault anywhere is wholly in error (RFC 7208 4.6), so the whole text is parsed before any of it counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from antispam.authentication.spf_macro import MacroError, MacroString, parse, parse_domain_spec
from antispam.types import Result
from core.frozen import dataclass


class SpfSyntaxError(ValueError):
    """The record is in error: permerror. The text names the term."""


class Kind(Enum):
    ALL = "all"
    INCLUDE = "include"
    A = "a"
    MX = "mx"
    PTR = "ptr"
    IP4 = "ip4"
    IP6 = "ip6"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Mechanism:
    """`result` is what its qualifier gives on a match. `domain` None: the current domain. `network` for ip4, ip6."""

    kind: Kind
    result: Result
    domain: MacroString | None = None
    cidr4: int = 32
    cidr6: int = 128
    network: IPv4Network | IPv6Network | None = None


@dataclass(frozen=True, slots=True)
class Record:
    mechanisms: tuple[Mechanism, ...]
    redirect: MacroString | None = None
    explanation: MacroString | None = None


_VERSION = re.compile(rb"v=spf1(?: |\Z)", re.IGNORECASE)
_QUALIFIERS = {"+": Result.PASS, "-": Result.FAIL, "~": Result.SOFTFAIL, "?": Result.NEUTRAL}
_KINDS = {kind.value: kind for kind in Kind}
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)=(.*)")
_MECHANISM = re.compile(r"([-+~?]?)([A-Za-z0-9]+)((?:[:/].*)?)")
# dual-cidr-length = [ ip4-cidr-length ] [ "/" ip6-cidr-length ]; no leading zeros (RFC 7208 12)
_CIDR = re.compile(r"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?\Z")
_IP4 = re.compile(r"((?:[0-9]{1,3}\.){3}[0-9]{1,3})(?:/(0|[1-9][0-9]?))?")
_IP6 = re.compile(r"([0-9A-Fa-f:.]+)(?:/(0|[1-9][0-9]{0,2}))?")

MAX_TERMS = 1000  # more fit into no sane record; a 64 KiB one over TCP would hold 30,000 (security.md row 75)


def select(records: Sequence[bytes]) -> list[bytes]:
    """The TXT records that are SPF records (RFC 7208 4.5)."""
    return [record for record in records if _VERSION.match(record)]


@lru_cache(maxsize=256)
def parse_record(data: bytes) -> Record:
    """`record = version terms *SP`. Raises `SpfSyntaxError`. Remembered: the same few senders write most mail."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise SpfSyntaxError("the record is not ASCII") from error
    terms = [term for term in text.split(" ")[1:] if term]
    if len(terms) > MAX_TERMS:
        raise SpfSyntaxError("the record has too many terms")
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, MacroString] = {}
    for term in terms:
        try:
            _term(term, mechanisms, modifiers)
        except (MacroError, ValueError) as error:
            raise SpfSyntaxError(f"bad term: {term[:60]}") from error
    return Record(tuple(mechanisms), modifiers.get("redirect"), modifiers.get("exp"))


def _term(term: str, mechanisms: list[Mechanism], modifiers: dict[str, MacroString]) -> None:
    modifier = _MODIFIER.fullmatch(term)
    if modifier:
        _modifier(modifier[1].lower(), modifier[2], modifiers)
        return
    match = _MECHANISM.fullmatch(term)
    if not match:
        raise SpfSyntaxError("neither mechanism nor modifier")
    kind = _KINDS.get(match[2].lower())
    if kind is None:
        raise SpfSyntaxError("unknown mechanism")
    mechanisms.append(_mechanism(kind, _QUALIFIERS[match[1] or "+"], match[3]))


def _modifier(name: str, value: str, modifiers: dict[str, MacroString]) -> None:
    """RFC 7208 6: redirect and exp at most once; unknown ones are ignored, their value is still a macro-string."""
    if name not in ("redirect", "exp"):
        parse(value)
        return
    if name in modifiers:
        raise SpfSyntaxError("given twice")
    modifiers[name] = parse_domain_spec(value)


def _mechanism(kind: Kind, result: Result, rest: str) -> Mechanism:
    match kind:
        case Kind.ALL:
            if rest:
                raise SpfSyntaxError("all takes nothing")
            return Mechanism(kind, result)
        case Kind.INCLUDE | Kind.EXISTS:
            return Mechanism(kind, result, parse_domain_spec(_argument(rest)))
        case Kind.PTR:
            return Mechanism(kind, result, parse_domain_spec(_argument(rest)) if rest else None)
        case Kind.A | Kind.MX:
            return _with_cidr(kind, result, rest)
        case Kind.IP4:
            return Mechanism(kind, result, network=_network(_IP4, IPv4Network, _argument(rest), "32"))
        case Kind.IP6:
            return Mechanism(kind, result, network=_network(_IP6, IPv6Network, _argument(rest), "128"))


def _argument(rest: str) -> str:
    if not rest.startswith(":") or len(rest) < 2:
        raise SpfSyntaxError("argument missing")
    return rest[1:]


def _with_cidr(kind: Kind, result: Result, rest: str) -> Mechanism:
    cidr = _CIDR.search(rest)
    assert cidr is not None  # both parts are optional, so the end of the text always matches
    four, six = int(cidr[1] or "32"), int(cidr[2] or "128")
    if four > 32 or six > 128:
        raise SpfSyntaxError("prefix is too long")
    spec = rest[: cidr.start()]
    return Mechanism(kind, result, parse_domain_spec(_argument(spec)) if spec else None, four, six)


def _network(
    pattern: re.Pattern[str], make: type[IPv4Network] | type[IPv6Network], text: str, whole: str
) -> IPv4Network | IPv6Network:
    match = pattern.fullmatch(text)
    if not match:
        raise SpfSyntaxError("not a network")
    return make(f"{match[1]}/{match[2] or whole}", strict=False)
