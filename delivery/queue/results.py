"""How results come back into the queue, and how a message leaves it: when nobody waits and nothing is owed.

What a result means is decided by the caller's pure rule (`delivery.outcome`); this file only writes it down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    bindparam,
    delete,
    exists,
    select,
    update,
)

from delivery.queue.leases import NONE
from delivery.queue.prepared import Prepared
from delivery.queue.rows import Row, StoredMessage, StoredRecipient, message_of, recipient_of
from delivery.queue.schema import Owed, State, chunk, message, recipient
from delivery.types import Result


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one result comes to for one recipient. `state` is WAITING, DELIVERED or FAILED; `owed` what the sender has
    to be told; `reason` a stable word for the log."""

    state: State
    next_attempt: float
    last_status: str
    owed: Owed
    reason: str
    delay_told: bool = False


Judge = Callable[[StoredMessage, StoredRecipient, Result], Outcome]


@dataclass(frozen=True, slots=True)
class Settled:
    """One result as it was written down, for the log."""

    message: StoredMessage
    recipient: StoredRecipient
    result: Result
    outcome: Outcome


def apply(connection: Connection, results: Sequence[Result], judge: Judge, *, owner: str, now: float) -> list[Settled]:
    """Write results of `owner`'s leases. A row that is no longer its own (dropped, or its lease went to another) is
    left alone: the other's result counts."""
    settled: list[Settled] = []
    gone: list[str] = []
    written: set[str] = set()
    ids = [result.recipient_id for result in results]
    if connection.dialect.name == "postgresql":
        _in_turn(connection, recipient.c.id.in_(ids))
    rows = {row["id"]: row for row in _HELD.mappings(connection, {"ids": ids, "owner": owner})}
    together = Counter(row["queue_id"] for row in rows.values())
    for result in results:
        row = rows.pop(result.recipient_id, None)
        if row is None:
            continue
        item = _judged(_parent(row), recipient_of(row), result, judge)
        settled.append(item)
        unended = item.outcome.state is State.WAITING or item.outcome.owed is not Owed.NOTHING
        if row["others"] or unended:
            _write(connection, item, now)
            if together[row["queue_id"]] > 1:  # perhaps the others end here, too
                written.add(row["queue_id"])
        else:  # the last one of its message, as nearly always: what would be written would be deleted at once
            gone.append(row["queue_id"])
    remove(connection, gone)
    _finish(connection, sorted(written))
    return settled


def _in_turn(connection: Connection, which: ColumnElement[bool]) -> None:
    """PostgreSQL lets two transactions end the last two recipients of a message side by side: each would leave the
    message to the other, and it would stay for ever. SQLite has one writer."""
    concerned = select(recipient.c.queue_id).where(which)
    mine = select(message.c.queue_id).where(message.c.queue_id.in_(concerned)).order_by(message.c.queue_id)
    connection.execute(mine.with_for_update(key_share=True))


def _open(row: FromClause) -> ColumnElement[bool]:
    """Somebody has to be delivered to, or told."""
    return row.c.state.in_((State.WAITING.value, State.ACTIVE.value)) | (row.c.owed != Owed.NOTHING.value)


_other = recipient.alias("other")
_PARENT = "message_"  # before the names of its columns, some of which recipients have, too
# A recipient that the owner holds, its message, and whether that message has others that are open.
_HELD = Prepared(
    select(
        recipient,
        *(column.label(_PARENT + column.name) for column in message.c),
        exists()
        .where((_other.c.queue_id == recipient.c.queue_id) & (_other.c.id != recipient.c.id) & _open(_other))
        .label("others"),
    )
    .join(message, message.c.queue_id == recipient.c.queue_id)
    .where(recipient.c.id.in_(bindparam("ids", expanding=True)) & (recipient.c.lease_owner == bindparam("owner")))
)


# Built once: to build a statement takes longer than to run it.
_WRITE = Prepared(update(recipient).where(recipient.c.id == bindparam("row")))
_REMOVE = tuple(
    Prepared(delete(table).where(table.c.queue_id.in_(bindparam("gone", expanding=True))))
    for table in (recipient, chunk, message)
)


def _parent(row: Row) -> StoredMessage:
    return message_of({column.name: row[_PARENT + column.name] for column in message.c})


def settle(connection: Connection, stored: StoredRecipient, result: Result, judge: Judge, now: float) -> Settled:
    """Write down what the rule says of one result."""
    parent = message_of(
        connection.execute(select(message).where(message.c.queue_id == stored.queue_id)).mappings().one()
    )
    item = _judged(parent, stored, result, judge)
    _write(connection, item, now)
    return item


def _judged(parent: StoredMessage, stored: StoredRecipient, result: Result, judge: Judge) -> Settled:
    return Settled(parent, stored, result, judge(parent, stored, result))


def _write(connection: Connection, item: Settled, now: float) -> None:
    stored, result, outcome = item.recipient, item.result, item.outcome
    _WRITE.run(
        connection,
        {
            "row": stored.id,
            "state": outcome.state.value,
            "attempts": stored.attempts + 1,
            "next_attempt": outcome.next_attempt,
            "last_attempt": now,
            "last_status": outcome.last_status,
            "remote": result.remote,
            "diagnostic": result.diagnostic,
            **NONE.columns(),
            "owed": _still_owed(stored, outcome).value,
            "delay_told": outcome.delay_told,
        },
    )


def _still_owed(stored: StoredRecipient, outcome: Outcome) -> Owed:
    """A delay that was not told yet stays to be told while the recipient waits on: the next attempt may end before the
    notice of the last one is made."""
    unpaid = outcome.state is State.WAITING and outcome.owed is Owed.NOTHING
    return stored.owed if unpaid else outcome.owed


def finish(connection: Connection, queue_ids: Iterable[str]) -> None:
    """Remove those messages that have nobody left to deliver to and nothing left to tell."""
    ids = sorted(queue_ids)
    if connection.dialect.name == "postgresql":
        _in_turn(connection, recipient.c.queue_id.in_(ids))
    _finish(connection, ids)


def _finish(connection: Connection, queue_ids: Sequence[str]) -> None:
    for queue_id in queue_ids:
        open_rows = (recipient.c.queue_id == queue_id) & _open(recipient)
        if not connection.execute(select(exists().where(open_rows))).scalar():
            remove(connection, [queue_id])


def remove(connection: Connection, queue_ids: Sequence[str]) -> None:
    """The messages, their bytes and their recipients, whatever their state."""
    if queue_ids:
        for statement in _REMOVE:
            statement.run(connection, {"gone": queue_ids})
