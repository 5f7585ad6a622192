"""COPY, MOVE and their UID forms (RFC 9051 6.4.7, 6.4.8; RFC 4315, RFC 6851): all or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from imap import junk, responses
from imap.command import WHEN_SELECTED, Command
from imap.commands.guards import highest_if_qresync, require_writable
from imap.commands.share import check_saved, partly, share
from imap.errors import Code, No
from imap.named import known, named
from imap.progress import working
from imap.responses import Ok
from imap.session import Selected, Session
from imap.types import TURN, Ranges, SequenceSet
from imap.updates import look
from imap.wire.scanner import Scanner
from store.types import Copied, Uid


@dataclass(frozen=True, slots=True)
class Transfer:
    wanted: SequenceSet
    uid: bool
    target: str


def _parser(*, uid: bool) -> Callable[[Scanner], Transfer]:
    def parse(scanner: Scanner) -> Transfer:
        """copy = "COPY" SP sequence-set SP mailbox; move = "MOVE" SP sequence-set SP mailbox"""
        scanner.space()
        wanted = scanner.sequence_set()
        scanner.space()
        target = scanner.mailbox()
        scanner.end()
        return Transfer(wanted, uid, target)

    return parse


async def _ranges(session: Session, selected: Selected, asked: Transfer) -> tuple[Ranges, str]:
    """What is meant, once the target is known to exist: a client may create it and try again (TRYCREATE). And the id of
    the target."""
    ranges = await named(selected, asked.wanted, uid=asked.uid)
    place = await session.store.landing(asked.target)
    if place is None:
        raise No("no such mailbox", Code.TRYCREATE)
    if not asked.uid and asked.wanted.pairs:
        by_number = SequenceSet(asked.wanted.pairs)
        await _require_all(selected, await named(selected, by_number, uid=False) if asked.wanted.saved else ranges)
    return ranges, place.folder.id


async def _require_all(selected: Selected, ranges: Ranges) -> None:
    """RFC 2180 4.4.2: all that was named by number, or nothing and NO; which UIDs are left is told by COPYUID, and who
    names UIDs or "$" is told nothing of those that are gone (RFC 9051 6.4.9, RFC 5182 2.1)."""
    await look(selected)
    view = selected.view
    if view.owes_expunge and any(map(view.is_gone, await known(view, ranges))):
        raise No("some of the messages no longer exist", Code.EXPUNGEISSUED)


async def _copy_uid(copied: Copied) -> str:
    """`responses.copy_uid`; others get their turn between the pieces of many (promise P7)."""
    code = ""
    for piece in responses.copy_uid(copied.uidvalidity, copied.pairs):
        code += piece
        if len(copied.pairs) > TURN:
            await asyncio.sleep(0)
    return code


async def _copy(session: Session, asked: Transfer) -> Ok:
    selected = session.selected
    ranges, target = await _ranges(session, selected, asked)
    if not ranges:
        return Ok("nothing to copy")
    check_saved(session, selected.view, ranges)
    with working(session):
        copied = await selected.mailbox.copy(ranges, asked.target)
    session.made(target, (uid for _, uid in copied.pairs))
    await junk.moved(session, selected, asked.target, copied)
    return Ok("COPY completed", await _copy_uid(copied) if copied.pairs else Code.NONE)


async def _move(session: Session, asked: Transfer) -> Ok:
    """COPYUID comes untagged before the EXPUNGE responses (RFC 6851 4.3), which are the updates that follow."""
    selected = require_writable(session)
    ranges, target = await _ranges(session, selected, asked)
    part = share(session, selected.view, ranges)
    ranges = part.ranges
    pairs: tuple[tuple[Uid, Uid], ...] = ()
    if ranges:
        with working(session):
            moved = await selected.mailbox.move(ranges, asked.target)
        pairs = moved.pairs
        if moved.removed and selected.view.next_is(moved.removed.modseq):  # all that happened: what a look would bring
            selected.view.absorb(moved.removed)
        session.made(target, (uid for _, uid in pairs))
        await junk.moved(session, selected, asked.target, moved)
        if pairs:
            session.say("OK", "moved", await _copy_uid(moved))
    return partly(session, Ok("MOVE completed", await highest_if_qresync(session, bool(pairs))), part.code)


COPY = Command("COPY", WHEN_SELECTED, _parser(uid=False), _copy, by_number=True)
UID_COPY = Command("UID COPY", WHEN_SELECTED, _parser(uid=True), _copy)
MOVE = Command("MOVE", WHEN_SELECTED, _parser(uid=False), _move, by_number=True, removes=True)
UID_MOVE = Command("UID MOVE", WHEN_SELECTED, _parser(uid=True), _move, removes=True)
