"""UNAUTHENTICATE (RFC 8437): back to the state before login; TLS stays, all else is forgotten."""

from __future__ import annotations

from imap import capability, responses
from imap.command import AFTER_LOGIN, Command, no_arguments
from imap.responses import Ok
from imap.session import Session


async def _handle(session: Session, _: None) -> Ok:
    if session.link.compressed:  # RFC 8437 4.1: it ends behind the OK, and the client's behind the command
        session.link.before_clear_text()
        session.after_answer = session.link.uncompress
    session.logged_out()
    return Ok("logged out", responses.capability_code(capability.names(session)))


UNAUTHENTICATE = Command("UNAUTHENTICATE", AFTER_LOGIN, no_arguments, _handle, tells_updates=False)
