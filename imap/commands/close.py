"""CLOSE and UNSELECT (RFC 9051 6.4.1, 6.4.2; RFC 3691): leave the mailbox, with or without a silent expunge."""

from __future__ import annotations

import contextlib

from core.errors import ForbiddenError
from imap.command import WHEN_SELECTED, Command, no_arguments
from imap.responses import Ok
from imap.session import Session


async def _close(session: Session, _: None) -> Ok:
    selected = session.selected
    if not selected.read_only:
        with contextlib.suppress(ForbiddenError):  # RFC 4314 4: without the right nothing goes, and it is closed
            await selected.mailbox.expunge(None)
    session.unselect()
    return Ok("CLOSE completed")


async def _unselect(session: Session, _: None) -> Ok:
    session.unselect()
    return Ok("UNSELECT completed")


CLOSE = Command("CLOSE", WHEN_SELECTED, no_arguments, _close, tells_updates=False)
UNSELECT = Command("UNSELECT", WHEN_SELECTED, no_arguments, _unselect, tells_updates=False)
