"""LOGIN (RFC 9051 6.2.3): never without TLS, but for loopback where the operator allows it."""

from __future__ import annotations

from dataclasses import dataclass

from core.log import Secret
from imap.command import BEFORE_LOGIN, Command
from imap.login import failed, log_in, require_privacy
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner


@dataclass(frozen=True, slots=True)
class Login:
    """`identity` None: no UTF-8, so nobody's name or password."""

    identity: str | None
    secret: Secret


def _parse(scanner: Scanner) -> Login:
    """login = "LOGIN" SP userid SP password; both astrings"""
    scanner.forgive_octets()
    scanner.space()
    identity = scanner.astring()
    scanner.space()
    password = scanner.astring()
    scanner.end()
    try:
        return Login(identity.decode("utf-8"), Secret(password.decode("utf-8")))
    except UnicodeDecodeError:
        return Login(None, Secret(""))


async def _handle(session: Session, login: Login) -> Ok:
    require_privacy(session)
    if login.identity is None:
        raise failed(session)
    return await log_in(session, login.identity, login.secret)


LOGIN = Command("LOGIN", BEFORE_LOGIN, _parse, _handle)
