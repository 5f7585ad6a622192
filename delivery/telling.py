"""What is told of attempts: a line in the log and an entry in the trace for each recipient (where is my message?)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from core import log
from delivery.queue.claims import Claimed
from delivery.queue.results import Settled
from delivery.queue.rows import StoredMessage, StoredRecipient
from delivery.queue.schema import State
from delivery.types import Result, ResultKind, TraceEntry

_log = log.get(__name__)
_EVENTS = {State.DELIVERED: "delivered", State.FAILED: "failed", State.WAITING: "deferred"}
_STATES = {
    ResultKind.DELIVERED: State.DELIVERED,
    ResultKind.DEFERRED: State.WAITING,
    ResultKind.FAILED: State.FAILED,
}


def log_attempt(item: Settled) -> None:
    outcome = item.outcome
    _attempt(item.message, item.recipient, item.result, outcome.state, outcome.reason, outcome.last_status)


def traced(item: Settled, now: float) -> TraceEntry:
    return _entry(item.message, item.recipient, item.result, item.outcome.state, item.outcome.last_status, now)


def unheld(claimed: Claimed, results: Sequence[Result], missing: Collection[int], now: float) -> list[TraceEntry]:
    """Logs attempts whose recipients the queue had given up meanwhile: an administrator dropped them, or the lease went
    to another worker. Who got the message all the same stands in the trace, behind its "dropped"."""
    entries = []
    held = {item.id: item for item in claimed.recipients}
    for result in results:
        item = held.get(result.recipient_id)
        if item is None or item.id not in missing:
            continue
        state, status = _STATES[result.kind], str(result.status)
        _attempt(claimed.message, item, result, state, "no-longer-queued", status)
        if state is State.DELIVERED:
            entries.append(_entry(claimed.message, item, result, state, status, now))
    return entries


def _attempt(
    message: StoredMessage, item: StoredRecipient, result: Result, state: State, reason: str, status: str
) -> None:
    _log.info(
        "delivery-attempt",
        queue_id=message.queue_id,
        recipient=str(item.address),
        attempt=item.attempts + 1,
        outcome=state.value,
        reason=reason,
        status=status,
        remote=result.remote,
        diagnostic=result.diagnostic,
    )


def _entry(
    message: StoredMessage, item: StoredRecipient, result: Result, state: State, status: str, now: float
) -> TraceEntry:
    return TraceEntry(
        at=now,
        queue_id=message.queue_id,
        event=_EVENTS[state],
        sender=str(message.sender or ""),
        recipient=str(item.address),
        organisation_id=item.organisation_id,
        status=status,
        remote=result.remote,
    )
