"""Counters and rules, pure."""

import pytest

from core.config import Limits
from smtp.guards import Budget, RateMeter, foreign_protocol


def test_errors_slow_down_then_end() -> None:
    budget = Budget(Limits(errors_soft=2, errors_hard=4))
    assert [budget.error() for _ in range(4)] == [(0.0, False), (0.0, False), (1.0, False), (1.0, True)]


def test_h036_under_stress_one_error_and_one_idle_command_are_enough() -> None:
    budget = Budget(Limits(), stressed=True)
    assert budget.error()[1]
    assert [budget.junk_command() for _ in range(2)] == [False, True]


def test_h039_the_wait_for_unknown_recipients_grows() -> None:
    budget = Budget(Limits())
    outcomes = [budget.recipient_refused() for _ in range(21)]
    assert [wait for wait, _ in outcomes[:12]] == [0.0] * 10 + [1.0, 2.0]
    assert max(wait for wait, _ in outcomes) == 10.0
    assert [over for _, over in outcomes].index(True) == 20


def test_the_rate_counts_waiting_only_and_has_a_grace() -> None:
    meter = RateMeter(500)
    slow = []
    for seconds, octets in ((29.0, 10), (2.0, 10), (0.1, 100_000)):
        meter.add(seconds, octets)
        slow.append(meter.too_slow)
    assert slow == [False, True, False]


@pytest.mark.parametrize("first", [b"EHLO x\r\n", b"HELO GET\r\n", b"NOOP\r\n", b"POSTMASTER\r\n", b"GETTER\r\n", b""])
def test_mail_is_not_taken_for_another_protocol(first: bytes) -> None:
    assert not foreign_protocol(first)
