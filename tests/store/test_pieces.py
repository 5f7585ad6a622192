"""Which keys are asked for together: all of what was named, nothing else, in their order, in few statements."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from store import pieces
from store.journal import parse_ranges, ranges, ranges_text
from store.pieces import Span, Which
from store.schema import UID_MASK, key


def keys_of(which: Which) -> list[int]:
    condition, values = which
    if condition.startswith("BETWEEN"):
        first, last = values
        assert isinstance(first, int)
        assert isinstance(last, int)
        return list(range(first, last + 1))
    return [int(each) for each in json.loads(str(values[0]))]


@pytest.mark.parametrize(
    ("spans", "statements"),
    [
        ([], 0),
        ([(5, 5)], 1),
        ([(5, 20)], 1),
        ([(5, 900)], 1),
        ([(1, 1), (3, 3), (5, 9)], 1),
        ([(1, 1), (3, 3), (10, 99), (101, 101)], 3),
        ([(number, number) for number in range(1, 2 * pieces.TOGETHER, 2)], 1),
        ([(number, number) for number in range(1, 2 * pieces.TOGETHER + 2, 2)], 2),
        ([(number, number + pieces.SHORT) for number in range(1, 200, 50)], 4),
        ([(number, number + pieces.SHORT - 1) for number in range(1, 200, 50)], 1),
    ],
)
def test_all_that_was_named_and_nothing_else_in_few_statements(spans: list[Span], statements: int) -> None:
    asked = list(pieces.of(spans))
    assert [each for which in asked for each in keys_of(which)] == [
        each for first, last in spans for each in range(first, last + 1)
    ]
    assert len(asked) == statements


def test_neighbours_are_asked_for_by_their_ends() -> None:
    assert list(pieces.of([(4, 4), (5, 7), (8, 8)])) == [("BETWEEN ? AND ?", (4, 8))]


def test_no_uid_of_another_folder_is_meant() -> None:
    """Whatever the ranges tell: zero, all that there can be, and more."""
    assert pieces.within(3, [(0, 4), (9, 7), (10, UID_MASK + 9), (UID_MASK + 1, UID_MASK + 2)]) == [
        (key(3, 1), key(3, 4)),
        (key(3, 10), key(3, UID_MASK)),
    ]


@pytest.mark.parametrize("uids", [[], [7], [1, 2, 3], [1, 3, 5], [1, 2, 4, 5, 6, 9], [2, 4, 5]])
def test_ranges_tell_the_uids_they_were_made_of(uids: list[int]) -> None:
    found = ranges(uids)
    assert [uid for first, last in found for uid in range(first, last + 1)] == uids
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(found))
    assert not uids or list(parse_ranges(ranges_text(uids))) == uids
