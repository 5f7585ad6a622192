"""What becomes of the mail of an account that is gone. What nobody held goes on: it was accepted. What a lock or a
suspension held can be let go by neither any more, for there is no such account: it shows one more reason, waits for an
administrator who releases or drops it, and is returned to its sender when it has waited for a message's lifetime.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, case, select, text, update

from core.status import refused
from delivery.queue.holds import OPEN, Hold, freed_of, held_by, of_accounts
from delivery.queue.results import Judge, Settled, finish, settle
from delivery.queue.rows import recipient_of
from delivery.queue.schema import OWING, Owed, State, message, recipient
from delivery.types import Result, ResultKind

PAGE = 50  # recipients that end in one transaction
GONE = refused("held, and its sender's mailbox was removed meanwhile", "sender-removed", "5.7.1")

_LEFT_BEHIND = recipient.c.holds.bitwise_and((Hold.LOCK | Hold.SUSPENSION).value) != 0
_MARKED = recipient.c.holds.bitwise_and(Hold.REMOVAL.value) != 0
_KEPT_BY_HAND = recipient.c.holds.bitwise_and(Hold.ADMINISTRATOR.value) != 0


def mark(connection: Connection, account_ids: Collection[str], now: float) -> None:
    """From now on their time runs: `next_attempt` keeps its beginning, for nothing else is planned for what is held.
    What is being tried this moment is marked by a later look."""
    mine = of_accounts(account_ids) & OPEN & (recipient.c.state != State.ACTIVE.value) & _LEFT_BEHIND & ~_MARKED
    connection.execute(update(recipient).where(mine).values({**held_by(Hold.REMOVAL), "next_attempt": now}))


def unmark(connection: Connection, account_ids: Collection[str], now: float) -> None:
    """The accounts are there again (an older directory was put back): their holds are somebody's to let go."""
    mine = of_accounts(account_ids) & OPEN & _MARKED
    wanted = select(case((message.c.release_at > now, message.c.release_at), else_=now))
    due = wanted.where(message.c.queue_id == recipient.c.queue_id).scalar_subquery()
    connection.execute(update(recipient).where(mine).values({**freed_of(Hold.REMOVAL), "next_attempt": due}))


def end(connection: Connection, judge: Judge, *, marked_before: float, now: float) -> list[Settled]:
    """Return a page of those whose time is over; what an administrator holds, too, waits for him. The notice of a list
    that was held with them is owed to nobody any more."""
    over = recipient.c.held.is_(True) & (recipient.c.next_attempt <= marked_before) & _MARKED & ~_KEPT_BY_HAND
    waiting = over & (recipient.c.state == State.WAITING.value)
    rows = connection.execute(select(recipient).where(waiting).order_by(recipient.c.id).limit(PAGE).with_for_update())
    settled = [
        settle(connection, stored, Result(stored.id, ResultKind.FAILED, GONE), judge, now)
        for stored in map(recipient_of, rows.mappings().all())
    ]
    lists = over & text(OWING) & (recipient.c.owed == Owed.EXPANDED.value)
    told = connection.execute(select(recipient.c.queue_id).where(lists)).scalars().all()
    if told:
        connection.execute(update(recipient).where(lists).values(owed=Owed.NOTHING.value))
    finish(connection, {item.message.queue_id for item in settled} | set(told))
    return settled
