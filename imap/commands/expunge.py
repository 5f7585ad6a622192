"""EXPUNGE and UID EXPUNGE (RFC 9051 6.4.3, RFC 4315 2.1). The EXPUNGE responses are the updates that follow."""

from __future__ import annotations

from imap.command import WHEN_SELECTED, Command, no_arguments
from imap.commands.guards import highest_if_qresync, require_writable
from imap.commands.share import Share, partly, share
from imap.named import named
from imap.progress import working
from imap.responses import Ok
from imap.session import Session
from imap.types import Ranges, SequenceSet, ranges_of
from imap.wire.scanner import Scanner
from store.types import Column, Flag


def _parse_uids(scanner: Scanner) -> SequenceSet:
    scanner.space()
    wanted = scanner.sequence_set()
    scanner.end()
    return wanted


async def _expunge(session: Session, _: None) -> Ok:
    selected = require_writable(session)
    with working(session):
        gone = await selected.mailbox.expunge(None)
    if gone.vanished and selected.view.next_is(gone.modseq):  # it is all that happened: what a look would bring
        selected.view.absorb(gone)
    return Ok("EXPUNGE completed", await highest_if_qresync(session, bool(gone.vanished)))


async def _uid_expunge(session: Session, wanted: SequenceSet) -> Ok:
    selected = require_writable(session)
    ranges = await named(selected, wanted, uid=True)
    part = await _deleted(session, ranges) if session.message_limit else Share(ranges)
    with working(session):
        gone = (await selected.mailbox.expunge(part.ranges)).vanished if part.ranges else ()
    return partly(session, Ok("UID EXPUNGE completed", await highest_if_qresync(session, bool(gone))), part.code)


async def _deleted(session: Session, ranges: Ranges) -> Share:
    """RFC 9738 3.1: of UID EXPUNGE those with \\Deleted count."""
    deleted: list[int] = []
    async for batch in session.selected.mailbox.rows(ranges, Column.NONE):
        deleted += [row.uid for row in batch if Flag.DELETED in row.flags]
    return share(session, session.selected.view, ranges_of(deleted))


EXPUNGE = Command("EXPUNGE", WHEN_SELECTED, no_arguments, _expunge, removes=True)
UID_EXPUNGE = Command("UID EXPUNGE", WHEN_SELECTED, _parse_uids, _uid_expunge, removes=True)
