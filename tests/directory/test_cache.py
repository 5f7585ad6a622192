"""The memory of positive answers."""

from __future__ import annotations

from core.clock import ManualClock
from directory.cache import Cache


def test_an_answer_lives_as_long_as_it_may() -> None:
    clock = ManualClock()
    cache: Cache[str] = Cache(clock, ttl=2.0)
    cache.put("k", "v", cache.epoch)
    clock.advance(1.99)
    assert cache.get("k") == "v"
    clock.advance(0.01)
    assert cache.get("k") is None


def test_what_was_read_before_a_change_is_not_kept_after_it() -> None:
    cache: Cache[str] = Cache(ManualClock())
    epoch = cache.epoch
    cache.clear()
    cache.put("k", "old", epoch)
    assert cache.get("k") is None


def test_it_is_bounded() -> None:
    cache: Cache[int] = Cache(ManualClock(), size=3)
    for number in range(5):
        cache.put(number, number, cache.epoch)
    assert [cache.get(number) for number in range(5)] == [None, None, 2, 3, 4]
