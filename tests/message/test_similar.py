"""Words that are nearly the same: slips and stems, and what is another word."""

from __future__ import annotations

import pytest

from message.similar import alike, distance, likeness


@pytest.mark.parametrize(
    ("left", "right", "slips"),
    [
        ("helo", "helo", 0),
        ("helo", "hello", 1),
        ("helo", "help", 1),
        ("marie", "mairie", 1),
        ("conseil", "consiel", 1),  # neighbours exchanged
        ("urbanisme", "urbansime", 1),
        ("budget", "buget", 1),
        ("eau", "feu", 2),
        ("", "ab", 2),
        ("abcdef", "uvwxyz", 3),  # "more than asked"
    ],
)
def test_slips_are_counted_up_to_the_bound(left: str, right: str, slips: int) -> None:
    assert distance(left, right, 2) == distance(right, left, 2) == slips


@pytest.mark.parametrize(
    ("left", "right"),
    [("deliberer", "deliberation"), ("commune", "communes"), ("permis", "premis"), ("assainissement", "asainisement")],
)
def test_slips_and_stems_are_alike(left: str, right: str) -> None:
    assert 0.5 < likeness(left, right) < 1
    assert likeness(left, left) == 1


@pytest.mark.parametrize(
    ("left", "right"), [("eau", "feu"), ("maire", "notaire"), ("budget", "cadastre"), ("rue", "rues"), ("a", "b")]
)
def test_other_words_are_not(left: str, right: str) -> None:
    assert likeness(left, right) == 0


def test_the_likest_come_first_and_no_more_than_asked() -> None:
    words = ["mairie", "marie", "mairies", "maries", "mairie", "budget"]
    assert [word for word, _ in alike("mairie", words, 2)] == ["mairies", "marie"]
    assert alike("mairie", words, 0) == ()


def test_h100_long_words_are_compared_quickly() -> None:
    """A vocabulary holds no word of more than 24 letters; a pattern may."""
    assert distance("a" * 1000, "b" * 24, 2) == 3
    assert likeness("a" * 24, "a" * 22 + "bb") > 0.9
