"""The arguments of MAIL and RCPT: path, then ESMTP parameters, parsed into values that cannot be wrong.

RFC 5321 4.1.1.2, 4.1.1.3, 4.1.2; SIZE (RFC 1870), BODY (RFC 6152, RFC 3030), SMTPUTF8 (RFC 6531), RET ENVID NOTIFY
ORCPT (RFC 3461), AUTH= (RFC 4954 5), REQUIRETLS (RFC 8689); times and priority are read in `smtp.schedule`. Knows
syntax only; whether mail is wanted is delivery's affair.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from core.address import Address, AddressError, parse_path
from core.envelope import Dsn
from core.frozen import dataclass
from delivery.types import MailParameters
from smtp import replies, xtext
from smtp.replies import Reply
from smtp.schedule import SETTERS, Setter, Terms, TooSoonError, contradictory

MAX_ENVID = 100  # RFC 3461 4.4, octets after decoding
MAX_ORCPT = 500  # RFC 3461 4.2
MAX_AUTH = 500  # RFC 4954 5: by so many octets the parameter may lengthen the command

# Clients put a space after the colon often enough to forgive it; brackets they must write. What is not quoted is taken
# in one piece (`++`: never in another way).
_PATH = r' *<(?P<path>(?:"(?:[^"\\]|\\.)*"|[^"<>\s]++)*)>(?: +(?P<rest>\S.*))?'
_MAIL = re.compile("FROM:" + _PATH, re.IGNORECASE)
_RCPT = re.compile("TO:" + _PATH, re.IGNORECASE)
# esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-"); esmtp-value = 1*(%d33-60 / %d62-126); UTF-8 for ORCPT only
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u0080-\U0010ffff]+))?")
_SIZE = re.compile(r"[0-9]{1,20}")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}")
_UTF8_TYPE = "utf-8"  # RFC 6533 3


class ArgumentError(Exception):
    """The command is refused; `reply` says how."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Offers:
    """What this session announced, hence which parameters may come."""

    extended: bool = True
    tls: bool = False
    size_limit: int = 0  # octets; 0 is unlimited
    auth: bool = False
    terms: Terms | None = None  # of the extensions about time and priority; None: not announced here


@dataclass(frozen=True, slots=True)
class MailArgument:
    sender: Address | None
    parameters: MailParameters


@dataclass(frozen=True, slots=True)
class RcptArgument:
    recipient: Address
    dsn: Dsn


NOTHING_SPECIAL = MailParameters()
NO_DSN = Dsn()

MailSetter = Callable[[MailParameters, str, Offers], MailParameters]
DsnSetter = Callable[[Dsn, str, bool], Dsn]


def parse_mail(argument: str, offers: Offers) -> MailArgument:
    """What follows "MAIL ". Raises `ArgumentError` with the reply to send."""
    match = _MAIL.fullmatch(argument)
    if not match:
        raise ArgumentError(replies.BAD_MAIL)
    path, rest = match.groups()
    parameters = _mail_parameters(rest, offers) if rest else NOTHING_SPECIAL
    if not path.isascii() and not parameters.smtputf8:
        raise ArgumentError(replies.SENDER_NEEDS_UTF8)
    try:
        return MailArgument(parse_path(path, utf8=parameters.smtputf8), parameters)
    except AddressError as error:
        raise ArgumentError(replies.BAD_SENDER) from error


def _mail_parameters(rest: str, offers: Offers) -> MailParameters:
    parameters = NOTHING_SPECIAL
    for key, value in _parameters(rest, offers.extended):
        setter = MAIL_PARAMETERS.get(key)
        if setter is None:
            raise ArgumentError(replies.UNKNOWN_PARAMETER)
        parameters = setter(parameters, value, offers)
    if contradictory(parameters.schedule):
        raise ArgumentError(replies.BAD_PARAMETER)
    return parameters


def parse_rcpt(argument: str, *, extended: bool, smtputf8: bool, hostname: str) -> RcptArgument:
    """What follows "RCPT ". `hostname` completes the one address without a domain that must be accepted, <postmaster>
    (RFC 5321 4.1.1.3). Raises `ArgumentError`."""
    match = _RCPT.fullmatch(argument)
    if not match:
        raise ArgumentError(replies.BAD_RCPT)
    path, rest = match.groups()
    dsn = _dsn(rest, extended, smtputf8) if rest else NO_DSN
    return RcptArgument(_recipient(path, smtputf8, hostname), dsn)


def _dsn(rest: str, extended: bool, smtputf8: bool) -> Dsn:
    dsn = NO_DSN
    for key, value in _parameters(rest, extended):
        setter = RCPT_PARAMETERS.get(key)
        if setter is None:
            raise ArgumentError(replies.UNKNOWN_PARAMETER)
        dsn = setter(dsn, value, smtputf8)
    return dsn


def _recipient(path: str, smtputf8: bool, hostname: str) -> Address:
    if path.lower() == "postmaster":
        return Address(path, hostname)
    if not path.isascii() and not smtputf8:
        raise ArgumentError(replies.RECIPIENT_NEEDS_UTF8)
    try:
        address = parse_path(path, utf8=smtputf8)
    except AddressError as error:
        raise ArgumentError(replies.BAD_RECIPIENT) from error
    if address is None:
        raise ArgumentError(replies.BAD_RECIPIENT)
    return address


