"""CHECK (RFC 3501 6.4.1): nothing is ever left unwritten here, so it is NOOP in the selected state."""

from __future__ import annotations

from imap.command import WHEN_SELECTED, Command, no_arguments
from imap.commands.noop import look_outside
from imap.responses import Ok
from imap.session import Session


async def _handle(session: Session, __: None) -> Ok:
    await look_outside(session)
    return Ok("CHECK completed")


CHECK = Command("CHECK", WHEN_SELECTED, no_arguments, _handle)
