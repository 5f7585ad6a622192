"""Counts of TLS sessions, kept by day and domain until their report is made (RFC 8460 4). Numbers and words only.

A day's counts of a domain leave in the same transaction in which the mail that reports them enters the queue: whichever
worker does it first, there is one report (compare `reports`). What is posted leaves nothing in the queue: who posts
takes the report for himself first, and says what was taken of him.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

from sqlalchemy import Connection, delete, select, update

from core.errors import ConflictError
from delivery.queue.entering import enqueue
from delivery.queue.leases import NONE
from delivery.queue.once import insert_once
from delivery.queue.rows import NewMessage
from delivery.queue.schema import about, tls

PAGE = 1000  # domains of a day handled at a time
ROWS = 2000  # of one domain and day in a report; what is past them is dropped: someone varies names or addresses


@dataclass(frozen=True, slots=True)
class TlsKey:
    """What is counted. `policy`: JSON of the policy a session was held under; `failure` "" for success."""

    day: int
    domain: str
    policy: str
    host: str
    address: str
    source: str
    failure: str
    reason: str

    @property
    def digest(self) -> str:
        return hashlib.sha256("\0".join(map(str, astuple(self))).encode()).hexdigest()


def add(connection: Connection, counts: Mapping[TlsKey, int]) -> None:
    """In one order, so that two workers who count the same things do not wait for each other."""
    for key, sessions in sorted(counts.items(), key=lambda item: item[0].digest):
        here = (tls.c.day == key.day) & (tls.c.domain == key.domain) & (tls.c.key == key.digest)
        more = update(tls).where(here).values(sessions=tls.c.sessions + sessions)
        if connection.execute(more).rowcount == 0 and not insert_once(connection, tls, _values(key, sessions)):
            connection.execute(more)  # another worker counted the first of its kind at the same moment


def _values(key: TlsKey, sessions: int) -> dict[str, object]:
    return {
        "day": key.day,
        "domain": key.domain,
        "key": key.digest,
        "policy": key.policy,
        "host": key.host,
        "address": key.address,
        "source": key.source,
        "failure": key.failure,
        "reason": key.reason,
        "sessions": sessions,
    }


def days(connection: Connection, before: int) -> list[tuple[int, str]]:
    """(day, domain) of days that are over, oldest first."""
    rows = connection.execute(
        select(tls.c.day, tls.c.domain)
        .where(tls.c.day < before)
        .distinct()
        .order_by(tls.c.day, tls.c.domain)
        .limit(PAGE)
    )
    return [(row.day, row.domain) for row in rows]


def counts(connection: Connection, day: int, domain: str) -> dict[TlsKey, int]:
    rows = connection.execute(
        select(tls)
        .where(tls.c.day == day, tls.c.domain == domain)
        .order_by(tls.c.sessions.desc(), tls.c.key)
        .limit(ROWS)
    ).mappings()
    return {
        TlsKey(
            row["day"], row["domain"], row["policy"], row["host"], row["address"], row["source"], row["failure"],
            row["reason"],
        ): row["sessions"]
        for row in rows
    }  # fmt: skip


def claim(connection: Connection, day: int, domain: str, *, now: float, term: float) -> frozenset[str] | None:
    """Who may post a report for `term` seconds, and where it was posted already (`posted`); None: another worker does
    so now, or it is settled. Who dies over it leaves it to others when its time is over."""
    key = _claimed(day, domain)
    known = connection.execute(select(about.c.value).where(about.c.key == key)).scalar()
    until, *done = str(known or "0").split()
    if now < float(until) <= now + 2 * term:  # further away: of a clock that ran ahead, not of one a little before ours
        return None
    value = " ".join((f"{now + term:.0f}", *done))
    if known is None:
        mine = insert_once(connection, about, {"key": key, "value": value})
    else:
        taken = update(about).where(about.c.key == key, about.c.value == known).values(value=value)
        mine = connection.execute(taken).rowcount == 1
    if not mine:
        return None
    here = (tls.c.day == day) & (tls.c.domain == domain)
    if connection.execute(select(tls.c.key).where(here).limit(1)).first() is None:
        connection.execute(delete(about).where(about.c.key == key))
        return None
    return frozenset(done)


def posted(connection: Connection, day: int, domain: str, done: Iterable[str]) -> None:
    """Give up the claim; `done`: words, without blanks, for where the report need not be posted again."""
    value = " ".join(("0", *sorted(done)))
    connection.execute(update(about).where(about.c.key == _claimed(day, domain)).values(value=value))


def _claimed(day: int, domain: str) -> str:
    return f"tls-{hashlib.sha256(f'{day} {domain}'.encode()).hexdigest()[:28]}"


def settle(connection: Connection, day: int, domain: str, mails: Sequence[NewMessage], *, now: float) -> None:
    """Forget a day's counts and queue what reports them. `ConflictError` when another worker was quicker."""
    gone = connection.execute(delete(tls).where(tls.c.day == day, tls.c.domain == domain)).rowcount
    if not gone:
        raise ConflictError("the report is already on its way", code="report-sent")
    connection.execute(delete(about).where(about.c.key == _claimed(day, domain)))
    for mail in mails:
        enqueue(connection, mail, now=now, lease=NONE)
