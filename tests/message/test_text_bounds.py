"""How much of a message is searched and indexed: at each bound, and one past it. Reading and index agree."""

from __future__ import annotations

import pytest

from core.config import Limits
from message import words
from message.content import BytesContent
from message.text import Kind, Piece, contains, pieces
from message.words import Words, gather

BLOCK = 400
LIMITS = Limits(header_block=BLOCK, header_field=150, header_fields=5)


def found(raw: bytes, limits: Limits = LIMITS) -> Words:
    return gather(pieces(BytesContent(raw), limits=limits))


def told(raw: bytes, word: str, limits: Limits = LIMITS) -> bool:
    """What reading and index agree on."""
    read = contains(BytesContent(raw), word, body_only=False, limits=limits)
    assert (word in found(raw, limits).head) == read
    return read


def _ending_at(octets: int) -> bytes:
    """A message whose header has its last word's last letter at that octet, counted from 1."""
    fields = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 80) for number in range(3))
    last = b"X-Last: "
    room = octets - len(fields) - len(last) - len("fin")
    return fields + last + b"z" * (room - 1) + b" fin\r\n\r\ntexte\r\n"


@pytest.mark.parametrize(("octets", "known"), [(BLOCK - 2, True), (BLOCK, True), (BLOCK + 1, False)])
def test_a_word_of_the_header_is_known_up_to_the_bound_of_a_header_block(octets: int, known: bool) -> None:
    raw = _ending_at(octets)
    assert raw.index(b"fin\r") + 3 == octets
    assert told(raw, "fin") is known
    assert told(raw, "x")  # what stands before the bound is known all the same


def test_the_bound_is_that_of_the_configuration_with_its_default() -> None:
    """256 KiB: two words of a header of many long fields, one within, one past."""
    limits = Limits(header_fields=100_000)
    assert limits.header_block == 256 * 1024
    line = b"X-Line: %s\r\n" % (b"a" * 1000)
    count = limits.header_block // len(line)
    raw = line * (count - 1) + b"X-In: dedans\r\n" + line * 2 + b"X-Out: dehors\r\n\r\ntexte\r\n"
    assert told(raw, "dedans", limits)
    assert not told(raw, "dehors", limits)
    assert sum(len(piece.text) for piece in pieces(BytesContent(raw), limits=limits) if piece.kind is Kind.LINES) <= (
        limits.header_block + len("\r\n")
    )


@pytest.mark.parametrize(("count", "known"), [(5, True), (6, False)])
def test_fields_past_their_number_are_not_known(count: int, known: bool) -> None:
    raw = b"X-A: un\r\n" * (count - 1) + b"X-B: dernier\r\n\r\ntexte\r\n"
    assert told(raw, "dernier") is known


def _of(characters: int) -> bytes:
    """A message with so many characters of text in all."""
    head = b"Subject: s\r\n"
    return (
        head + b"\r\n" + b"mot " * ((characters - len(head)) // 4 - 1) + b"fin." + b"." * ((characters - len(head)) % 4)
    )


@pytest.mark.parametrize("more", [0, 1])
def test_a_text_longer_than_is_indexed_is_always_looked_at(monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    monkeypatch.setattr(words, "MAX_TEXT", 4000)
    assert found(_of(4000 + more)).whole is not bool(more)
    assert contains(BytesContent(_of(4000 + more)), "fin", body_only=True)


@pytest.mark.parametrize("more", [0, 1])
def test_a_message_of_more_words_than_are_indexed_is_always_looked_at(
    monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    monkeypatch.setattr(words, "MAX_WORDS", 50)
    said = [f"mot{letter}{other}" for letter in "abcdefgh" for other in "abcdefgh"][: 50 + more]
    assert gather([*(Piece(word, 0, Kind.FIELD) for word in said), Piece("fin", 1)]).whole is not bool(more)
