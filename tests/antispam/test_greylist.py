"""Greylisting's pure part: when a return counts, how long it is remembered, who is the same sender."""

from __future__ import annotations

import pytest

from antispam.greylist import RENEWED, Greylisting, Memory, Terms, judge, key

TERMS = Terms(wait=300, window=172_800, keep=36 * 86_400, entries=1000)
T = 1_790_000_000.0
DAY = 86_400


@pytest.mark.parametrize(
    ("memory", "now", "outcome", "remembered"),
    [
        (None, T, "greylisted", Memory(T, T)),
        (Memory(T, T), T + 299, "greylisted-too-soon", Memory(T, T)),
        (Memory(T, T), T + 300, "greylist-returned", Memory(T, T + 300, returned=True)),
        (Memory(T, T), T + 172_800, "greylist-returned", Memory(T, T + 172_800, returned=True)),
        (Memory(T, T), T + 172_801, "greylisted-again", Memory(T + 172_801, T + 172_801)),
        (Memory(T, T), T - 1, "greylisted-again", Memory(T - 1, T - 1)),
        (Memory(T, T, returned=True), T + 60, "greylist-known", Memory(T, T, returned=True)),
        (Memory(T, T, returned=True), T + 2 * DAY, "greylist-known", Memory(T, T + 2 * DAY, returned=True)),
        (Memory(T, T, returned=True), T + 36 * DAY, "greylist-known", Memory(T, T + 36 * DAY, returned=True)),
        (Memory(T, T, returned=True), T + 36 * DAY + 1, "greylisted-again", Memory(T + 36 * DAY + 1, T + 36 * DAY + 1)),
        (Memory(T, T, returned=True), T - 2 * RENEWED, "greylisted-again", Memory(T - 2 * RENEWED, T - 2 * RENEWED)),
    ],
)
def test_each_moment_has_its_outcome_and_its_memory(
    memory: Memory | None, now: float, outcome: str, remembered: Memory
) -> None:
    found, after = judge(memory, now, TERMS)
    assert (found, after) == (Greylisting(outcome), remembered)
    assert found.passes is (outcome in ("greylist-known", "greylist-returned"))


def test_what_did_not_change_is_not_written_again() -> None:
    for memory in (Memory(T, T), Memory(T, T, returned=True)):
        assert judge(memory, T + 1, TERMS)[1] is memory


def test_who_is_the_same() -> None:
    one = key("192.0.2.7", "a@b.test", ["x@ville.test", "y@ville.test"])
    assert len(one) == 32
    assert key("192.0.2.200", "a@b.test", ["y@ville.test", "x@ville.test", "x@ville.test"]) == one  # a farm's neighbour
    assert key("::ffff:192.0.2.7", "a@b.test", ["x@ville.test", "y@ville.test"]) == one
    assert key("192.0.3.7", "a@b.test", ["x@ville.test", "y@ville.test"]) != one
    assert key("192.0.2.7", "c@b.test", ["x@ville.test", "y@ville.test"]) != one
    assert key("192.0.2.7", "a@b.test", ["x@ville.test"]) != one
    assert key("192.0.2.7", "", ["x@ville.test"]) != key("192.0.2.7", "x@ville.test", [])
    assert key("2001:db8::1", "a", []) == key("2001:db8::ffff", "a", [])
    assert key("2001:db8::1", "a", []) != key("2001:db8:0:1::1", "a", [])
    with pytest.raises(ValueError, match="address"):
        key("", "a", [])
