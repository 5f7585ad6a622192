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


class _Ear:
    """Who idles; what concerns him wakes him. (A class, and coroutines few: thousands are in here for days.)"""

    __slots__ = ("_folder_id", "_session", "wake")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._folder_id = session.selection.mailbox.folder_id if session.selection else None
        self.wake = Wake()

    def __call__(self, hint: Hint) -> None:
        if hint.folder_id == self._folder_id or self._session.notices is not None:
            self.wake.set()


async def _handle(session: Session, _: None) -> Ok:
    ear = _Ear(session)
    session.writer.write(responses.IDLING)
    stop = session.store.listen(ear)
    try:
        line = None
        while line is None:
            # Cleared before looking: a hint that comes during the look wakes us again.
            ear.wake.clear()
            looked = await _told(session)
            while (line := await session.link.idle_line(ear.wake, STILL_HERE)) is None and not ear.wake.is_set():
                session.say("OK", "still here")
                await session.writer.drain()
                if not _all_is_hinted(session):
                    break
            if line is None and ear.wake.is_set():  # no wait at all when the last look is long ago
                await asyncio.sleep(looked + GATHER - asyncio.get_running_loop().time())
    finally:
        stop()
    if line.upper() != b"DONE":
        raise Bad("DONE expected")
    return Ok("IDLE terminated")


async def _told(session: Session) -> float:
    """What there is, at this time."""
    if session.notices is None:
        if session.tells:
            await updates.tell(session, expunge=True)
    else:
        await tell_or_give_up(session, session.notices, idle=True)
    if session.annotations is not None:
        await session.annotations.tell(session)
    await session.writer.drain()
    return asyncio.get_running_loop().time()


def _all_is_hinted(session: Session) -> bool:
    """Nothing happens to what this client sees without a hint: a look that only time asks for would open an account
    that was closed because nobody used it (`store/accounts.py`)."""
    if session.notices is not None or session.annotations is not None:
        return False
    mailbox = session.selection.mailbox if session.selection else None
    return mailbox is None or (isinstance(mailbox, GuardedMailbox) and mailbox.own)


IDLE = Command("IDLE", AFTER_LOGIN, no_arguments, _handle)
