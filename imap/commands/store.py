"""STORE and UID STORE (RFC 9051 6.4.6): one write for the whole set, then the flags as they are now."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from imap import responses
from imap.command import WHEN_SELECTED, Command
from imap.commands.guards import check_keywords, require_writable
from imap.errors import Code, No
from imap.responses import Ok
from imap.session import Selected, Session
from imap.types import FlagSet, Ranges, SequenceSet
from imap.updates import BATCH, announce_keywords
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


def _parser(*, uid: bool) -> Callable[[Scanner], StoreFlags]:
    def parse(scanner: Scanner) -> StoreFlags:
        """store = "STORE" SP sequence-set SP ["+" / "-"] "FLAGS" [".SILENT"] SP (flag-list / (flag *(SP flag)))"""
        scanner.space()
        wanted = scanner.sequence_set()
        scanner.space()
        item = scanner.match(_ITEM, "FLAGS")
        scanner.space()
        flags = scanner.flags()
        scanner.end()
        return StoreFlags(wanted, uid, Mode(item[1]), silent=item[2] is not None, flags=flags)

    return parse


async def _handle(session: Session, asked: StoreFlags) -> Ok:
    selected = require_writable(session)
    check_keywords(asked.flags, session.limits)
    view = await selected.numbered()
    ranges = view.ranges(asked.wanted, uid=asked.uid)
    if ranges:
        changed = await _change(selected.mailbox, ranges, asked)
        announce_keywords(session.writer, selected, (word for row in changed.messages for word in row.keywords))
        if not asked.silent:
            await _answer(session, selected, changed.messages, uid=asked.uid)
        view.told(changed.messages)
        _check_all_there(selected, ranges, changed, asked)
    return Ok("STORE completed")


async def _change(mailbox: Mailbox, ranges: Ranges, asked: StoreFlags) -> FlagsChanged:
    flags = asked.flags
    if asked.mode is Mode.REMOVE:
        return await mailbox.store_flags(ranges, remove=flags.flags, remove_keywords=flags.keywords)
    return await mailbox.store_flags(
        ranges, add=flags.flags, add_keywords=flags.keywords, replace=asked.mode is Mode.REPLACE
    )


async def _answer(session: Session, selected: Selected, messages: tuple[Message, ...], *, uid: bool) -> None:
    for count, message in enumerate(messages, 1):
        number = selected.view.number_of(message.uid)
        if number is not None:
            have = FlagSet(message.flags, message.keywords)
            session.writer.write(responses.fetch_flags(number, have, uid=message.uid if uid else None))
        if count % BATCH == 0:
            await session.writer.drain()


def _check_all_there(selected: Selected, ranges: Ranges, changed: FlagsChanged, asked: StoreFlags) -> None:
    """RFC 2180 4.2.2: the rest was changed, what another client expunged was not; by UID that is no error."""
    if not asked.uid and len(changed.messages) + len(changed.modified) < len(selected.view.known(ranges)):
        raise No("some messages no longer exist", Code.EXPUNGEISSUED)


STORE = Command("STORE", WHEN_SELECTED, _parser(uid=False), _handle, uses_sequence_numbers=True)
UID_STORE = Command("UID STORE", WHEN_SELECTED, _parser(uid=True), _handle)
