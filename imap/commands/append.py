"""APPEND (RFC 9051 6.3.12, RFC 4315) with several messages at once (MULTIAPPEND, RFC 3502): all or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import MailError
from directory.rights import Right
from imap import responses
from imap.command import AFTER_LOGIN, Command, Waiting
from imap.commands.incoming import Head, Incoming, read_head
from imap.errors import Code, No
from imap.permits import Place
from imap.progress import working
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner
from message.content import Content
from store.types import Appended, Placement


@dataclass(frozen=True, slots=True)
class Append:
    """`head` of the first message; `scanner` stands at its octets: the rest of the command is still to come."""

    name: str
    head: Head
    scanner: Scanner


def _parse(scanner: Scanner) -> Append:
    """append = "APPEND" SP mailbox 1*append-message"""
    scanner.space()
    name = scanner.mailbox()
    return Append(name, read_head(scanner), scanner)


@dataclass(frozen=True, slots=True)
class _Load:
    """What one command brought."""

    place: Place
    items: Sequence[tuple[Content, Placement]]


async def _handle(session: Session, asked: Append) -> Waiting:
    place = await session.store.landing(asked.name)
    if place is None:
        raise No("no such mailbox", Code.TRYCREATE)
    head = asked.head
    async with Incoming(session, asked.scanner, place.store) as incoming:
        items = [(await incoming.message(head), head.placement(asked.name))]
        while not incoming.scanner.at_end:
            head = read_head(incoming.scanner)
            items.append((await incoming.message(head), head.placement(asked.name)))
        return Waiting(_Load(place, items), _perform, len(items) == 1 and incoming.small, incoming.keep())


async def _perform(session: Session, loads: Sequence[_Load]) -> Sequence[Ok | MailError]:
    """Commit and answer, all or none of each command; commands that came together share their syncs."""
    with working(session):
        outcomes = await session.store.append_each([load.items for load in loads])
    for outcome in outcomes:
        if not isinstance(outcome, MailError):
            session.made(outcome[0].folder_id, [item.uid for item in outcome])
    return [_answer(load, outcome) for load, outcome in zip(loads, outcomes, strict=True)]


def _answer(load: _Load, outcome: Sequence[Appended] | MailError) -> Ok | MailError:
    if isinstance(outcome, MailError):
        return outcome
    if Right.READ not in load.place.rights:  # RFC 4315 3: who may not read there is told no UID
        return Ok("APPEND completed")
    return Ok("APPEND completed", responses.append_uid(outcome[0].uidvalidity, [item.uid for item in outcome]))


APPEND = Command("APPEND", AFTER_LOGIN, _parse, _handle, tells_spelling=((),))
