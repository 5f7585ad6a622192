"""Trees of criteria shrink as their leaves become known, and only as logic allows."""

from __future__ import annotations

import itertools
import random
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from imap.commands.search.criteria import (
    FALSE,
    TRUE,
    Among,
    And,
    HasFlag,
    HasKeyword,
    HeaderHas,
    Key,
    Leaf,
    Not,
    Or,
    Relation,
    Stage,
    TextHas,
    leaves,
    reduce,
)
from imap.commands.search.evidence import compare, fold, mapped
from imap.commands.search.grouping import narrowed, split, waits_for
from imap.types import contains, spans
from store.types import Flag

A, B, C, D = HasKeyword("a"), HasKeyword("b"), HasFlag(Flag.SEEN), TextHas("d", body_only=False)


def truth(key: Key, values: dict[Leaf, bool]) -> bool:
    match key:
        case Not(key=inner):
            return not truth(inner, values)
        case And(keys=keys):
            return all(truth(each, values) for each in keys)
        case Or(left=left, right=right):
            return truth(left, values) or truth(right, values)
        case _:
            return key.value if key in (TRUE, FALSE) else values[key]


def random_key(dice: random.Random, depth: int) -> Key:
    shape = dice.randrange(6 if depth else 1)
    if shape == 1:
        return Not(random_key(dice, depth - 1))
    if shape in (2, 3):
        return And(tuple(random_key(dice, depth - 1) for _ in range(dice.randrange(1, 4))))
    if shape in (4, 5):
        return Or(random_key(dice, depth - 1), random_key(dice, depth - 1))
    leaves: list[Leaf] = [A, B, C, D, TRUE, FALSE]
    return dice.choice(leaves)


def test_reducing_never_changes_the_meaning() -> None:
    dice = random.Random(9051)
    for _ in range(400):
        key = random_key(dice, 4)
        for bits in itertools.product([False, True], repeat=4):
            values: dict[Leaf, bool] = dict(zip((A, B, C, D), bits, strict=True))
            known = {leaf: value for leaf, value in values.items() if dice.random() < 0.5}
            rest = reduce(key, known.get)
            assert truth(rest, values) == truth(key, values)
            assert not set(leaves(rest)) & set(known), "what is known leaves the tree"
            assert reduce(rest, values.get) is (TRUE if truth(key, values) else FALSE)


def test_constants_never_stay_inside() -> None:
    dice = random.Random(3501)
    for _ in range(400):
        rest = reduce(random_key(dice, 4), lambda leaf: None)
        assert rest in (TRUE, FALSE) or not {TRUE, FALSE} & set(leaves(rest))


def test_a_text_answer_splits_a_group_in_two() -> None:
    groups = split({Or(D, A): [1, 2, 3], A: [7]}, D, frozenset({2}))
    assert groups == {TRUE: [2], A: [1, 3, 7]} or groups == {A: [1, 3, 7], TRUE: [2]}


def test_a_set_at_the_top_removes_messages_without_looking_at_them() -> None:
    low, high = Among(((1, 5),)), Among(((4, 9),))
    key, uids = narrowed(And((low, high, Not(C), Or(low, A))), [1, 3, 4, 5, 6])
    assert (key, uids) == (Not(C), [4, 5])


def test_stages_follow_the_evidence_a_leaf_needs() -> None:
    assert waits_for(Not(HeaderHas(b"subject", "x")), Stage.FIELDS)
    assert waits_for(Not(HeaderHas(b"list-id", "x")), Stage.HEADERS)
    assert waits_for(And((C, HeaderHas(b"x-odd", "x"))), Stage.FILE)
    assert not waits_for(And((C, HeaderHas(b"x-odd", "x"))), Stage.HEADERS)
    assert waits_for(Or(C, D), Stage.TEXT)


def test_spans_join_neighbours_of_the_view_and_nothing_else() -> None:
    view = [2, 5, 9, 10, 20, 21, 40]
    assert spans([], view, bridge=0) == ()
    assert spans(view, view, bridge=0) == ((2, 40),)
    assert spans([2, 5, 10, 20, 40], view, bridge=0) == ((2, 5), (10, 20), (40, 40))
    assert spans([2, 5, 10, 20, 40], view, bridge=1) == ((2, 40),)
    assert spans([2, 40], view, bridge=4) == ((2, 2), (40, 40))


def test_spans_hold_every_uid_asked_for_and_no_other_without_a_bridge() -> None:
    dice = random.Random(1)
    for _ in range(200):
        view = sorted(dice.sample(range(1, 400), 60))
        asked = sorted(dice.sample(view, dice.randrange(1, 60)))
        bridge = dice.randrange(4)
        ranges = spans(asked, view, bridge=bridge)
        assert all(contains(ranges, uid) for uid in asked)
        assert list(ranges) == sorted(ranges)
        if not bridge:
            assert [uid for uid in view if contains(ranges, uid)] == asked


def test_days_compare_as_the_rfc_words_them() -> None:
    assert [compare(day, Relation.BEFORE, 5) for day in (4, 5, 6)] == [True, False, False]
    assert [compare(day, Relation.ON, 5) for day in (4, 5, 6)] == [False, True, False]
    assert [compare(day, Relation.SINCE, 5) for day in (4, 5, 6)] == [False, True, True]


def test_folding_ignores_case_composition_accents_and_the_kind_of_blanks() -> None:
    assert fold("ÉTÉ") == fold("e\u0301te\u0301") == fold("ete") == "ete"
    assert fold("Straße") == fold("STRASSE")
    assert fold("a\t b\r\n c") == fold("a\u00a0b c") == "a b c"
    assert fold("mairie") != fold("mairia")


@given(st.text(alphabet="eéÉEe\u0301ŒœßsıIﬁfi’' \tİ", max_size=8), st.data())
def test_what_unicode_casemap_finds_is_found(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    part = text[start : data.draw(st.integers(start, len(text)))]
    for pattern in (part, part.upper(), part.lower(), unicodedata.normalize("NFKD", part)):
        if mapped(pattern) in mapped(text):
            assert fold(pattern) in fold(text)
