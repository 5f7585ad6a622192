"""What one delivery result means for one recipient: done, again later, or over; and what its sender is told. What it
means for others of its destination.

Pure: time and chance are arguments. RFC 5321 4.5.4.1 (retry), RFC 3461 4.1 and 5.2 (NOTIFY), RFC 3464 2.3.3,
RFC 2852 4.1 (a time limit of the sender's).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.config import Delivery
from core.status import Status, deferred, refused
from delivery.queue.results import Outcome
from delivery.queue.rows import StoredMessage, StoredRecipient
from delivery.queue.schema import Owed, State
from delivery.types import Result, ResultKind

JITTER = 0.2  # of an interval: what failed together must not come back together

EXPIRED = refused("delivery time expired", "expired", "5.4.7")
LATE = deferred("not delivered yet within the time that its sender wished", "deliver-by", "4.4.7")
TOO_LATE = refused("not delivered within the time that its sender allowed", "deliver-by", "5.4.7")

_AWAY = frozenset({"4.4.0", "4.4.1", "4.4.3"})
# RFC 3463: no messages taken now, congestion; TLS that is not what is demanded, or none (X.7.5, RFC 5248's X.7.10)
_FEWER = frozenset({"4.3.2", "4.4.5", "4.7.5", "4.7.10"})


@dataclass(frozen=True, slots=True)
class Backoff:
    """`intervals`: seconds until the next attempt after the first, second … failed one; the last one repeats."""

    intervals: Sequence[int]
    lifetime: int
    delay_notice: int

    @staticmethod
    def of(config: Delivery) -> Backoff:
        return Backoff(config.retry_seconds, config.lifetime_seconds, config.delay_notice_seconds)

    def wait(self, attempts: int, chance: float) -> float:
        """Seconds to wait after `attempts` failed ones (1, 2 …); `chance` in [0, 1) spreads it by ± 10 %."""
        interval = self.intervals[min(attempts, len(self.intervals)) - 1]
        return interval * (1 - JITTER / 2 + JITTER * chance)

    @property
    def horizon(self) -> float:
        """No attempt is ever planned further away than this."""
        return max(self.intervals) * (1 + JITTER)


class Rules:
    """`judge(message, recipient, result)` for the queue; `now` and `chance` are asked anew each time."""

    def __init__(self, backoff: Backoff, *, now: Callable[[], float], chance: Callable[[], float]) -> None:
        self.backoff = backoff
        self._now = now
        self._chance = chance

    def judge(self, message: StoredMessage, recipient: StoredRecipient, result: Result) -> Outcome:
        if result.kind is ResultKind.DELIVERED:
            owed = _owed_for_success(message, recipient, result)
            return Outcome(State.DELIVERED, 0.0, str(result.status), owed, "delivered", recipient.delay_told)
        if result.kind is ResultKind.FAILED:
            return _failed(message, recipient, result.status, result.status.reason)
        return self._deferred(message, recipient, result)

    def _deferred(self, message: StoredMessage, recipient: StoredRecipient, result: Result) -> Outcome:
        now, limit = self._now(), message.schedule.deliver_by
        if overdue(message, now):
            return _failed(message, recipient, TOO_LATE, "deliver-by", after=result.status)
        age = max(now - message.begins, 0.0)  # a clock that went back makes nobody old (fault 163)
        # The attempt that just failed was the last one: a message expires only after an attempt, so that neither a
        # stopped queue nor a jump of the clock returns mail that nobody tried to deliver.
        if age >= self.backoff.lifetime:
            return _failed(message, recipient, EXPIRED, "expired", after=result.status)
        late = _just_passed(limit, recipient, now) or (age >= self.backoff.delay_notice and not recipient.delay_told)
        owed = Owed.DELAYED if late and wants(message, recipient, "DELAY") else Owed.NOTHING
        due = now + self.backoff.wait(recipient.attempts + 1, self._chance())
        if limit > now:  # what is to happen then happens then, not at the next attempt
            due = min(due, limit)
        told = recipient.delay_told or late
        text = f"{LATE} (last answer: {result.status})" if 0 < limit <= now else str(result.status)
        return Outcome(State.WAITING, due, text, owed, result.status.reason, told)


def overdue(message: StoredMessage, now: float) -> bool:
    """Whether the message is to be returned now instead of being delivered (RFC 2852 4.1.4: by-mode R)."""
    schedule = message.schedule
    return schedule.by_mode == "R" and schedule.deliver_by <= now


def _just_passed(limit: float, recipient: StoredRecipient, now: float) -> bool:
    """Whether this attempt is the first since the time that the sender wished. RFC 2852 4.1.3: he hears of it then,
    also where he heard of a delay before, which said nothing of his limit."""
    return 0 < limit <= now and recipient.last_attempt < limit


def wants(message: StoredMessage, recipient: StoredRecipient, kind: str) -> bool:
    """Is a notice of this kind (FAILURE, DELAY, SUCCESS) to be sent? RFC 3461 4.1: without NOTIFY failures are told,
    and delays may be; NEVER stands alone. A null sender is never told anything (RFC 5321 4.5.5)."""
    if message.sender is None:
        return False
    if not recipient.dsn.notify:
        return kind != "SUCCESS"
    return kind in recipient.dsn.notify


def _failed(
    message: StoredMessage, recipient: StoredRecipient, status: Status, reason: str, after: Status | None = None
) -> Outcome:
    owed = Owed.FAILED if wants(message, recipient, "FAILURE") else Owed.NOTHING
    text = str(status) if after is None else f"{status} (last answer: {after})"
    return Outcome(State.FAILED, 0.0, text, owed, reason, recipient.delay_told)


def _owed_for_success(message: StoredMessage, recipient: StoredRecipient, result: Result) -> Owed:
    if wants(message, recipient, "SUCCESS") and not result.relayed_dsn:
        return Owed.DELIVERED if result.final else Owed.RELAYED
    if not result.final and _traced(message, recipient, result):
        return Owed.RELAYED
    return Owed.NOTHING


def _traced(message: StoredMessage, recipient: StoredRecipient, result: Result) -> bool:
    """RFC 2852 4.1.4: with by-trace, and with by-mode N where the next hop knows no time limits (4.1.4.2), the sender
    hears that the message was passed on, unless he never wants to hear anything."""
    schedule = message.schedule
    asked = schedule.by_trace or (schedule.by_mode == "N" and not result.relayed_by)
    return asked and message.sender is not None and "NEVER" not in recipient.dsn.notify


def unreached(result: Result) -> bool:
    """The destination itself is away: no host answers or serves us now, or its DNS fails (RFC 3463 3.5). A connection
    lost on the way (4.4.2) is not: one poisonous message must not hold up the others."""
    return result.kind is ResultKind.DEFERRED and result.status.enhanced in _AWAY


def asks_for_fewer(result: Result) -> bool:
    """The server ended the session (421, whatever it was asked), or has too much to do: fewer at a time is what it asks
    for (RFC 5321 3.8). It is not away: what others wait to send is not put off for that. Neither is it where its TLS is
    not trusted: what one message requires, and what another waives (RFC 8689), is not every message's."""
    return result.kind is ResultKind.DEFERRED and (result.status.code == 421 or result.status.enhanced in _FEWER)
