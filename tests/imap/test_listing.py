"""LIST: wildcards, attributes, the extended form (RFC 9051 6.3.9, RFC 5258)."""

from __future__ import annotations

import random
import re

import pytest

from imap.listing import Query, Row, Tree
from imap.patterns import Pattern
from store.types import Folder
from tests.cost import cheap


def folder(name: str, use: str = "") -> Folder:
    return Folder(name, name, 1, 1, 1, 0, 0, 0, 0, use)


def tree(*names: str, subscribed: tuple[str, ...] = (), sent: str = "") -> Tree:
    return Tree([folder(name, "\\Sent" if name == sent else "") for name in names], subscribed)


def query(text: str, **options: bool) -> Query:
    return Query((Pattern("", text),), **options)


def names(rows: list[Row]) -> list[str]:
    return [row.name for row in rows]


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "a/b", True),
        ("%", "a/b", False),
        ("%", "a", True),
        ("a/%", "a/b", True),
        ("a/%", "a/b/c", False),
        ("a*c", "a/b/c", True),
        ("*%*", "a/b", True),
        ("%/%", "a/b", True),
        ("a", "A", False),
        ("inbox", "INBOX", True),
        ("In%", "INBOX", True),
        ("inbox/x", "INBOX/x", True),
        ("i%/x", "INBOX/x", True),
        ("inbox/X", "INBOX/x", False),
        ("inboxes", "INBOXES", False),
        ("*x/%", "INBOX/x", True),
        ("", "", True),
        ("a.b", "axb", False),
    ],
)
def test_wildcards_match_within_or_across_levels(pattern: str, name: str, matches: bool) -> None:
    assert Pattern("", pattern).matches(name) is matches


def test_wildcards_agree_with_a_regular_expression() -> None:
    seed = random.Random(6)
    for _ in range(5000):
        text = "".join(seed.choices("ab/*%", k=seed.randrange(8)))
        name = "".join(seed.choices("ab/", k=seed.randrange(8)))
        regex = "".join({"*": ".*", "%": "[^/]*"}.get(char, re.escape(char)) for char in text)
        assert Pattern("", text).matches(name) is bool(re.fullmatch(regex, name)), (text, name)


def test_no_pattern_is_slow() -> None:
    pattern = Pattern("", "*a%a" * 500)
    with cheap(2):
        for _ in range(200):
            assert not pattern.matches("a" * 255 + "b")


def test_levels_without_a_folder_are_listed_as_not_selectable() -> None:
    rows = tree("INBOX", "a/b", "a/b/c").listed(query("%"))
    assert [(row.name, row.attributes) for row in rows] == [
        ("INBOX", ("\\HasNoChildren",)),
        ("a", ("\\Noselect", "\\HasChildren")),
    ]


def test_special_use_is_told_and_can_be_selected_by() -> None:
    made = tree("INBOX", "Sent", "x", sent="Sent")
    assert [row.attributes for row in made.listed(query("Sent"))] == [("\\HasNoChildren", "\\Sent")]
    assert names(made.listed(query("*", special_use=True, extended=True))) == ["Sent"]


# The mailboxes of RFC 5258 5, with "/" levels.
FRUIT = ("INBOX", "Fruit", "Fruit/Apple", "Fruit/Banana", "Tofu", "Vegetable", "Vegetable/Broccoli", "Vegetable/Corn")
LIKED = ("INBOX", "Fruit/Banana", "Fruit/Peach", "Vegetable", "Vegetable/Broccoli")


def test_rfc5258_example_subscribed() -> None:
    rows = tree(*FRUIT, subscribed=LIKED).listed(query("*", subscribed=True, extended=True))
    assert {row.name: row.attributes for row in rows} == {
        "INBOX": ("\\HasNoChildren", "\\Subscribed"),
        "Fruit/Banana": ("\\HasNoChildren", "\\Subscribed"),
        "Fruit/Peach": ("\\NonExistent", "\\HasNoChildren", "\\Subscribed"),
        "Vegetable": ("\\HasChildren", "\\Subscribed"),
        "Vegetable/Broccoli": ("\\HasNoChildren", "\\Subscribed"),
    }


def test_rfc5258_example_recursivematch() -> None:
    rows = tree(*FRUIT, subscribed=LIKED).listed(query("%", subscribed=True, recursive=True, extended=True))
    assert {row.name: row.child_info for row in rows} == {
        "INBOX": (),
        "Fruit": ("SUBSCRIBED",),
        "Vegetable": ("SUBSCRIBED",),
    }
    assert "\\Subscribed" not in next(row for row in rows if row.name == "Fruit").attributes


def test_recursivematch_does_not_repeat_what_is_listed_anyway() -> None:
    rows = tree(*FRUIT, subscribed=("Fruit/Apple",)).listed(query("*", subscribed=True, recursive=True, extended=True))
    assert names(rows) == ["Fruit/Apple"]


def test_lsub_names_the_level_above_when_only_that_matches() -> None:
    made = tree("INBOX", "a", "a/b", subscribed=("INBOX", "a/b"))
    assert made.lsub(query("%")) == [Row("INBOX", ()), Row("a", ("\\Noselect",))]
    assert names(made.lsub(query("*"))) == ["INBOX", "a/b"]


def test_lsub_keeps_names_whose_folder_is_gone() -> None:
    assert names(tree("INBOX", subscribed=("gone",)).lsub(query("*"))) == ["gone"]
