"""How results come back into the queue, and how a message leaves it: when nobody waits and nothing is owed.

What a result means is decided by the caller's pure rule (`delivery.outcome`); this file only writes it down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, select, update

from delivery.queue.rows import StoredMessage, StoredRecipient, message_of, recipient_of
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
    settled = []
    for result in results:
        mine = (recipient.c.id == result.recipient_id) & (recipient.c.lease_owner == owner)
        row = connection.execute(select(recipient).where(mine)).mappings().one_or_none()
        if row is not None:
            settled.append(settle(connection, recipient_of(row), result, judge, now))
    finish(connection, {item.message.queue_id for item in settled})
    return settled


def settle(connection: Connection, stored: StoredRecipient, result: Result, judge: Judge, now: float) -> Settled:
    """Write down what the rule says of one result."""
    parent = _message(connection, stored.queue_id)
    outcome = judge(parent, stored, result)
    connection.execute(
        update(recipient)
        .where(recipient.c.id == stored.id)
        .values(
            state=outcome.state.value,
            attempts=stored.attempts + 1,
            next_attempt=outcome.next_attempt,
            last_attempt=now,
            last_status=outcome.last_status,
            remote=result.remote,
            diagnostic=result.diagnostic,
            lease_owner="",
            lease_until=0.0,
            owed=_still_owed(stored, outcome).value,
            delay_told=outcome.delay_told,
        )
    )
    return Settled(parent, stored, result, outcome)


def _still_owed(stored: StoredRecipient, outcome: Outcome) -> Owed:
    """A delay that was not told yet stays to be told while the recipient waits on: the next attempt may end before the
    notice of the last one is made."""
    unpaid = outcome.state is State.WAITING and outcome.owed is Owed.NOTHING
    return stored.owed if unpaid else outcome.owed


def _message(connection: Connection, queue_id: str) -> StoredMessage:
    return message_of(connection.execute(select(message).where(message.c.queue_id == queue_id)).mappings().one())


def finish(connection: Connection, queue_ids: Iterable[str]) -> None:
    """Remove those messages that have nobody left to deliver to and nothing left to tell."""
    for queue_id in sorted(queue_ids):
        open_states = (State.WAITING.value, State.ACTIVE.value)
        open_rows = (recipient.c.queue_id == queue_id) & (
            recipient.c.state.in_(open_states) | (recipient.c.owed != Owed.NOTHING.value)
        )
        if not connection.execute(select(exists().where(open_rows))).scalar():
            remove(connection, queue_id)


def remove(connection: Connection, queue_id: str) -> None:
    """The message, its bytes and its recipients, whatever their state."""
    for table in (recipient, chunk, message):
        connection.execute(delete(table).where(table.c.queue_id == queue_id))
