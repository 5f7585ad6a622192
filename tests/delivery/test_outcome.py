"""What a result means: retry times, expiry, and what the sender is told (RFC 3461, RFC 5321 4.5.4.1)."""

from __future__ import annotations

import pytest

from core.address import parse
from core.config import Delivery
from core.envelope import Dsn
from core.status import accepted, deferred, refused
from delivery.outcome import Backoff, Rules
from delivery.queue.results import Outcome
from delivery.queue.rows import StoredMessage, StoredRecipient
from delivery.queue.schema import Owed, State
from delivery.types import Result, ResultKind

HOUR = 3600
NOW = 2_000_000.0
LATER = deferred("greylisted", "remote-deferred", "4.7.1")


def judged(
    result: Result, *, age: float = 0, notify: str = "", attempts: int = 0, null: bool = False, told: bool = False
) -> Outcome:
    rules = Rules(Backoff.of(Delivery()), now=lambda: NOW, chance=lambda: 0.5)
    sender = None if null else parse("a@one.test")
    message = StoredMessage("q", sender, "", 1, 1, NOW - age, False, "7BIT", "", "", False, b"")
    dsn = Dsn(frozenset(notify.split(",")) if notify else frozenset())
    recipient = StoredRecipient(
        1, "q", parse("b@two.test"), "two.test", "", dsn, False, "", attempts, 0.0, "", "", "", Owed.NOTHING, told
    )
    return rules.judge(message, recipient, result)


def result(kind: ResultKind, relayed_dsn: bool = False, final: bool = False) -> Result:
    status = {
        ResultKind.DELIVERED: accepted(),
        ResultKind.DEFERRED: LATER,
        ResultKind.FAILED: refused("no such user", "remote-refused", "5.1.1"),
    }[kind]
    return Result(1, kind, status, "mx.two.test", relayed_dsn=relayed_dsn, final=final)


@pytest.mark.parametrize(
    ("attempts", "minutes"), [(0, 5), (1, 15), (2, 30), (3, 60), (4, 120), (5, 240), (6, 240), (50, 240)]
)
def test_intervals_grow_as_configured_and_the_last_one_repeats(attempts: int, minutes: int) -> None:
    outcome = judged(result(ResultKind.DEFERRED), attempts=attempts)
    assert (outcome.state, outcome.next_attempt) == (State.WAITING, NOW + minutes * 60)


def test_jitter_spreads_by_ten_percent_either_way_and_stays_below_the_horizon() -> None:
    backoff = Backoff.of(Delivery())
    assert backoff.wait(1, 0.0) == pytest.approx(270)
    assert backoff.wait(1, 0.999999) == pytest.approx(330, abs=1)
    assert backoff.wait(99, 0.999999) < backoff.horizon


@pytest.mark.parametrize(
    ("kind", "notify", "age", "owed"),
    [
        (ResultKind.FAILED, "", 0, Owed.FAILED),
        (ResultKind.FAILED, "FAILURE", 0, Owed.FAILED),
        (ResultKind.FAILED, "SUCCESS,DELAY", 0, Owed.NOTHING),
        (ResultKind.FAILED, "NEVER", 0, Owed.NOTHING),
        (ResultKind.DEFERRED, "", 4 * HOUR - 1, Owed.NOTHING),
        (ResultKind.DEFERRED, "", 4 * HOUR, Owed.DELAYED),
        (ResultKind.DEFERRED, "FAILURE", 4 * HOUR, Owed.NOTHING),
        (ResultKind.DEFERRED, "DELAY", 4 * HOUR, Owed.DELAYED),
        (ResultKind.DEFERRED, "", 120 * HOUR, Owed.FAILED),
        (ResultKind.DEFERRED, "NEVER", 120 * HOUR, Owed.NOTHING),
        (ResultKind.DELIVERED, "", 0, Owed.NOTHING),
        (ResultKind.DELIVERED, "SUCCESS", 0, Owed.RELAYED),
        (ResultKind.DELIVERED, "FAILURE", 0, Owed.NOTHING),
    ],
)
def test_who_is_told_what(kind: ResultKind, notify: str, age: float, owed: Owed) -> None:
    assert judged(result(kind), notify=notify, age=age).owed is owed


@pytest.mark.parametrize("kind", list(ResultKind))
def test_a_null_sender_is_never_told_anything(kind: ResultKind) -> None:
    assert judged(result(kind), null=True, notify="SUCCESS,FAILURE,DELAY", age=120 * HOUR).owed is Owed.NOTHING


def test_a_delay_is_told_once() -> None:
    first = judged(result(ResultKind.DEFERRED), age=5 * HOUR)
    assert (first.owed, first.delay_told) == (Owed.DELAYED, True)
    assert judged(result(ResultKind.DEFERRED), age=9 * HOUR, told=True).owed is Owed.NOTHING


def test_success_is_told_by_whoever_ends_the_duty() -> None:
    assert judged(result(ResultKind.DELIVERED, final=True), notify="SUCCESS").owed is Owed.DELIVERED
    assert judged(result(ResultKind.DELIVERED, relayed_dsn=True), notify="SUCCESS").owed is Owed.NOTHING


def test_a_message_that_is_too_old_fails_with_its_last_answer() -> None:
    outcome = judged(result(ResultKind.DEFERRED), age=120 * HOUR)
    assert (outcome.state, outcome.reason) == (State.FAILED, "expired")
    assert outcome.last_status == "550 5.4.7 delivery time expired (last answer: 451 4.7.1 greylisted)"


def test_f163_a_clock_that_went_back_makes_no_message_old_or_negative() -> None:
    assert judged(result(ResultKind.DEFERRED), age=-3 * 86400).state is State.WAITING
