"""STORE and UID STORE (RFC 9051 6.4.6, RFC 7162 3.1.3): one write for the whole set, then the flags as they are now."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain

from imap import responses
from imap.command import WHEN_SELECTED, Command
from imap.commands.guards import check_keywords, require_writable
from imap.commands.share import Share, partly, share, tell_partly
from imap.errors import BadSyntax, Code, No
from imap.named import how_many, named
from imap.progress import working
from imap.responses import Ok
from imap.session import Selected, Session
from imap.types import MAX_MODSEQ, TURN, Feature, FlagSet, Ranges, SequenceSet, turns
from imap.updates import BATCH, announce_keywords, look
from imap.wire.scanner import Scanner
from store.store import Mailbox
from store.types import FlagsChanged, Message

_ITEM = re.compile(rb"([+-]?)FLAGS(\.SILENT)?(?= )", re.IGNORECASE)


class Mode(Enum):
    REPLACE = b""
    ADD = b"+"
    REMOVE = b"-"


@dataclass(frozen=True, slots=True)
class StoreFlags:
    wanted: SequenceSet
    uid: bool
    mode: Mode
    silent: bool
    flags: FlagSet
    unchanged_since: int | None = None


def _parser(*, uid: bool) -> Callable[[Scanner], StoreFlags]:
    def parse(scanner: Scanner) -> StoreFlags:
        """store = "STORE" SP sequence-set [SP "(" store-modifier *(SP store-modifier) ")"] SP ["+" / "-"] "FLAGS"
        [".SILENT"] SP (flag-list / (flag *(SP flag))) (RFC 4466 2.5)"""
        scanner.space()
        wanted = scanner.sequence_set()
        scanner.space()
        modifiers: dict[str, int] = {}
        if scanner.peek() == b"(":
            modifiers = dict(scanner.parenthesised(lambda: _modifier(scanner)))
            scanner.space()
        item = scanner.match(_ITEM, "FLAGS")
        scanner.space()
        flags = scanner.flags()
        scanner.end()
        return StoreFlags(wanted, uid, Mode(item[1]), silent=item[2] is not None, flags=flags, **modifiers)

    return parse


def _modifier(scanner: Scanner) -> tuple[str, int]:
    """store-modifier of RFC 7162 3.1.3; 0 means: only messages that have no mod-sequence yet, which is none."""
    if scanner.keyword() != "UNCHANGEDSINCE":
        raise BadSyntax("unknown STORE modifier")
    scanner.space()
    return "unchanged_since", scanner.number(MAX_MODSEQ)


async def _handle(session: Session, asked: StoreFlags) -> Ok:
    selected = require_writable(session)
    check_keywords(asked.flags, session.limits)
    ranges, view = await named(selected, asked.wanted, uid=asked.uid), selected.view
    part = share(session, view, ranges)
    ranges = part.ranges
    if asked.unchanged_since is not None:
        session.enable(Feature.CONDSTORE)  # RFC 7162 3.1
    if not ranges:
        return Ok("STORE completed")
    if asked.silent:
        await look(selected)
    before = view.modseq
    with working(session):
        changed = await _change(selected.mailbox, ranges, asked, before)
    for some in turns(changed.messages):
        announce_keywords(session.writer, selected, chain.from_iterable({row.keywords for row in some}))
        await _breathe(some)
    if asked.silent:
        # What others changed is told all the same (RFC 9051 6.4.6), also what they changed since the look: by the
        # updates that follow. What nobody changed needs no new mod-sequence, unless the client asked for a condition:
        # then each message that passed it is told (RFC 7162 3.1.3), also one that had the flags before (3.1.11).
        others, every = frozenset(changed.unseen), asked.unchanged_since is not None
        found: list[Message] = []
        for some in turns(changed.messages):
            mine = [row for row in some if (every or row.modseq > before) and row.uid not in others]
            found += [row for row in mine if not view.owes_flags(row.uid)]
            await _breathe(some)
        told = tuple(found)
    else:
        told = changed.messages
    if not asked.silent or session.condstore:
        await _answer(session, selected, told, asked)
    view.changed_by_me(changed.modseq)
    for some in turns(told):
        view.told(some)
        await _breathe(some)
    return partly(session, await _outcome(session, part, changed, asked), part.code)


async def _breathe(some: Sequence[Message]) -> None:
    """More are to come: others get their turn (promise P7)."""
    if len(some) == TURN:
        await asyncio.sleep(0)


async def _change(mailbox: Mailbox, ranges: Ranges, asked: StoreFlags, seen: int) -> FlagsChanged:
    flags = asked.flags
    if asked.mode is Mode.REMOVE:
        return await mailbox.store_flags(
            ranges,
            remove=flags.flags,
            remove_keywords=flags.keywords,
            unchanged_since=asked.unchanged_since,
            seen=seen,
        )
    return await mailbox.store_flags(
        ranges,
        add=flags.flags,
        add_keywords=flags.keywords,
        replace=asked.mode is Mode.REPLACE,
        unchanged_since=asked.unchanged_since,
        seen=seen,
    )


async def _answer(session: Session, selected: Selected, messages: tuple[Message, ...], asked: StoreFlags) -> None:
    """Flags unless .SILENT, UID and mod-sequence once CONDSTORE is on, then also for .SILENT (RFC 7162 3.1, 3.1.3)."""
    condstore, uid_only = session.condstore, session.uid_only
    for count, message in enumerate(messages, 1):
        number = selected.view.number_of(message.uid)
        if number is not None:
            recent = selected.view.is_recent(message.uid)
            have = None if asked.silent else FlagSet(message.flags, message.keywords, recent)
            uid = message.uid if asked.uid or condstore else None
            modseq = message.modseq if condstore else None
            line = responses.fetch_flags(number, have, uid=uid, modseq=modseq, uid_only=uid_only)
            session.writer.write(line)
        if count % BATCH == 0:
            await session.writer.drain()
            await asyncio.sleep(0)


async def _outcome(session: Session, part: Share, changed: FlagsChanged, asked: StoreFlags) -> Ok:
    """RFC 2180 4.2.2: the rest was changed, what another client expunged was not; by UID that is no error. What failed
    UNCHANGEDSINCE is named either way (RFC 7162 3.1.3)."""
    selected = session.selected
    code = responses.modified_code(_named(selected, changed.modified, asked)) if changed.modified else ""
    done = len(changed.messages) + len(changed.modified)
    if not asked.uid and done < await how_many(selected.view, part.ranges):
        tell_partly(session, part.code)
        raise No("some messages no longer exist", code or Code.EXPUNGEISSUED)
    return Ok("conditional STORE failed for some messages" if code else "STORE completed", code)


def _named(selected: Selected, uids: Sequence[int], asked: StoreFlags) -> list[int]:
    if asked.uid:
        return list(uids)
    return [number for uid in uids if (number := selected.view.number_of(uid)) is not None]


STORE = Command("STORE", WHEN_SELECTED, _parser(uid=False), _handle, by_number=True, uses_sequence_numbers=True)
UID_STORE = Command("UID STORE", WHEN_SELECTED, _parser(uid=True), _handle)
