"""NOTIFY (RFC 5465): what the client wants to be told unasked; `imap.notify` tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from imap import updates
from imap.command import AFTER_LOGIN, Command
from imap.commands.fetch.handle import fetch_unasked
from imap.commands.fetch.items import Item
from imap.commands.fetch.parse import FetchArgs, attributes
from imap.errors import BadSyntax, No
from imap.notify import MESSAGES, OF_SELECTED, WITH_NAMES, Event, Group, Notifier, Where, wanted
from imap.responses import Ok
from imap.session import EVERYTHING, Fetch, Session
from imap.types import Ranges, SequenceSet
from imap.wire.scanner import Scanner

MAX_GROUPS = 50
MAX_NAMES = 1000
_ITEMS = re.compile(rb" (?=\()")
_EVENTS = {event.value.upper(): event for event in Event}
_WHERE = {where.value: where for where in Where}
_BOTH = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE})


@dataclass(frozen=True, slots=True)
class Notify:
    """No groups: NONE. `unsupported`: an event was named that exists elsewhere only."""

    groups: tuple[Group, ...]
    status: bool = False
    unsupported: bool = False


def _parse(scanner: Scanner) -> Notify:
    """notify = "NOTIFY" SP (notify-set / notify-none); notify-set = "SET" [SP "STATUS"] SP event-groups"""
    scanner.space()
    if scanner.try_token(b"NONE"):
        scanner.end()
        return Notify(())
    scanner.token(b"SET")
    status = scanner.try_token(b" STATUS")
    groups: list[Group] = []
    unknown: list[str] = []
    while not scanner.at_end:
        scanner.space()
        groups.append(_group(scanner, unknown))
    if not groups:
        raise BadSyntax("event groups expected")
    if len(groups) > MAX_GROUPS or sum(len(group.names) for group in groups) > MAX_NAMES:
        raise No("this is too much to watch", "NOTIFICATIONOVERFLOW")  # RFC 5465 3.1
    if sum(group.where in OF_SELECTED for group in groups) > 1:
        raise BadSyntax("one group for the selected mailbox")  # RFC 5465 6.1
    return Notify(tuple(groups), status, bool(unknown))


def _group(scanner: Scanner, unknown: list[str]) -> Group:
    """event-group = "(" filter-mailboxes SP events ")" """
    scanner.token(b"(")
    where = _WHERE.get(scanner.keyword())
    if where is None:
        raise BadSyntax("unknown mailbox filter")
    names: list[str] = []
    if where in WITH_NAMES:
        scanner.space()
        names = scanner.parenthesised(scanner.mailbox) if scanner.peek() == b"(" else [scanner.mailbox()]
    scanner.space()
    events: set[Event] = set()
    items: tuple[Item, ...] = ()
    if not scanner.try_token(b"NONE"):

        def one() -> None:
            nonlocal items
            items = _event(scanner, where, events, unknown) or items

        scanner.parenthesised(one)
    scanner.token(b")")
    _check(where, events)
    return Group(where, tuple(names), frozenset(events), _fetch(items) if items else None)


def _event(scanner: Scanner, where: Where, events: set[Event], unknown: list[str]) -> tuple[Item, ...]:
    name = scanner.keyword()
    if name not in _EVENTS:  # event-ext = atom (RFC 5465 8), so it is NO, never BAD (RFC 5465 3.1)
        unknown.append(name)
        return ()
    events.add(_EVENTS[name])
    if _EVENTS[name] is not Event.MESSAGE_NEW or scanner.try_match(_ITEMS) is None:
        return ()
    if where not in OF_SELECTED:
        raise BadSyntax("only of the selected mailbox are messages fetched")  # RFC 5465 5.2
    return attributes(scanner)


def _check(where: Where, events: set[Event]) -> None:
    """RFC 5465 5: MessageNew and MessageExpunge go together, FlagChange goes with them; RFC 5465 6.1: of the selected
    mailbox only its messages."""
    if events & MESSAGES and not events >= _BOTH:
        raise BadSyntax("MessageNew and MessageExpunge belong together")
    if where in OF_SELECTED and events - MESSAGES:
        raise BadSyntax("this event is not one of the selected mailbox")


def _fetch(items: tuple[Item, ...]) -> Fetch:
    async def fetch(session: Session, ranges: Ranges) -> None:
        await fetch_unasked(session, FetchArgs(SequenceSet(ranges), items))

    return fetch


async def _handle(session: Session, asked: Notify) -> Ok:
    if asked.unsupported:
        supported = " ".join(event.value for event in Event)
        raise No("this event is not supported", f"BADEVENT ({supported})")  # RFC 5465 3.1
    if not asked.groups:
        session.notify(None)
        session.wanted = wanted(asked.groups)
        return Ok("NOTIFY completed")
    before, notifier = session.wanted, Notifier(asked.groups, session.link.wake)
    try:
        session.wanted = EVERYTHING
        await updates.tell(session, expunge=True)  # RFC 5465 3.1: an implicit NOOP
        session.wanted = wanted(asked.groups)
        await notifier.begin(session, status=asked.status)
    except BaseException:  # what was asked for before stays so
        notifier.close()
        session.wanted = before
        raise
    session.notify(notifier)
    return Ok("NOTIFY completed")


NOTIFY = Command("NOTIFY", AFTER_LOGIN, _parse, _handle)
