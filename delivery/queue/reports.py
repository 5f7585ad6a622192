"""What is owed to senders: read, then settled in one transaction with the report's own place in the queue.

A crash between the two leaves the debt, one after them leaves the report: never none, never two (fault 147).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, select, text, update

from core.errors import ConflictError
from delivery.queue.entering import enqueue
from delivery.queue.homes import may_report
from delivery.queue.leases import NONE
from delivery.queue.results import finish
from delivery.queue.rows import NewMessage, StoredMessage, StoredRecipient, message_of, recipient_of
from delivery.queue.schema import OWING, Owed, message, recipient

MESSAGES = 50  # debts looked at a time


@dataclass(frozen=True, slots=True)
class Debt:
    """One message and those of its recipients about whom its sender has to be told one kind of thing."""

    message: StoredMessage
    owed: Owed
    recipients: tuple[StoredRecipient, ...]


def debts(connection: Connection, now: float, home: str = "", besides: Collection[str] = ()) -> list[Debt]:
    """Up to `MESSAGES` messages' debts, grouped by kind: a report tells of one action (RFC 3464 2.3.3). A list has its
    message when the members may have it: in its time (RFC 4865), and while nothing holds it. `besides`: messages that
    are left out."""
    wanted = _payable(now, home)
    if besides:
        wanted &= recipient.c.queue_id.not_in(sorted(besides))
    # Joined to nothing, so that SQLite does not walk all messages for the sake of DISTINCT.
    owing = select(recipient.c.queue_id.concat("")).where(text(OWING), wanted).distinct().limit(MESSAGES)
    found = []
    for queue_id in connection.execute(owing).scalars().all():
        row = connection.execute(select(message).where(message.c.queue_id == queue_id)).mappings().one()
        found += _of_message(connection, message_of(row), now, home)
    return found


def _payable(now: float, home: str) -> ColumnElement[bool]:
    open_to_members = (recipient.c.next_attempt <= now) & recipient.c.held.is_(False)
    payable = (recipient.c.owed != Owed.EXPANDED.value) | open_to_members
    return payable & may_report(home) if home else payable


def _of_message(connection: Connection, parent: StoredMessage, now: float, home: str) -> list[Debt]:
    rows = connection.execute(
        select(recipient)
        .where(recipient.c.queue_id == parent.queue_id, recipient.c.owed != Owed.NOTHING.value, _payable(now, home))
        .order_by(recipient.c.id)
    ).mappings()
    stored = [recipient_of(row) for row in rows]
    kinds = sorted({item.owed for item in stored}, key=lambda owed: owed.value)
    return [Debt(parent, kind, tuple(item for item in stored if item.owed is kind)) for kind in kinds]


def settle(connection: Connection, debt: Debt, report: NewMessage | None, *, now: float, home: str = "") -> None:
    """Pay: queue `report` (None: nothing is sent, the debt is dropped) and strike the debt. `ConflictError` when
    another worker was quicker; then nothing was done."""
    ids = [item.id for item in debt.recipients]
    _strike(connection, ids, debt.owed)
    if report is not None:
        enqueue(connection, report, now=now, lease=NONE, home=home)
    finish(connection, {debt.message.queue_id})


def _strike(connection: Connection, ids: Sequence[int], owed: Owed) -> None:
    struck = connection.execute(
        update(recipient).where(recipient.c.id.in_(ids), recipient.c.owed == owed.value).values(owed=Owed.NOTHING.value)
    ).rowcount
    if struck != len(ids):
        raise ConflictError("the report is already on its way", code="report-sent")
