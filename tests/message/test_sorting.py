"""Sort keys of a header block (RFC 5256 2.1, 2.2 and 3; RFC 5957 3) and what searching in its fields sees."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from message import address_list, sorting
from message.address_list import Kind
from message.collation import casemap, searchable
from message.header import LIMITS, split
from message.sorting import SortKeys


def of(*lines: str) -> SortKeys:
    return sorting.keys(split("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"))


def test_the_first_address_of_each_field() -> None:
    keys = of("From: Zoé <zoe@mairie.test>, b@x.test", "To: Élus:a@x.test;", 'Cc: "d.e" <D.E@x.test>')
    assert (keys.sender, keys.recipient, keys.copied) == ("ZOE", casemap("élus"), "D.E")
    assert (keys.shown_sender, keys.shown_recipient) == (casemap("Zoé"), casemap("élus"))


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        ("Marie Dupont <marie@mairie.test>", "MARIE DUPONT"),
        ("=?utf-8?q?H=C3=A9l=C3=A8ne?= <h@mairie.test>", casemap("Hélène")),
        ('"" <h@mairie.test>', "H@MAIRIE.TEST"),
        ("h@mairie.test", "H@MAIRIE.TEST"),
        ("undisclosed-recipients:;", "UNDISCLOSED-RECIPIENTS"),
        ("", ""),
    ],
)
def test_rfc5957_what_is_shown_of_an_address(field: str, shown: str) -> None:
    assert of(f"From: {field}", f"To: {field}").shown_sender == shown
    assert of(f"From: {field}", f"To: {field}").shown_recipient == shown


def parents(keys: SortKeys) -> list[int]:
    return list(array("q", keys.parents))


def hashed(message_id: str) -> int:
    return of(f"Message-ID: <{message_id}>").message


def test_references_count_before_in_reply_to_of_which_one_counts() -> None:
    both = of("In-Reply-To: <x@x> <y@y>", "References: <a@x>", " <b@x> <a@x>")
    assert parents(both) == [hashed("a@x"), hashed("b@x"), hashed("a@x")]
    assert parents(of("In-Reply-To: of yesterday <x@x> <y@y>")) == [hashed("x@x")]
    assert parents(of("In-Reply-To: <x@x>", "References: nothing")) == [hashed("x@x")]


def test_a_quoted_id_is_the_same_id_an_invalid_one_is_none() -> None:
    assert hashed('"01KF8JCEOCBS0045PS"@xxx.test') == hashed("01KF8JCEOCBS0045PS@xxx.test") != 0
    assert of("Message-ID: none").message == of("Message-ID: <none>").message == of().message == 0


def test_of_very_many_references_the_first_and_the_latest_are_kept() -> None:
    keys = of("References: " + "\r\n ".join(f"<{n}@x>" for n in range(500)))
    assert len(parents(keys)) == sorting.MAX_PARENTS
    assert parents(keys)[:2] == [hashed("0@x"), hashed("1@x")]
    assert parents(keys)[-1] == hashed("499@x")


def test_search_in_fields_sees_each_of_them_and_tells_absent_from_empty() -> None:
    keys = of("From: Hélène <h@mairie.test>", "To: a@x.test", "Cc:", "To: b@x.test", "Subject: Délibération  n° 4")
    for name, pattern, answer in (
        (b"from", "helene", True),
        (b"from", "HÉLÈNE <H@", True),
        (b"to", "b@x", True),
        (b"to", "testb", False),
        (b"subject", "Deliberation n°\t4", True),
        (b"subject", "helene", False),
        (b"cc", "", True),
        (b"bcc", "", False),
    ):
        assert sorting.found(keys.fields, name, sorting.wanted(pattern)) is answer, (name, pattern)


ATOM = st.text("aZ9_-", min_size=1, max_size=3)
DOTTED = st.lists(ATOM, min_size=1, max_size=3).map(".".join)
ADDRESS = st.builds("{}@{}".format, DOTTED, DOTTED)
NAMED = st.builds("{} <{}>".format, st.lists(ATOM, min_size=1, max_size=3).map(" ".join), ADDRESS)


@given(st.lists(st.one_of(ADDRESS, NAMED, st.text('ab@<>,.; "(', max_size=6)), min_size=1, max_size=3).map(",".join))
def test_the_short_way_reads_what_the_grammar_reads(value: str) -> None:
    octets = value.strip().encode()
    entries = address_list._Lister(1).run(address_list._tokens(octets))
    every = address_list._Lister(9).run(address_list._tokens(octets))
    assert address_list.parse(octets, LIMITS, 1) == entries
    assert address_list.parse(octets, LIMITS) == every
    first = sorting._first([octets])
    assert (first is None) == (not entries)
    if first is not None:
        wanted = entries[0]
        assert (first.kind, first.name, first.local, first.domain) == (
            wanted.kind, wanted.name, wanted.local, wanted.domain,
        )  # fmt: skip
        assert first.kind in Kind


# --- how texts compare ---


@given(st.text(), st.text(max_size=3), st.text())
def test_a_part_of_a_text_is_a_part_of_its_searchable_form(before: str, pattern: str, after: str) -> None:
    for text in (pattern, pattern.upper(), pattern.casefold()):
        assert searchable(pattern) in searchable(before + text + after)


@given(st.text(max_size=8), st.text(max_size=8))
def test_what_is_equal_without_case_is_searched_alike(one: str, other: str) -> None:
    if one.casefold() == other.casefold():
        assert searchable(one) == searchable(other)


def test_what_casemap_finds_searchable_finds_too() -> None:
    """A search that must be exact looks only at what the index found in the other form."""
    for char in map(chr, (*range(0xD800), *range(0xF900, 0x10000), *range(0x1D400, 0x1D800), *range(0x1E900, 0x1E960))):
        assert searchable(char) == "".join(map(searchable, casemap(char))), hex(ord(char))


def test_accents_ligatures_and_apostrophes_as_people_type_them() -> None:
    assert searchable("L’Œuvre d’Élisée Straße") == "l'oeuvre d'elisee strasse"
    assert casemap("éa") > casemap("ez")  # RFC 5051: the mark counts, after the letter
