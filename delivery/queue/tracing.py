"""Where is my message? What was accepted and what became of it, kept for some months and searched by address,
Message-ID or queue id. No subject, no content (security.md section 8).

Entries are written in batches after the fact: a killed process loses the entries of its last second, never a message.
Every search is bounded by an organisation in one place (`_within`; promise P8).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, true

from delivery.queue.schema import trace
from delivery.types import TraceEntry

MESSAGES = 100  # messages one search tells about
ENTRIES = 1000
PURGED = 2000  # old entries removed at a time
LONGEST = 1000  # characters kept of one value


def add(connection: Connection, entries: Sequence[TraceEntry]) -> None:
    connection.execute(
        insert(trace),
        [
            {
                "at": entry.at,
                "queue_id": entry.queue_id,
                "organisation_id": entry.organisation_id,
                "event": entry.event,
                "sender": folded(entry.sender),
                "recipient": folded(entry.recipient),
                "message_id": entry.message_id[:LONGEST],
                "status": entry.status[:LONGEST],
                "remote": entry.remote[:LONGEST],
            }
            for entry in entries
        ],
    )


def folded(address: str) -> str:
    """As people search: without case."""
    return address.casefold()[:LONGEST]


def search(connection: Connection, organisation_id: str | None, text: str, since: float) -> list[TraceEntry]:
    """What is known of the newest messages that `text` names, in the order it happened. Where it is too much, what
    happened last is told: who asks looks for a message of today, not for the recipients of last week's newsletter."""
    wanted, message_id = folded(text.strip()), text.strip().removeprefix("<").removesuffix(">")
    if not message_id:
        return []  # or all notices, which have no sender, and all entries that repeat no Message-ID
    named = or_(
        trace.c.queue_id == wanted,
        trace.c.recipient == wanted,
        trace.c.sender == wanted,
        trace.c.message_id == message_id,
    )
    mine = _within(organisation_id) & (trace.c.at >= since)
    newest = connection.execute(
        select(trace.c.queue_id).where(mine, named).order_by(trace.c.at.desc(), trace.c.id.desc()).limit(ENTRIES)
    ).scalars()
    ids = list(dict.fromkeys(newest))[:MESSAGES]
    latest = select(trace).where(mine, trace.c.queue_id.in_(ids)).order_by(trace.c.at.desc(), trace.c.id.desc())
    rows = connection.execute(latest.limit(ENTRIES)).mappings().all()
    return [
        TraceEntry(
            at=row["at"],
            queue_id=row["queue_id"],
            organisation_id=row["organisation_id"],
            event=row["event"],
            sender=row["sender"],
            recipient=row["recipient"],
            message_id=row["message_id"],
            status=row["status"],
            remote=row["remote"],
        )
        for row in reversed(rows)
    ]


def purge(connection: Connection, before: float) -> int:
    old = select(trace.c.id).where(trace.c.at < before).limit(PURGED)
    return connection.execute(delete(trace).where(trace.c.id.in_(old))).rowcount


def _within(organisation_id: str | None) -> ColumnElement[bool]:
    return true() if organisation_id is None else trace.c.organisation_id == organisation_id
