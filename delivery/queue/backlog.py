"""What a host that cannot be reached means for everything else that is due for its domain: the same answer, without an
attempt each (security.md row 141).

A part at a time, along the domain's own index: 50,000 rows are never looked at twice, and nobody's mail waits at the
door of the database while they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, select, update

from core.status import Status
from delivery.queue.results import Judge, Settled, finish, settle
from delivery.queue.rows import recipient_of
from delivery.queue.schema import State, message, recipient
from delivery.types import Result, ResultKind

MOVED = 500  # rows looked at in one transaction
JUDGED = 50  # of them, those that go through the rule: each is some statements of its own


@dataclass(frozen=True, slots=True)
class Backlog:
    """`status` is a deferral; rows of messages created before `expired` are over, those before `late` want a notice
    unless they had it, and those with a time limit have a rule of their own (RFC 2852): they go through the rule one by
    one."""

    domain: str
    next_attempt: float
    status: Status
    diagnostic: str
    expired: float
    late: float


def put_off(
    connection: Connection, backlog: Backlog, judge: Judge, *, now: float, after: int = 0
) -> tuple[list[Settled], int]:
    """Apply a backlog to due, waiting, not held recipients of its domain whose id is greater than `after`. What the
    rule judged, and the id to go on after (0: there are no more)."""
    if not after and not _any(connection, backlog, now):
        return [], 0  # most often: all of it was put off before
    page = _page(connection, backlog, now, after)
    if not page:
        return [], 0
    owing = [id_ for id_, owes in page if owes]
    last = page[-1][0]
    if len(owing) > JUDGED:
        owing = owing[:JUDGED]
        last = owing[-1]
    settled = _judged(connection, backlog, owing, judge, now)
    _move(connection, backlog, (after, last), owing, now)
    return settled, last if len(page) == MOVED or last < page[-1][0] else 0


def _any(connection: Connection, backlog: Backlog, now: float) -> bool:
    """By the index of all that is due."""
    due = (recipient.c.domain == backlog.domain) & (recipient.c.next_attempt <= now)
    waits = (recipient.c.state == State.WAITING.value) & recipient.c.held.is_(False)
    return connection.execute(select(recipient.c.id).where(due, waits).limit(1)).scalar() is not None


def _page(connection: Connection, backlog: Backlog, now: float, after: int) -> list[tuple[int, bool]]:
    """Ids, and whether the rule has a say. By the index of the domain, whose rows come in the order of their ids; what
    is added to the time keeps SQLite off the index of all that is due, which it would have to sort for each part."""
    rows = connection.execute(
        select(recipient.c.id, recipient.c.delay_told, message.c.created, message.c.deliver_by)
        .join(message, message.c.queue_id == recipient.c.queue_id)
        .where(*_due(backlog, now), recipient.c.id > after)
        .order_by(recipient.c.id)
        .limit(MOVED)
    )
    first = max(backlog.late, backlog.expired)
    return [
        (row.id, row.deliver_by > 0 or row.created <= (backlog.expired if row.delay_told else first)) for row in rows
    ]


def _judged(connection: Connection, backlog: Backlog, ids: Sequence[int], judge: Judge, now: float) -> list[Settled]:
    rows = connection.execute(
        select(recipient)
        .where(recipient.c.id.in_(ids), *_due(backlog, now))
        .with_for_update(skip_locked=True)  # PostgreSQL: what another instance claims this moment is its own
    )
    settled = []
    for stored in map(recipient_of, rows.mappings().all()):
        result = Result(stored.id, ResultKind.DEFERRED, backlog.status, "", backlog.diagnostic)
        settled.append(settle(connection, stored, result, judge, now))
    finish(connection, {item.message.queue_id for item in settled})
    return settled


def _move(connection: Connection, backlog: Backlog, between: tuple[int, int], but: Sequence[int], now: float) -> None:
    """Those with ids past the first and up to the second number; by numbers, because lists cost twice as much."""
    after, last = between
    part = (recipient.c.id > after) & (recipient.c.id <= last)
    connection.execute(
        update(recipient)
        .where(*_due(backlog, now), part & recipient.c.id.not_in(but) if but else part)
        .values(
            next_attempt=backlog.next_attempt,
            last_attempt=now,
            last_status=str(backlog.status),
            diagnostic=backlog.diagnostic,
            remote="",
            attempts=recipient.c.attempts + 1,
        )
    )


def _due(backlog: Backlog, now: float) -> tuple[ColumnElement[bool], ...]:
    """Asked again when rows are written: between the look and the lock they may have become another's."""
    return (
        recipient.c.domain == backlog.domain,
        recipient.c.state == State.WAITING.value,
        recipient.c.held.is_(False),
        recipient.c.next_attempt + 0.0 <= now,
    )
