"""EXPUNGE and UID EXPUNGE (RFC 9051 6.4.3, RFC 4315 2.1). The EXPUNGE responses are the updates that follow."""

from __future__ import annotations

from imap.command import WHEN_SELECTED, Command, no_arguments
from imap.commands.guards import highest_if_qresync, require_writable
from imap.responses import Ok
from imap.session import Session
from imap.types import SequenceSet
from imap.wire.scanner import Scanner


def _parse_uids(scanner: Scanner) -> SequenceSet:
    scanner.space()
    wanted = scanner.sequence_set()
    scanner.end()
    return wanted


async def _expunge(session: Session, _: None) -> Ok:
    gone = await require_writable(session).mailbox.expunge(None)
    return Ok("EXPUNGE completed", await highest_if_qresync(session, bool(gone.vanished)))


async def _uid_expunge(session: Session, wanted: SequenceSet) -> Ok:
    selected = require_writable(session)
    ranges = (await selected.numbered()).ranges(wanted, uid=True)
    gone = (await selected.mailbox.expunge(ranges)).vanished if ranges else ()
    return Ok("UID EXPUNGE completed", await highest_if_qresync(session, bool(gone)))


EXPUNGE = Command("EXPUNGE", WHEN_SELECTED, no_arguments, _expunge)
UID_EXPUNGE = Command("UID EXPUNGE", WHEN_SELECTED, _parse_uids, _uid_expunge)
