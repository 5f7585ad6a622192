"""How a worker takes due recipients: leases, so that several workers never deliver one twice; fairness by asking the
caller's window which of the due ones it has room for, so that no destination hides the others (security.md row 141).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Double,
    bindparam,
    literal_column,
    select,
    text,
    true,
    update,
)

from delivery.queue.homes import may_deliver
from delivery.queue.leases import Lease
from delivery.queue.prepared import Prepared
from delivery.queue.rows import StoredMessage, StoredRecipient, message_of, recipient_of
from delivery.queue.schema import RANK, RANKED, State, chunk, message, recipient
from message.content import BytesContent, Content

PAGE = 256  # due recipients looked at a time
ROUNDS = 8  # looks per claim; a destination that filled up is left out of the next one
SMALL = 64 * 1024  # octets of a message that comes with its claim; the window of jobs bounds how many
MAX_RECIPIENTS = 100  # in one job: what every server takes (RFC 5321 4.5.3.1.8)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A due recipient that nobody holds. `rank`: the time since when it is due, moved by its priority."""

    id: int
    queue_id: str
    domain: str
    organisation_id: str = ""
    rank: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What a window takes of a page: groups of recipient ids of one message and one next hop (at most
    `MAX_RECIPIENTS` each), and the domains, the organisations and the organisations at a domain it has no room left
    for."""

    groups: tuple[tuple[int, ...], ...]
    full: frozenset[str]
    full_owners: frozenset[str] = frozenset()
    full_parts: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Claimed:
    """One job's worth of leased rows. `content` where the message is small (`SMALL`)."""

    message: StoredMessage
    recipients: tuple[StoredRecipient, ...]
    content: Content | None = None


# Asked of each page, and of an empty one when the look is over.
Choose = Callable[[Sequence[Candidate]], Choice]


def claim(
    connection: Connection, choose: Choose, full: Collection[str], *, now: float, lease: Lease, home: str = ""
) -> list[Claimed]:
    """Lease what `choose` wants of what is due at `now`. `full`: domains that need not be looked at. `home`: the
    instance that asks, where there are several (`homes`)."""
    closed, owners, parts = set(full), set[str](), set[tuple[str, str]]()
    claimed: list[Claimed] = []
    for round_ in range(ROUNDS):
        page = _due(connection, _Asked(now, closed, owners, parts, home))
        choice = choose(page)
        claimed += _taken(connection, choice, lease)
        nothing_new = choice.full <= closed and choice.full_owners <= owners and choice.full_parts <= parts
        if len(page) < PAGE or nothing_new:
            break
        closed |= choice.full
        owners |= choice.full_owners
        parts |= choice.full_parts
        if round_ >= ROUNDS // 2:  # one who wrote to people of very many domains behind one server hides nobody
            owners |= {owner for _, owner in choice.full_parts}
    return claimed + _taken(connection, choose(()), lease)


