"""Which of several instances on one queue may do what only one can: put mail into the mailboxes of its own disk,
and tell the senders whose mail it accepted what became of it. What leaves for other servers is anybody's.

An instance is known by its host name. A queue in a file has one instance, and everything in it is everybody's ("").
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, bindparam, or_

from delivery.queue.schema import recipient

_OURS = recipient.c.home.in_(["", bindparam("home")])


def may_deliver() -> ColumnElement[bool]:
    """With a parameter "home": the instance that asks. A local recipient has no domain."""
    return or_(recipient.c.domain != "", _OURS)


def may_report(home: str) -> ColumnElement[bool]:
    return recipient.c.home.in_(["", home])
