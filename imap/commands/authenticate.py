"""AUTHENTICATE with an optional initial response (RFC 9051 6.2.2, RFC 4959); `directory.sasl` holds the exchange."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from directory import sasl
from imap.capability import MECHANISMS
from imap.command import BEFORE_LOGIN, Command
from imap.errors import Bad, Bye, Code, No
from imap.login import failed, log_in, require_privacy
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner

_INITIAL = re.compile(rb"[A-Za-z0-9+/=]+")  # initial-resp = base64 / "="; other octets are judged by `directory.sasl`
# RFC 9051 6.2.2: cancelling and invalid base64 are answered BAD; the rest is a login that failed.
_BAD = {"cancelled": "authentication cancelled", "invalid-base64": "invalid base64", "too-long": "response too long"}


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
    if asked.mechanism not in MECHANISMS:
        raise No("unsupported mechanism", Code.CANNOT)
    step = sasl.start(asked.mechanism, asked.initial)
    while isinstance(step, sasl.Challenge):
        session.writer.write(b"+ %b\r\n" % step.text)
        await session.writer.drain()
        step = step.respond(await session.link.read_line(limit=session.limits.imap_line_before_login))
    if isinstance(step, sasl.Failed):
        raise _refusal(session, step.reason)
    return await log_in(session, step.identity, step.secret)


def _refusal(session: Session, reason: str) -> Bad | No | Bye:
    text = _BAD.get(reason)
    return failed(session) if text is None else Bad(text)


AUTHENTICATE = Command("AUTHENTICATE", BEFORE_LOGIN, _parse, _handle)
