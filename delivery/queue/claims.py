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
    update,
)

from delivery.queue.owners import is_dead
from delivery.queue.prepared import Prepared
from delivery.queue.rows import StoredMessage, StoredRecipient, message_of, recipient_of
from delivery.queue.schema import RANK, RANKED, State, chunk, message, recipient
from message.content import BytesContent, Content

PAGE = 256  # due recipients looked at a time
ROUNDS = 8  # looks per claim; a destination that filled up is left out of the next one
HELD_MOST = 366 * 86_400.0  # seconds; what is held longer was planned by a clock that ran ahead
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
    `MAX_RECIPIENTS` each), and the domains and organisations it has no room left for."""

    groups: tuple[tuple[int, ...], ...]
    full: frozenset[str]
    full_owners: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Claimed:
    """One job's worth of leased rows. `content` where the message is small (`SMALL`)."""

    message: StoredMessage
    recipients: tuple[StoredRecipient, ...]
    content: Content | None = None


Choose = Callable[[Sequence[Candidate]], Choice]


def claim(
    connection: Connection, choose: Choose, full: Collection[str], *, now: float, owner: str, until: float
) -> list[Claimed]:
    """Lease what `choose` wants of what is due at `now`. `full`: domains that need not be looked at."""
    closed, owners = set(full), set[str]()
    claimed: list[Claimed] = []
    for _ in range(ROUNDS):
        page = _due(connection, now, closed, owners)
        choice = choose(page)
        if choice.groups:
            _lease(connection, choice.groups, owner=owner, until=until)
            claimed += _load(connection, choice.groups)
        if len(page) < PAGE or (choice.full <= closed and choice.full_owners <= owners):
            break
        closed |= choice.full
        owners |= choice.full_owners
    return claimed


def _due(connection: Connection, now: float, closed: Collection[str], owners: Collection[str]) -> list[Candidate]:
    """The longest due first. A level of priority counts like a quarter of an hour of waiting (RFC 6710 5.1): urgent
    mail passes what waits, and nothing, however much urgent mail there is, waits for ever."""
    asked = {"now": now, "closed": sorted(closed), "owners": sorted(owners)}
    ranked, plain = _page(connection, _RANKED_PAGE, asked), _page(connection, _PLAIN_PAGE, asked)
    return sorted((*ranked, *plain), key=lambda item: item.rank)[:PAGE] if ranked else plain


def _page(connection: Connection, page: Prepared, asked: dict[str, object]) -> list[Candidate]:
    return [Candidate(*row) for row in page.rows(connection, asked)]


def _of_page(due: ColumnElement[bool], rank: ColumnElement[float]) -> Prepared:
    open_ = (
        (recipient.c.state == State.WAITING.value)
        & (recipient.c.held.is_(False))
        & (recipient.c.domain.not_in(bindparam("closed", expanding=True)))
        & (recipient.c.organisation_id.not_in(bindparam("owners", expanding=True)))
    )
    return Prepared(
        select(
            recipient.c.id, recipient.c.queue_id, recipient.c.domain, recipient.c.organisation_id, rank.label("rank")
        )
        .where(open_ & due)
        .order_by(rank)
        .limit(PAGE)
        .with_for_update(skip_locked=True)  # PostgreSQL; SQLite has one writer and leaves it out
    )


# Built once: to build a statement takes longer than to run it.
_NOW = bindparam("now", type_=Double)
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
# The plus keeps SQLite from the index by time, in which all the ordinary mail that is due would be looked through.
_RANKED_PAGE = _of_page(text(RANKED) & (literal_column("+next_attempt") <= _NOW), literal_column(RANK))
_PLAIN_PAGE = _of_page((recipient.c.next_attempt <= _NOW) & (recipient.c.priority == 0), recipient.c.next_attempt)
_LEASE = Prepared(update(recipient).where(recipient.c.id.in_(_IDS)))
_RECIPIENTS = Prepared(select(recipient).where(recipient.c.id.in_(_IDS)))
_MESSAGES = Prepared(select(message).where(message.c.queue_id.in_(_IDS)))
_CONTENTS = Prepared(select(chunk.c.queue_id, chunk.c.data).where(chunk.c.queue_id.in_(_IDS), chunk.c.number == 0))
_NEXT = Prepared(
    select(recipient.c.next_attempt)
    .where(recipient.c.state == State.WAITING.value, recipient.c.held.is_(False))
    .order_by(recipient.c.next_attempt)
    .limit(1)
)


