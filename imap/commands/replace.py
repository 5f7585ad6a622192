"""REPLACE and UID REPLACE (RFC 8508): a draft saved again, in one command and one commit of the store.

The new message comes as APPEND's does; the old one is gone when, and only when, the new one is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imap import responses
from imap.command import WHEN_SELECTED, Command
from imap.commands.guards import highest_if_qresync, require_writable
from imap.commands.incoming import Head, Incoming, read_head
from imap.errors import BadSyntax, Code, No
from imap.named import known, named
from imap.responses import Ok
from imap.session import Selected, Session
from imap.types import SequenceSet
from imap.wire.scanner import Scanner
from store.types import Uid


@dataclass(frozen=True, slots=True)
class Replace:
    """`wanted` is one message; `scanner` stands at the octets of the new one: the rest is still to come."""

    wanted: SequenceSet
    uid: bool
    name: str
    head: Head
    scanner: Scanner


def _parser(*, uid: bool) -> Callable[[Scanner], Replace]:
    def parse(scanner: Scanner) -> Replace:
        """replace = "REPLACE" SP seq-number SP mailbox append-message"""
        scanner.space()
        wanted = scanner.sequence_set()
        if wanted.saved or len(wanted.pairs) != 1 or wanted.pairs[0][0] != wanted.pairs[0][1]:
            raise BadSyntax("one message is replaced at a time")
        scanner.space()
        name = scanner.mailbox()
        return Replace(wanted, uid, name, read_head(scanner), scanner)

    return parse


async def _handle(session: Session, asked: Replace) -> Ok:
    selected = require_writable(session)
    uid = await _uid(selected, asked)
    place = await session.store.landing(asked.name)
    if place is None:
        raise No("no such mailbox", Code.TRYCREATE)
    async with Incoming(session, asked.scanner, place.store) as incoming:
        content = await incoming.message(asked.head)
        incoming.scanner.end()
        appended = await selected.mailbox.replace(uid, content, asked.head.placement(asked.name))
    session.made(appended.folder_id, [appended.uid])
    # RFC 8508 3.4: before the EXPUNGE, which the updates that follow tell.
    code = responses.append_uid(appended.uidvalidity, [appended.uid])
    session.say("OK", "replacement ready", code)
    return Ok("REPLACE completed", await highest_if_qresync(session, True))


async def _uid(selected: Selected, asked: Replace) -> Uid:
    """Before anything is sent: what is gone cannot be replaced."""
    ranges = await named(selected, asked.wanted, uid=asked.uid)
    uids = await known(selected.view, ranges)
    if len(uids) == 1 and selected.view.is_gone(uids[0]):
        raise No("the message to replace was expunged", Code.EXPUNGEISSUED)  # RFC 5530 3
    if len(uids) != 1:
        raise No("the message to replace is not there", Code.NONEXISTENT)
    return Uid(uids[0])


REPLACE = Command("REPLACE", WHEN_SELECTED, _parser(uid=False), _handle, by_number=True, removes=True)
UID_REPLACE = Command("UID REPLACE", WHEN_SELECTED, _parser(uid=True), _handle, removes=True)
