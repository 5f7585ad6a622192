"""Canonical forms against dkimpy's, whole and cut anywhere; linear on the inputs that broke others."""

from __future__ import annotations

import hashlib
import itertools
import random
import time

import pytest
from dkim.canonicalization import Relaxed, Simple

from message.canonical import BodyCanon, BodyHash, relaxed_field


def digest(body: bytes, relaxed: bool, cuts: list[int] | None = None, limit: int | None = None) -> tuple[bytes, int]:
    item = BodyHash(limit)
    canon = BodyCanon(relaxed=relaxed, hashes=[item])
    edges = [0, *sorted(cuts or []), len(body)]
    for start, stop in itertools.pairwise(edges):
        canon.feed(body[start:stop])
    canon.finish()
    return item.digest(), item.length


@pytest.mark.parametrize(
    ("body", "simple", "relaxed"),
    [
        (b"", b"\r\n", b""),
        (b"\r\n", b"\r\n", b""),
        (b"\r\n\r\n", b"\r\n", b""),
        (b" \t \r\n \r\n", b" \t \r\n \r\n", b""),
        (b"a", b"a\r\n", b"a\r\n"),
        (b"a\r\n", b"a\r\n", b"a\r\n"),
        (b"a\r\n\r\n\r\n", b"a\r\n", b"a\r\n"),
        (b"a \t b \r\n", b"a \t b \r\n", b"a b\r\n"),
        (b" a\r\n\r\nb\t\r\n\t\r\n", b" a\r\n\r\nb\t\r\n\t\r\n", b" a\r\n\r\nb\r\n"),
        (b"a \r", b"a \r\r\n", b"a \r\r\n"),
        (b"a\r\n\rb\r\n", b"a\r\n\rb\r\n", b"a\r\n\rb\r\n"),
    ],
)
def test_body_forms_of_rfc_6376_3_4(body: bytes, simple: bytes, relaxed: bytes) -> None:
    for expected, kind in ((simple, False), (relaxed, True)):
        for cut in range(len(body) + 1):
            assert digest(body, kind, [cut]) == (hashlib.sha256(expected).digest(), len(expected)), (kind, cut)


def test_dkimpy_agrees_on_random_bodies_cut_anywhere() -> None:
    rng = random.Random(6376)
    for _ in range(3000):
        pieces = rng.choices([b"a", b"b", b" ", b"\t", b"\r\n", b"  ", b"\r\n\r\n", b" \r\n"], k=rng.randint(0, 12))
        # dkimpy folds WSP at the very end without CRLF differently; mail always ends in CRLF
        body = b"".join(pieces) + rng.choice([b"\r\n", b"a"])
        cuts = [rng.randint(0, len(body)) for _ in range(rng.randint(0, 4))]
        for kind, oracle in ((False, Simple), (True, Relaxed)):
            expected = oracle.canonicalize_body(body)
            assert digest(body, kind, cuts)[0] == hashlib.sha256(expected).digest(), (kind, body, cuts)


def test_a_limit_hashes_the_first_octets_and_counts_all() -> None:
    assert digest(b"abcdef\r\n", True, [2, 5], limit=4) == (hashlib.sha256(b"abcd").digest(), 8)


def test_header_form_of_rfc_6376_3_4_5() -> None:
    assert relaxed_field(b"A: X\r\n") == b"a:X\r\n"
    assert relaxed_field(b"B : Y\t\r\n\tZ  \r\n") == b"b:Y Z\r\n"
    assert relaxed_field(b"Subject:\r\n \r\n") == b"subject:\r\n"


@pytest.mark.parametrize(
    "bomb",
    [
        b" " * 8_000_000,
        b"\t \t" * 2_000_000,
        b"\r\n" * 4_000_000,
        b" \r\n" * 2_000_000,
        (b" " * 990 + b"x\r\n") * 8000,
        b"\r" * 6_000_000,
        b"\n\r" * 3_000_000,
    ],
    ids=["blanks", "tabs", "empty", "blank-lines", "long-runs", "lone-cr", "reversed"],
)
def test_f144_every_bomb_is_linear(bomb: bytes) -> None:
    """8 MB of the shapes that cost quadratic time elsewhere (ecosystem fact 6)."""
    for relaxed in (False, True):
        small, large = (_seconds(bomb[: len(bomb) // part], relaxed) for part in (8, 1))
        assert large < 0.05 + small * 8 * 4
        assert large < 4


def _seconds(body: bytes, relaxed: bool) -> float:
    start = time.process_time()
    item = BodyHash()
    canon = BodyCanon(relaxed=relaxed, hashes=[item])
    for at in range(0, len(body), 65536):
        canon.feed(body[at : at + 65536])
    canon.finish()
    return time.process_time() - start
