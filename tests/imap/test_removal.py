"""What goes out of a map of UIDs, and numbers told in their order, against the plainest way to do either."""

from __future__ import annotations

import random
from array import array
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imap.removal import PIECE, Removal, removed
from imap.types import TURN
from imap.view import View
from imap.wire import sequence
from store.types import Changes
from tests.imap.test_view import gone, row, snapshot


@pytest.mark.parametrize("there", [0, 1, PIECE, 3 * TURN])
@pytest.mark.parametrize("going", [0, 1, 3, PIECE - 1, PIECE, PIECE + 1, 2 * TURN + 1])
@pytest.mark.parametrize("how", ["neighbours", "every second", "a few far apart", "anything"])
def test_what_goes_and_what_is_left(there: int, going: int, how: str) -> None:
    chance = random.Random(f"{there} {going} {how}")
    uids = array("I", sorted(chance.sample(range(1, 2 * there + 2), there)))
    step = {"neighbours": 1, "every second": 2, "a few far apart": 97}.get(how)
    going_ones = list(uids[5::step][:going]) if step else sorted(chance.sample(range(1, 3 * going + 2), going))
    removal, wanted = removed(uids, going_ones), set(going_ones)
    assert removal.places == [place for place, uid in enumerate(uids) if uid in wanted]
    assert removal.kept.tolist() == [uid for uid in uids if uid not in wanted]


def test_very_many_go_in_steps_with_others_between() -> None:
    uids = array("I", range(1, 10 * TURN))
    assert sum(1 for _ in Removal(uids, uids[::2]).steps()) >= 10 * TURN // 2 // TURN - 1
    assert sum(1 for _ in Removal(uids, uids[: PIECE * 2]).steps()) == 0


def many() -> View:
    made = View(snapshot(3 * TURN, 3 * TURN + 1))
    made.build(range(1, 3 * TURN + 1))
    made.absorb(gone(11, 3 * TURN + 1, *range(1, 2 * TURN + 1)))
    return made


def test_removals_that_were_begun_are_told_like_others() -> None:
    begun, at_once = many(), many()
    assert sum(1 for _ in begun.begin_expunge()) > 0
    assert begun.apply(expunge=True) == at_once.apply(expunge=True)
    assert list(begun.uids) == list(at_once.uids) == list(range(2 * TURN + 1, 3 * TURN + 1))


def test_what_goes_or_comes_while_removals_are_begun_is_not_lost() -> None:
    begun, at_once = many(), many()
    list(begun.begin_expunge())
    for made in (begun, at_once):
        made.absorb(gone(12, 3 * TURN + 1, 3 * TURN))
        made.absorb(Changes(13, 3 * TURN + 2, (row(3 * TURN + 1, 13),)))
    assert begun.apply(expunge=True) == at_once.apply(expunge=True)
    assert list(begun.uids) == list(at_once.uids) == [*range(2 * TURN + 1, 3 * TURN), 3 * TURN + 1]


def test_removals_that_were_not_begun_to_their_end_are_told_all_the_same() -> None:
    begun, at_once = many(), many()
    list(islice(begun.begin_expunge(), 1))
    assert begun.apply(expunge=True) == at_once.apply(expunge=True)


def told(numbers: list[int]) -> list[int]:
    """A set as a client reads it."""
    found: list[int] = []
    for part in sequence.encode_in_order(numbers).split(b",") if numbers else []:
        low, _, high = part.partition(b":")
        found.extend(range(int(low), int(high or low) + 1))
    return found


@given(st.lists(st.integers(1, 12)))
def test_numbers_are_told_in_their_order_and_neighbours_joined(numbers: list[int]) -> None:
    assert told(numbers) == numbers
    text = sequence.encode_in_order(numbers)
    breaks = sum(after != before + 1 for before, after in pairwise(numbers))
    assert text.count(b",") == breaks


@pytest.mark.parametrize("broken", [(), (TURN,), (TURN - 1, TURN, TURN + 1), (2 * TURN,), tuple(range(1, 2 * TURN))])
def test_runs_go_on_over_the_pieces_they_are_told_in(broken: tuple[int, ...]) -> None:
    numbers, at = [], 0
    for place in range(2 * TURN + 1):
        at += 2 if place in broken else 1
        numbers.append(at)
    assert told(numbers) == numbers
    assert sequence.encode_in_order(numbers).count(b",") == len(broken)