def _lease(connection: Connection, groups: Sequence[Sequence[int]], *, owner: str, until: float) -> None:
    ids = [id_ for group in groups for id_ in group]
    leased = {"state": State.ACTIVE.value, "lease_owner": owner, "lease_until": until}
    _LEASE.run(connection, {"ids": ids, **leased})


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


def next_due(connection: Connection) -> float | None:
    """When the next waiting recipient is due (Unix seconds); None when nothing waits."""
    found = _NEXT.one(connection, {})
    return None if found is None else float(found[0])


# --- leases ----------------------------------------------------------------------------------------------------------


def renew(connection: Connection, owner: str, until: float) -> int:
    """Prolong all leases of a living worker; how many it holds."""
    held = (recipient.c.state == State.ACTIVE.value) & (recipient.c.lease_owner == owner)
    return connection.execute(update(recipient).where(held).values(lease_until=until)).rowcount


def recover(connection: Connection, *, owner: str, now: float, longest: float) -> int:
    """Leases of others that are over wait again, at once. A lease further away than `longest` is a jump of the clock
    and over too (fault 163)."""
    over = (recipient.c.lease_until <= now) | (recipient.c.lease_until > now + longest)
    lost = (recipient.c.state == State.ACTIVE.value) & (recipient.c.lease_owner != owner) & over
    return connection.execute(update(recipient).where(lost).values(_free(now))).rowcount


def recover_dead(connection: Connection, *, owner: str, now: float) -> int:
    """What processes of this host held that are gone waits again without its lease having to run out."""
    holders = connection.execute(
        select(recipient.c.lease_owner)
        .where(recipient.c.state == State.ACTIVE.value, recipient.c.lease_owner != owner)
        .distinct()
    ).scalars()
    dead = [holder for holder in holders if is_dead(holder)]
    if not dead:
        return 0
    lost = (recipient.c.state == State.ACTIVE.value) & recipient.c.lease_owner.in_(dead)
    return connection.execute(update(recipient).where(lost).values(_free(now))).rowcount


def let_go(connection: Connection, *, owner: str, until: Collection[float], now: float) -> int:
    """Undo claims whose commit may have happened although its answer was lost: `until` tells them apart."""
    mine = (recipient.c.state == State.ACTIVE.value) & (recipient.c.lease_owner == owner)
    lost = mine & recipient.c.lease_until.in_(until)
    return connection.execute(update(recipient).where(lost).values(_free(now))).rowcount


def give_back(connection: Connection, *, owner: str, now: float) -> int:
    """A worker that ends in order leaves nothing leased."""
    mine = (recipient.c.state == State.ACTIVE.value) & (recipient.c.lease_owner == owner)
    return connection.execute(update(recipient).where(mine).values(_free(now))).rowcount


def put_back(connection: Connection, ids: Collection[int], *, owner: str, due: float) -> int:
    """What a worker holds and cannot bring to an end is tried again at `due`."""
    mine = recipient.c.id.in_(ids) & (recipient.c.state == State.ACTIVE.value) & (recipient.c.lease_owner == owner)
    return connection.execute(update(recipient).where(mine).values(_free(due))).rowcount


def pull_back(connection: Connection, *, now: float, horizon: float) -> int:
    """Attempts further away than any back-off were planned by a clock that ran ahead: they are due now (fault 163),
    unless their sender wants them held so long."""
    kept = select(message.c.queue_id).where(message.c.release_at.between(now, now + HELD_MOST))
    far = (recipient.c.state == State.WAITING.value) & (recipient.c.next_attempt > now + horizon)
    astray = far & recipient.c.queue_id.not_in(kept)
    return connection.execute(update(recipient).where(astray).values(next_attempt=now)).rowcount


def _free(due: float) -> dict[str, object]:
    return {"state": State.WAITING.value, "lease_owner": "", "lease_until": 0.0, "next_attempt": due}
