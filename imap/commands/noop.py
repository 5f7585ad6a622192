"""NOOP (RFC 9051 6.1.2): the updates that follow every command are all it is for."""

from __future__ import annotations

from imap.command import ANY, Command, no_arguments
from imap.responses import Ok
from imap.session import Session


async def _handle(_: Session, __: None) -> Ok:
    return Ok("NOOP completed")


NOOP = Command("NOOP", ANY, no_arguments, _handle)
