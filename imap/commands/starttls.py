"""STARTTLS (RFC 9051 6.2.1): clear text behind it ends the connection (security.md rows 21-23)."""

from __future__ import annotations

from imap.command import BEFORE_LOGIN, Command, no_arguments
from imap.errors import Bad
from imap.responses import Ok
from imap.session import Session


async def _handle(session: Session, _: None) -> Ok:
    link = session.link
    if not link.can_start_tls:
        raise Bad("TLS is already on or not available")
    link.before_tls()
    session.after_answer = link.start_tls
    return Ok("begin TLS negotiation now")


STARTTLS = Command("STARTTLS", BEFORE_LOGIN, no_arguments, _handle, tells_updates=False)
