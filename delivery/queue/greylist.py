"""What greylisting remembers: one row a key, in the database that all processes share and that outlives them.

Bounded by `Terms.entries`: when it is full, what is over goes first, then what came longest ago.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, select, update

from antispam.greylist import Greylisting, Memory, Terms, judge
from delivery.queue.once import insert_once
from delivery.queue.schema import greylist

ROOM = 50  # one part of so many is made free at a time


def ask(connection: Connection, key: str, now: float, terms: Terms) -> Greylisting:
    """The outcome for this key, remembered."""
    mine = greylist.c.digest == key
    row = connection.execute(select(greylist).where(mine).with_for_update()).mappings().one_or_none()
    before = None if row is None else Memory(row["first"], row["last"], returned=row["returned"])
    outcome, after = judge(before, now, terms)
    values = {"first": after.first, "last": after.last, "returned": after.returned}
    if before is None:
        _make_room(connection, now, terms)
        # Who comes to two instances at once is new to both: the row of either will do.
        insert_once(connection, greylist, {"digest": key, **values})
    elif after is not before:
        connection.execute(update(greylist).where(mine).values(**values))
    return outcome


def _make_room(connection: Connection, now: float, terms: Terms) -> None:
    if (connection.execute(select(func.count()).select_from(greylist)).scalar() or 0) < terms.entries:
        return
    waiting = ~greylist.c.returned & (greylist.c.last < now - terms.window)
    known = greylist.c.returned & (greylist.c.last < now - terms.keep)
    gone = connection.execute(delete(greylist).where(waiting | known)).rowcount
    if gone:
        return
    oldest = select(greylist.c.digest).order_by(greylist.c.last).limit(max(terms.entries // ROOM, 1))
    connection.execute(delete(greylist).where(greylist.c.digest.in_(oldest)))
