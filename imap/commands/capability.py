"""CAPABILITY (RFC 9051 6.1.1)."""

from __future__ import annotations

from imap import capability, responses
from imap.command import ANY, Command, no_arguments
from imap.responses import Ok
from imap.session import Session


async def _handle(session: Session, _: None) -> Ok:
    session.writer.write(responses.capability(capability.names(session)))
    return Ok("CAPABILITY completed")


CAPABILITY = Command("CAPABILITY", ANY, no_arguments, _handle)
