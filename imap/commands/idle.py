"""IDLE (RFC 2177, RFC 9051 6.3.13): changes are told as they are committed, many at once when they come fast."""

from __future__ import annotations

import asyncio

from core.wake import Wake
from imap import responses, updates
from imap.command import AFTER_LOGIN, Command, no_arguments
from imap.errors import Bad
from imap.guarded import GuardedMailbox
from imap.notify import tell_or_give_up
from imap.responses import Ok
from imap.session import Session
from store.types import Hint

STILL_HERE = 120.0  # seconds between signs of life: keeps NAT entries, finds dead peers
GATHER = 0.05  # seconds between two looks at a busy mailbox (security.md row 38)


async def _handle(session: Session, _: None) -> Ok:
    wake = Wake()
    folder_id = session.selection.mailbox.folder_id if session.selection else None

    def heard(hint: Hint) -> None:
        if hint.folder_id == folder_id or session.notices is not None:
            wake.set()

    session.writer.write(responses.IDLING)
    stop = session.store.listen(heard)
    try:
        line = await _until_line(session, wake)
    finally:
        stop()
    if line.upper() != b"DONE":
        raise Bad("DONE expected")
    return Ok("IDLE terminated")


async def _until_line(session: Session, wake: Wake) -> bytes:
    loop = asyncio.get_running_loop()
    while True:
        # Cleared before looking: a hint that comes during the look wakes us again.
        wake.clear()
        if session.notices is None:
            if session.tells:
                await updates.tell(session, expunge=True)
        else:
            await tell_or_give_up(session, session.notices, idle=True)
        if session.annotations is not None:
            await session.annotations.tell(session)
        await session.writer.drain()
        looked = loop.time()
        while (line := await session.link.idle_line(wake, STILL_HERE)) is None and not wake.is_set():
            session.writer.write(responses.untagged("OK", "still here"))
            await session.writer.drain()
            if not _all_is_hinted(session):
                break
        if line is not None:
            return line
        if wake.is_set():
            await asyncio.sleep(looked + GATHER - loop.time())  # no wait at all when the last look is long ago


def _all_is_hinted(session: Session) -> bool:
    """Nothing happens to what this client sees without a hint: a look that only time asks for would open an account
    that was closed because nobody used it (`store/accounts.py`)."""
    if session.notices is not None or session.annotations is not None:
        return False
    mailbox = session.selection.mailbox if session.selection else None
    return mailbox is None or (isinstance(mailbox, GuardedMailbox) and mailbox.own)


IDLE = Command("IDLE", AFTER_LOGIN, no_arguments, _handle)
