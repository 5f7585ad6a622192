"""When recipients are due, on a clock that somebody set: attempts are planned by the wall clock, which people, reports
and senders' wishes go by, and are planned again when it goes back (fault 163).

How far the wall clock stands from one that never goes back is kept in the database, so that a jump is noticed though it
came while nobody ran, and by one worker of a machine alone. A clock that goes forward makes mail due early, which harms
nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, case, select, update

from delivery.queue.once import insert_once
from delivery.queue.schema import State, about, message, recipient

HELD_MOST = 366 * 86_400.0  # seconds; what is held longer was planned by a clock that ran ahead
NOTICED = 2.0  # seconds that a clock may go back without anybody minding


@dataclass(frozen=True, slots=True)
class Stand:
    """Of a machine's clocks. `boot`: which start of the machine its monotonic clock counts from; `ahead`: seconds by
    which the wall clock is ahead of it. They are slowed and hastened together: only a jump changes it."""

    machine: str
    boot: str
    ahead: float


def replan(connection: Connection, stand: Stand, now: float) -> float:
    """Bring forward what waits by the seconds that the wall clock went back since the last look, which are returned
    (0.0: it did not); at the latest it is due when it was to be, and not before the time until which its sender wants
    it held, however often that came already: the clock that said so was wrong."""
    key = f"clock-{stand.machine}"[:32]
    known = connection.execute(select(about.c.value).where(about.c.key == key)).scalar()
    told = f"{stand.boot} {stand.ahead:.3f}"
    boot, _, ahead = str(known or "").partition(" ")
    back = float(ahead) - stand.ahead if ahead and boot == stand.boot else 0.0
    if known is None:
        insert_once(connection, about, {"key": key, "value": told})  # or another worker of this machine did
    elif boot != stand.boot or abs(back) > NOTICED:
        mine = update(about).where(about.c.key == key, about.c.value == known).values(value=told)
        if connection.execute(mine).rowcount == 0:
            return 0.0  # another worker of this machine noticed it at the same moment
    if back <= NOTICED:
        return 0.0
    _count_again(connection, back, now)
    waits = and_(recipient.c.state == State.WAITING.value, recipient.c.next_attempt > now)
    earlier = recipient.c.next_attempt - back
    soonest = case((earlier > now, earlier), else_=now)
    wish = select(message.c.release_at).where(message.c.queue_id == recipient.c.queue_id).scalar_subquery()
    connection.execute(update(recipient).where(waits).values(next_attempt=case((wish > soonest, wish), else_=soonest)))
    return back


def _count_again(connection: Connection, back: float, now: float) -> None:
    """Seconds that a sender counted (HOLDFOR of RFC 4865, the time limit of RFC 2852) were counted from the clock that
    ran ahead where the message came by that clock; an hour of the day (HOLDUNTIL) is one on any clock."""
    ahead = message.c.created > now
    counted = ahead & message.c.hold.like("for;%") & (message.c.release_at > now)
    connection.execute(update(message).where(counted).values(release_at=message.c.release_at - back))
    limited = ahead & (message.c.deliver_by > 0)
    connection.execute(update(message).where(limited).values(deliver_by=message.c.deliver_by - back))


def pull_back(connection: Connection, *, now: float, horizon: float) -> int:
    """Attempts further away than any back-off were planned by a clock that ran ahead: they are due now (fault 163),
    unless their sender wants them held so long."""
    kept = select(message.c.queue_id).where(message.c.release_at.between(now, now + HELD_MOST))
    far = (recipient.c.state == State.WAITING.value) & (recipient.c.next_attempt > now + horizon)
    astray = far & recipient.c.queue_id.not_in(kept)
    return connection.execute(update(recipient).where(astray).values(next_attempt=now)).rowcount
