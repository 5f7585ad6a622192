"""A dependency that failed is left alone: by one process, and by all that share a tally."""

from __future__ import annotations

from pathlib import Path

from core.breaker import Breaker
from core.clock import ManualClock
from core.tally import Tally


def rests(*breakers: Breaker) -> list[bool]:
    return [not breaker.available for breaker in breakers]


def test_f160_five_failures_in_a_row_start_a_rest_and_the_first_success_ends_it() -> None:
    clock = ManualClock()
    breaker = Breaker(clock)
    for _ in range(4):
        breaker.failed()
    assert rests(breaker) == [False]
    breaker.failed()
    assert rests(breaker) == [True]
    clock.advance(10.0)
    assert rests(breaker) == [False]
    breaker.failed()
    assert rests(breaker) == [True]
    clock.advance(10.0)
    breaker.succeeded()
    breaker.failed()
    assert rests(breaker) == [False]


def test_f160_what_one_process_found_out_spares_the_others_their_own_failures(tmp_path: Path) -> None:
    clock = ManualClock()
    first, second = (Tally.shared(tmp_path, clock) for _ in range(2))
    one, other, apart = (
        Breaker(clock, tally=first, name="rspamd"),
        Breaker(clock, tally=second, name="rspamd"),
        Breaker(clock, tally=second, name="another"),
    )
    for _ in range(5):
        one.failed()
    assert rests(one, other, apart) == [True, True, False]
    clock.advance(10.0)
    assert rests(other) == [False]
    for _ in range(5):
        one.failed()
    clock.advance(9.0)
    assert rests(other) == [True]
    one.succeeded()
    assert rests(other) == [False]
    for tally in (first, second):
        tally.close()