def _taken(connection: Connection, choice: Choice, lease: Lease) -> list[Claimed]:
    if not choice.groups:
        return []
    _lease(connection, choice.groups, lease)
    return _load(connection, choice.groups)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A look at what is due: the domains, organisations and organisations at a domain that are left out."""

    now: float
    closed: Collection[str]
    owners: Collection[str]
    parts: Collection[tuple[str, str]]
    home: str

    def values(self) -> dict[str, object]:
        parts = sorted(f"{domain} {owner}" for domain, owner in self.parts)
        found: dict[str, object] = {
            "now": self.now, "closed": sorted(self.closed), "owners": sorted(self.owners), "parts": parts
        }  # fmt: skip
        return {**found, "home": self.home} if self.home else found


def _due(connection: Connection, asked: _Asked) -> list[Candidate]:
    """The longest due first. A level of priority counts like a quarter of an hour of waiting (RFC 6710 5.1): urgent
    mail passes what waits, and nothing, however much urgent mail there is, waits for ever."""
    pages, values = _PAGES_OF_ONE if asked.home else _PAGES_OF_ALL, asked.values()
    ranked, plain = (_page(connection, page, values) for page in pages)
    return sorted((*ranked, *plain), key=lambda item: item.rank)[:PAGE] if ranked else plain


def _page(connection: Connection, page: Prepared, asked: dict[str, object]) -> list[Candidate]:
    return [Candidate(*row) for row in page.rows(connection, asked)]


def _of_page(due: ColumnElement[bool], rank: ColumnElement[float], mine: ColumnElement[bool]) -> Prepared:
    open_ = (
        (recipient.c.state == State.WAITING.value)
        & (recipient.c.held.is_(False))
        & (recipient.c.domain.not_in(bindparam("closed", expanding=True)))
        & (recipient.c.organisation_id.not_in(bindparam("owners", expanding=True)))
        & ((recipient.c.domain + " " + recipient.c.organisation_id).not_in(bindparam("parts", expanding=True)))
    )
    return Prepared(
        select(
            recipient.c.id, recipient.c.queue_id, recipient.c.domain, recipient.c.organisation_id, rank.label("rank")
        )
        .where(open_ & due & mine)
        .order_by(rank)
        .limit(PAGE)
        .with_for_update(skip_locked=True)  # PostgreSQL; SQLite has one writer and leaves it out
    )


# Built once: to build a statement takes longer than to run it.
_NOW = bindparam("now", type_=Double)
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)


# The plus keeps SQLite from the index by time, in which all the ordinary mail that is due would be looked through.
def _pages(mine: ColumnElement[bool]) -> tuple[Prepared, Prepared]:
    return (
        _of_page(text(RANKED) & (literal_column("+next_attempt") <= _NOW), literal_column(RANK), mine),
        _of_page((recipient.c.next_attempt <= _NOW) & (recipient.c.priority == 0), recipient.c.next_attempt, mine),
    )


# The index that the look stays in knows no instances: only where there are several is it asked for them.
_PAGES_OF_ALL, _PAGES_OF_ONE = _pages(true()), _pages(may_deliver())
_LEASE = Prepared(update(recipient).where(recipient.c.id.in_(_IDS)))
_RECIPIENTS = Prepared(select(recipient).where(recipient.c.id.in_(_IDS)))
_MESSAGES = Prepared(select(message).where(message.c.queue_id.in_(_IDS)))
_CONTENTS = Prepared(select(chunk.c.queue_id, chunk.c.data).where(chunk.c.queue_id.in_(_IDS), chunk.c.number == 0))


def _first(mine: ColumnElement[bool]) -> Prepared:
    waiting = (recipient.c.state == State.WAITING.value) & recipient.c.held.is_(False)
    return Prepared(select(recipient.c.next_attempt).where(waiting & mine).order_by(recipient.c.next_attempt).limit(1))


_NEXT_OF_ALL, _NEXT_OF_ONE = _first(true()), _first(may_deliver())


def _lease(connection: Connection, groups: Sequence[Sequence[int]], lease: Lease) -> None:
    ids = [id_ for group in groups for id_ in group]
    _LEASE.run(connection, {"ids": ids, "state": State.ACTIVE.value, **lease.columns()})


def _load(connection: Connection, groups: Sequence[Sequence[int]]) -> list[Claimed]:
    rows = _RECIPIENTS.mappings(connection, {"ids": [id_ for group in groups for id_ in group]})
    stored = {item.id: item for item in map(recipient_of, rows)}
    parents = _MESSAGES.mappings(connection, {"ids": sorted({item.queue_id for item in stored.values()})})
    messages = {item.queue_id: item for item in map(message_of, parents)}
    contents = _contents(connection, [item.queue_id for item in messages.values() if item.size <= SMALL])
    found = []
    for group in groups:
        parent = messages[stored[group[0]].queue_id]
        found.append(Claimed(parent, tuple(stored[id_] for id_ in group), contents.get(parent.queue_id)))
    return found


def _contents(connection: Connection, queue_ids: Sequence[str]) -> dict[str, Content]:
    """Of small messages, each one row: they come with the claim, in one look for all."""
    if not queue_ids:
        return {}
    return {queue_id: BytesContent(data) for queue_id, data in _CONTENTS.rows(connection, {"ids": queue_ids})}


def next_due(connection: Connection, home: str = "") -> float | None:
    """When the next waiting recipient is due (Unix seconds) that `claim` would give; None when nothing waits."""
    found = _NEXT_OF_ONE.one(connection, {"home": home}) if home else _NEXT_OF_ALL.one(connection, {})
    return None if found is None else float(found[0])
