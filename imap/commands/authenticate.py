"""AUTHENTICATE with an optional initial response (RFC 9051 6.2.2, RFC 4959); the exchange is the directory's."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from directory import sasl
from directory.authentication import Authentication, Door
from imap.command import BEFORE_LOGIN, Command
from imap.errors import Bad, Bye, Code, No
from imap.login import failed, opened, require_privacy
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner

_INITIAL = re.compile(rb"[A-Za-z0-9+/=]+")  # initial-resp = base64 / "="; other octets are judged by `directory.sasl`
# RFC 9051 6.2.2: cancelling and invalid base64 are answered BAD; the rest is a login that failed.
_BAD = {
    "cancelled": ("authentication cancelled", Code.AUTHENTICATIONFAILED),  # to cancel is no bug
    "invalid-base64": ("the response is not valid base64", Code.CLIENTBUG),
    "too-long": ("the response is too long", Code.TOOBIG),
}


@dataclass(frozen=True, slots=True)
class Authenticate:
    mechanism: str
    initial: bytes | None = field(repr=False)


def _parse(scanner: Scanner) -> Authenticate:
    """authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp]"""
    scanner.space()
    mechanism = scanner.keyword()
    initial = scanner.match(_INITIAL, "base64").group() if scanner.try_space() else None
    scanner.end()
    return Authenticate(mechanism, initial)


async def _handle(session: Session, asked: Authenticate) -> Ok:
    require_privacy(session)
    link = session.link
    exchange = Authentication(session.services.directory, Door("imap", link.remote, link.certificate))
    outcome = await exchange.settle(exchange.start(asked.mechanism, asked.initial))
    while isinstance(outcome, sasl.Challenge):
        session.writer.write(b"+ %b\r\n" % outcome.text)
        await session.writer.drain()
        line = await link.read_line(limit=session.limits.auth_line)
        outcome = await exchange.settle(outcome.respond(line))
    if isinstance(outcome, sasl.Failed):
        raise _refusal(session, outcome.reason)
    return await opened(session, outcome)


def _refusal(session: Session, reason: str) -> Bad | No | Bye:
    if reason == "unsupported-mechanism":
        return No("this authentication mechanism is not offered", Code.CANNOT)
    bad = _BAD.get(reason)
    return failed(session) if bad is None else Bad(*bad)


AUTHENTICATE = Command("AUTHENTICATE", BEFORE_LOGIN, _parse, _handle)
