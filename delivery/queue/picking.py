"""Many messages at once, for administrators: which are meant, what is done to them in parts, and how the queue is
shaped: how many recipients wait for which destination, and since when (as Postfix's qshape tells it)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, case, delete, func, select, true, update

from delivery.queue.holds import OPEN, Hold, freed_of, held_by
from delivery.queue.results import finish
from delivery.queue.schema import State, message, recipient
from delivery.types import EVERYTHING, SHAPE_AGES, Action, Picked, QueueShape

PART = 200  # messages in one transaction: other writers have their turn in between
WAITS = (State.WAITING.value, State.ACTIVE.value)  # of the others the trace tells already what became of them
SHAPED = 1000  # lines of a shape: the longest


def which(organisation_id: str | None, picked: Picked) -> ColumnElement[bool]:
    """The recipients that are meant, of those that the administrator may see (promise P8)."""
    found = true() if organisation_id is None else recipient.c.organisation_id == organisation_id
    if picked.domain is not None:
        found &= recipient.c.domain == picked.domain
    if picked.held is not None:
        found &= recipient.c.held.is_(picked.held)
    if picked.sender is not None:
        found &= recipient.c.queue_id.in_(select(message.c.queue_id).where(message.c.sender == picked.sender))
    return found


def soon(now: float) -> ColumnElement[float]:
    """For an update of recipients: now, or when its sender wants it to go (RFC 4865): an administrator's haste is not
    his."""
    return (
        select(case((message.c.release_at > now, message.c.release_at), else_=now))
        .where(message.c.queue_id == recipient.c.queue_id)
        .scalar_subquery()
    )


def last(connection: Connection) -> str:
    """The queue id of the newest message: they sort by time."""
    return str(connection.execute(select(func.max(message.c.queue_id))).scalar() or "")


def part(
    connection: Connection, organisation_id: str | None, picked: Picked, action: Action, after: str, last: str
) -> list[str]:
    """The next messages behind `after` and up to `last` that have somebody who is meant."""
    meant = _meant(organisation_id, picked, action) & OPEN
    meant &= (recipient.c.queue_id > after) & (recipient.c.queue_id <= last)
    ids = select(recipient.c.queue_id).where(meant).distinct().order_by(recipient.c.queue_id).limit(PART)
    return list(connection.execute(ids).scalars())


def _meant(organisation_id: str | None, picked: Picked, action: Action) -> ColumnElement[bool]:
    """Many are released from what an administrator held. What a lock, a suspension or a removal holds is a hijacked
    account's, perhaps: it leaves when that is taken back, or when somebody has looked at it and names it."""
    meant = which(organisation_id, picked)
    if action == "release":
        meant &= recipient.c.holds.bitwise_and(Hold.ADMINISTRATOR.value) != 0
    return meant


def act(
    connection: Connection,
    organisation_id: str | None,
    picked: Picked,
    queue_ids: Sequence[str],
    action: Action,
    now: float,
) -> list[tuple[str, str, str, str]]:
    """What is done to one message, to those of these that are meant. Of who waited and was dropped: queue id, sender,
    address and organisation."""
    meant = _meant(organisation_id, picked, action) & recipient.c.queue_id.in_(queue_ids)
    if action == "drop":
        columns = (recipient.c.queue_id, message.c.sender, recipient.c.address, recipient.c.organisation_id)
        beside = message.c.queue_id == recipient.c.queue_id
        gone = connection.execute(
            select(*columns).join(message, beside).where(meant, recipient.c.state.in_(WAITS))
        ).all()
        dropped = [(str(a), str(b), str(c), str(d)) for a, b, c, d in gone]
        connection.execute(delete(recipient).where(meant))
        finish(connection, queue_ids)
        return dropped
    connection.execute(update(recipient).where(meant, OPEN).values(_values(action, now)))
    return []


def _values(action: Action, now: float) -> dict[str, object]:
    if action == "hold":
        return held_by(Hold.ADMINISTRATOR)
    due: dict[str, object] = {"next_attempt": soon(now)}
    return due if action == "retry" else {**freed_of(Hold.ADMINISTRATOR), **due}


def shape(connection: Connection, organisation_id: str | None, by: str, now: float) -> list[QueueShape]:
    """Recipients that wait, by their domain ("": a mailbox here) or their sender, the most first."""
    name = recipient.c.domain if by == "domain" else message.c.sender
    age = now - message.c.created
    bucket = case(*((age < minutes * 60, number) for number, minutes in enumerate(SHAPE_AGES)), else_=len(SHAPE_AGES))
    waiting = recipient.c.state.in_(WAITS)
    counts = (
        select(name, bucket, func.count())
        .join(message, message.c.queue_id == recipient.c.queue_id)
        .where(which(organisation_id, EVERYTHING) & waiting)
        .group_by(name, bucket)
    )
    lines: dict[str, list[int]] = defaultdict(lambda: [0] * (len(SHAPE_AGES) + 1))
    for named, number, count in connection.execute(counts):
        lines[str(named)][int(number)] += int(count)
    shapes = [QueueShape(named, sum(line), tuple(line)) for named, line in lines.items()]
    return sorted(shapes, key=lambda line: (-line.total, line.name))[:SHAPED]
