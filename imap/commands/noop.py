"""NOOP (RFC 9051 6.1.2): the updates that follow every command are all it is for.

Programs that do not know IDLE ask by it what is new: so it looks what hands did to the files, too.
"""

from __future__ import annotations

import contextlib

from core.errors import MailError
from imap.command import ANY, Command, no_arguments
from imap.responses import Ok
from imap.session import Session


async def look_outside(session: Session) -> None:
    """At the selected mailbox; where it cannot be, the updates tell what is known."""
    if session.selection is not None:
        with contextlib.suppress(MailError):
            await session.selection.mailbox.snapshot()


async def _handle(session: Session, __: None) -> Ok:
    await look_outside(session)
    return Ok("NOOP completed")


NOOP = Command("NOOP", ANY, no_arguments, _handle)
