"""The fast walk over a header block cuts where the judging split cuts, and is linear."""

from __future__ import annotations

import random

import pytest

from core.config import Limits
from message import fields, header
from tests.cost import cheap

WIDE = Limits(header_block=10**7, header_fields=10**6)
TOKENS = [b"From", b":", b" ", b"\t", b"\r\n", b"\r", b"\n", b"x", b"\r\n\r\n", b"A-b", b"\0", b"\xe9", b"\r\r\n"]


def test_it_cuts_where_split_cuts() -> None:
    dice = random.Random(5322)
    for _ in range(5000):
        head = b"".join(dice.choice(TOKENS) for _ in range(dice.randrange(14)))
        split = header.split(head, WIDE).fields
        assert list(fields.walk(head)) == [(field.name, field.raw) for field in split]
        for field in split:
            if field.name:
                assert fields.value(field.raw) == field.value


def test_chosen_fields_keep_order_octets_and_repetitions() -> None:
    head = b"To: a\r\nfrom : b\r\n c\r\nTo: d\r\nodd line\r\n\r\nTo: body\r\n"
    assert fields.chosen(head, {b"from", b"to"}) == b"To: a\r\nfrom : b\r\n c\r\nTo: d\r\n"
    assert fields.chosen(head, {b"to"}, keep=False) == b"from : b\r\n c\r\nodd line\r\n"


@pytest.mark.parametrize("unit", [b"\r", b"a:\r\n ", b"a", b" ", b"a ", b"\r\r\n ", b":", b"a:\r\n"])
def test_it_is_linear_in_every_shape(unit: bytes) -> None:
    with cheap(2):
        sum(len(raw) for _, raw in fields.walk(unit * (2**20 // len(unit))))


def test_a_picker_chooses_what_chosen_chooses() -> None:
    """On blocks of whole fields, as the index keeps them, however odd."""
    dice = random.Random(5322)
    pieces = [
        b"To",
        b"from",
        b"X-To",
        b":",
        b" :",
        b" ",
        b"\t",
        b"a@b",
        b"\r",
        b"\n",
        b"\r\n ",
        b"\r\n\t",
        b"\xe9",
        b"",
    ]
    for _ in range(3000):
        raw = [
            dice.choice([b"To", b"FROM", b"X-To", b"Subject", b"odd line", b"To\t "]) + dice.choice([b":", b""])
            + b"".join(dice.choices(pieces, k=dice.randint(0, 6))) + b"\r\n"
            for _ in range(dice.randint(0, 5))
        ]  # fmt: skip
        head = b"".join(each for name, each in fields.walk(b"".join(raw)))
        for names in ({b"to"}, {b"to", b"from", b"x-to"}, {b"none"}):
            picked = b"\r" + fields.picker(names)(head) + b"\n"
            assert picked == b"\r\n" + fields.chosen(head, names), (head, names)


@pytest.mark.parametrize("last", [b"To: a", b"To: a\r", b"To: a\r\n b", b"To: a\r\n ", b"To: a\n"])
def test_a_picker_ends_a_last_field_that_has_no_end(last: bytes) -> None:
    picked = fields.picker({b"to"})(b"From: b\r\n" + last)
    assert picked == b"\n" + last + b"\r"
    assert fields.picker({b"from"})(b"From: b\r\n" + last) == b"\nFrom: b\r"


@pytest.mark.parametrize(
    "unit", [b"\r", b"\r\n", b"\n", b"\r\n ", b"\r\nt", b"\r\nTo ", b"\r\nTo:", b"To:\r\n ", b"To: a\r\n"]
)
def test_a_picker_is_linear_in_every_shape(unit: bytes) -> None:
    with cheap(2):
        fields.picker({b"to", b"from"})(unit * (2**20 // len(unit)))