def _parameters(rest: str, extended: bool) -> list[tuple[str, str]]:
    """Upper-case keyword and value ("" without one), each keyword once; none at all after HELO."""
    found: dict[str, str] = {}
    for item in rest.split():
        match = _PARAMETER.fullmatch(item)
        if not match or match[1].upper() in found:
            raise ArgumentError(replies.BAD_PARAMETER)
        found[match[1].upper()] = match[2] or ""
    if found and not extended:
        raise ArgumentError(replies.UNKNOWN_PARAMETER)
    return list(found.items())


def _size(parameters: MailParameters, value: str, offers: Offers) -> MailParameters:
    if not _SIZE.fullmatch(value):
        raise ArgumentError(replies.BAD_PARAMETER)
    if offers.size_limit and int(value) > offers.size_limit:
        raise ArgumentError(replies.TOO_BIG)
    return replace(parameters, size=int(value))


def _body(parameters: MailParameters, value: str, offers: Offers) -> MailParameters:
    if value.upper() not in ("7BIT", "8BITMIME", "BINARYMIME"):
        raise ArgumentError(replies.BAD_PARAMETER)
    return replace(parameters, body=value.upper())


def _smtputf8(parameters: MailParameters, value: str, offers: Offers) -> MailParameters:
    _no_value(value)
    return replace(parameters, smtputf8=True)


def _ret(parameters: MailParameters, value: str, offers: Offers) -> MailParameters:
    if value.upper() not in ("FULL", "HDRS"):
        raise ArgumentError(replies.BAD_PARAMETER)
    return replace(parameters, ret=value.upper())


def _envid(parameters: MailParameters, value: str, offers: Offers) -> MailParameters:
    envid = _xtext(value)
    if not 0 < len(envid) <= MAX_ENVID:
        raise ArgumentError(replies.BAD_PARAMETER)
    return replace(parameters, envid=envid)


def _auth(parameters: MailParameters, value: str, offers: Offers) -> MailParameters:
    """RFC 4954 5. Whether the word is believed is delivery's affair; what names nobody is like `<>`."""
    if not offers.auth:
        raise ArgumentError(replies.UNKNOWN_PARAMETER)
    if not 0 < len(value) <= MAX_AUTH:
        raise ArgumentError(replies.BAD_PARAMETER)
    named = _xtext(value)
    return replace(parameters, auth="" if named == "<>" else named)


def _require_tls(parameters: MailParameters, value: str, offers: Offers) -> MailParameters:
    _no_value(value)
    if not offers.tls:
        raise ArgumentError(replies.REQUIRETLS_NEEDS_TLS)
    return replace(parameters, require_tls=True)


def _scheduled(read: Setter) -> MailSetter:
    def setter(parameters: MailParameters, value: str, offers: Offers) -> MailParameters:
        if offers.terms is None:
            raise ArgumentError(replies.UNKNOWN_PARAMETER)
        try:
            return replace(parameters, schedule=read(parameters.schedule, value, offers.terms))
        except TooSoonError as error:
            raise ArgumentError(replies.TOO_SOON) from error
        except ValueError as error:
            raise ArgumentError(replies.BAD_PARAMETER) from error

    return setter


def _notify(dsn: Dsn, value: str, smtputf8: bool) -> Dsn:
    """RFC 3461 4.1: NEVER alone, or a list of SUCCESS, FAILURE, DELAY."""
    words = value.upper().split(",")
    known = words == ["NEVER"] or (set(words) <= {"SUCCESS", "FAILURE", "DELAY"} and len(set(words)) == len(words))
    if not known:
        raise ArgumentError(replies.BAD_PARAMETER)
    return replace(dsn, notify=frozenset(words))


def _orcpt(dsn: Dsn, value: str, smtputf8: bool) -> Dsn:
    """RFC 3461 4.2: addr-type ";" xtext; for addr-type utf-8 the address may come bare (RFC 6533 3)."""
    kind, semicolon, encoded = value.partition(";")
    if not semicolon or not encoded or len(value) > MAX_ORCPT or not _ADDRESS_TYPE.fullmatch(kind):
        raise ArgumentError(replies.BAD_PARAMETER)
    try:
        kind, plain = _original(kind, encoded, smtputf8)
    except xtext.XtextError as error:
        raise ArgumentError(replies.BAD_PARAMETER) from error
    return replace(dsn, original=f"{kind};{plain}")


def _original(kind: str, encoded: str, smtputf8: bool) -> tuple[str, str]:
    """The type and the address as it reads. Raises `XtextError`."""
    if kind.lower() == _UTF8_TYPE:
        bare = smtputf8 and not encoded.isascii() and encoded.isprintable()
        return kind, encoded if bare else xtext.decode_utf8(encoded)
    try:
        return kind, xtext.decode(encoded)
    except xtext.XtextError:
        if not smtputf8:
            raise
        return _UTF8_TYPE, xtext.decode_wide(encoded)  # Postfix's way, see docs/quirks.md


def _xtext(value: str) -> str:
    try:
        return xtext.decode(value)
    except xtext.XtextError as error:
        raise ArgumentError(replies.BAD_PARAMETER) from error


def _no_value(value: str) -> None:
    if value:
        raise ArgumentError(replies.BAD_PARAMETER)


MAIL_PARAMETERS: dict[str, MailSetter] = {
    "SIZE": _size,
    "BODY": _body,
    "SMTPUTF8": _smtputf8,
    "RET": _ret,
    "ENVID": _envid,
    "AUTH": _auth,
    "REQUIRETLS": _require_tls,
    **{keyword: _scheduled(read) for keyword, read in SETTERS.items()},
}
RCPT_PARAMETERS: dict[str, DsnSetter] = {"NOTIFY": _notify, "ORCPT": _orcpt}
