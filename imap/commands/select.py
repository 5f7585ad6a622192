"""SELECT and EXAMINE (RFC 9051 6.3.2, 6.3.3; RFC 3501 for RECENT and UNSEEN). O(1): the view's map comes later."""

from __future__ import annotations

from imap import responses
from imap.command import AFTER_LOGIN, Command
from imap.errors import Code
from imap.responses import Ok
from imap.session import Selected, Session
from imap.wire.scanner import Scanner
from store.types import Snapshot


def _parse(scanner: Scanner) -> str:
    """select = "SELECT" SP mailbox"""
    scanner.space()
    name = scanner.mailbox()
    scanner.end()
    return name


async def _select(session: Session, name: str) -> Ok:
    await _open(session, name, read_only=False)
    return Ok("SELECT completed", Code.READ_WRITE)


async def _examine(session: Session, name: str) -> Ok:
    await _open(session, name, read_only=True)
    return Ok("EXAMINE completed", Code.READ_ONLY)


async def _open(session: Session, name: str, *, read_only: bool) -> None:
    """The former mailbox is left first, whatever comes of it (RFC 9051 6.3.2)."""
    if session.selection is not None:
        session.unselect()
        session.writer.write(responses.untagged("OK", "previous mailbox closed", Code.CLOSED))
    mailbox = await session.store.mailbox(name)
    snapshot = await mailbox.snapshot()
    session.select(Selected.begin(name, mailbox, snapshot, read_only=read_only))
    session.writer.write(_describe(snapshot, read_only=read_only))


def _describe(snapshot: Snapshot, *, read_only: bool) -> bytes:
    parts = [
        responses.flags(snapshot.keywords),
        responses.exists(snapshot.messages),
        responses.recent(0),
        responses.permanent_flags(snapshot.keywords, read_only=read_only),
        responses.untagged("OK", "next UID", f"UIDNEXT {snapshot.uidnext}"),
        responses.untagged("OK", "UIDs are valid", f"UIDVALIDITY {snapshot.uidvalidity}"),
    ]
    if snapshot.recent_unseen:
        parts.insert(3, responses.untagged("OK", "first unseen", f"UNSEEN {snapshot.recent_unseen}"))
    return b"".join(parts)


SELECT = Command("SELECT", AFTER_LOGIN, _parse, _select, tells_updates=False)
EXAMINE = Command("EXAMINE", AFTER_LOGIN, _parse, _examine, tells_updates=False)
