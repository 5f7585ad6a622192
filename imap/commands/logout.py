"""LOGOUT (RFC 9051 6.1.3)."""

from __future__ import annotations

from imap.command import ANY, Command, no_arguments
from imap.responses import Ok
from imap.session import Session


async def _handle(session: Session, _: None) -> Ok:
    session.say("BYE", "logging out")
    return session.log_out()


LOGOUT = Command("LOGOUT", ANY, no_arguments, _handle, tells_updates=False)
