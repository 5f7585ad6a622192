"""Octets to commands: the same events whole and byte by byte, and in step after every refusal."""

from __future__ import annotations

import random

import pytest

from imap.errors import Bad, No
from imap.wire.framing import Bounds, Complete, Continue, Event, Framer, Piece, Refused, Rest, Streamed

BEFORE = Bounds(line=100, literals=100, discard=100, stream=False)
AFTER = Bounds(line=200, literals=300, discard=2000, stream=True)


def drive(data: bytes, bounds: Bounds = AFTER, *, step: int = 0, accept: bool = True) -> list[Event]:
    """All events; streamed literals are accepted or abandoned. Pieces are joined, so that steps do not show."""
    framer = Framer(bounds)
    events: list[Event] = []
    for start in range(0, len(data), step or len(data)):
        framer.feed(data[start : start + (step or len(data))])
        while (event := framer.next_event()) is not None:
            if isinstance(event, Piece) and events and isinstance(events[-1], Piece):
                events[-1] = Piece(events[-1].data + event.data, event.last)
            else:
                events.append(event)
            if isinstance(event, Streamed) or (isinstance(event, Rest) and event.more):
                if accept:
                    framer.accept()
                else:
                    framer.abandon()
    return events


STREAMS: list[tuple[bytes, list[Event]]] = [
    (b"a NOOP\r\nb NOOP\r\n", [Complete(b"a NOOP"), Complete(b"b NOOP")]),
    (b"\r\n", [Complete(b"")]),
    (b"a X\rY\nZ\r\n", [Complete(b"a X\rY\nZ")]),
    (b"a LOGIN {3+}\r\nfoo {2+}\r\n\r\n\r\n", [Complete(b"a LOGIN {3+}\r\nfoo {2+}\r\n\r\n")]),
    (b"a LOGIN {3}\r\nfoo x\r\n", [Continue(), Complete(b"a LOGIN {3}\r\nfoo x")]),
    (b"a LOGIN {0+}\r\n x\r\n", [Complete(b"a LOGIN {0+}\r\n x")]),
    (
        b"a APPEND x {5}\r\nhello\r\nb NOOP\r\n",
        [Streamed(b"a APPEND x {5}"), Piece(b"hello", True), Rest(b"", False), Complete(b"b NOOP")],
    ),
    (
        b"a append {1+}\r\nx (\\Seen) {3+}\r\n\r\n\n\r\n",
        [Streamed(b"a append {1+}\r\nx (\\Seen) {3+}"), Piece(b"\r\n\n", True), Rest(b"", False)],
    ),
    (b"a APPEND x {0+}\r\n\r\n", [Streamed(b"a APPEND x {0+}"), Piece(b"", True), Rest(b"", False)]),
    (
        b"a APPEND x {1+}\r\nA {2+}\r\nBB\r\nb NOOP\r\n",
        [
            Streamed(b"a APPEND x {1+}"),
            Piece(b"A", True),
            Rest(b" {2+}", True),
            Piece(b"BB", True),
            Rest(b"", False),
            Complete(b"b NOOP"),
        ],
    ),
    (
        b"a uid replace 4 x ~{2}\r\nhi\r\nb REPLACE 1 y (x) {0+}\r\n\r\n",
        [
            Streamed(b"a uid replace 4 x ~{2}"),
            Piece(b"hi", True),
            Rest(b"", False),
            Streamed(b"b REPLACE 1 y (x) {0+}"),
            Piece(b"", True),
            Rest(b"", False),
        ],
    ),
]


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream[0][:20].decode())
@pytest.mark.parametrize("step", [0, 1, 2, 3, 7])
def test_events_do_not_depend_on_how_octets_arrive(stream: tuple[bytes, list[Event]], step: int) -> None:
    data, events = stream
    assert drive(data, step=step) == events


@pytest.mark.parametrize("step", [0, 1])
def test_an_abandoned_append_that_does_not_wait_is_skipped_exactly(step: int) -> None:
    data = b"a APPEND x {9+}\r\nb LOGOUT\n {4+}\r\nc X\n tail\r\nd NOOP\r\n"
    assert drive(data, step=step, accept=False) == [Streamed(b"a APPEND x {9+}"), Complete(b"d NOOP")]


@pytest.mark.parametrize("step", [0, 1])
def test_an_abandoned_append_that_waits_sends_nothing(step: int) -> None:
    data = b"a APPEND x {9}\r\nd NOOP\r\n"
    assert drive(data, step=step, accept=False) == [Streamed(b"a APPEND x {9}"), Complete(b"d NOOP")]


def test_a_streamed_literal_can_be_given_up_in_the_middle() -> None:
    framer = Framer(AFTER)
    framer.feed(b"a APPEND x {10+}\r\n12345")
    assert isinstance(framer.next_event(), Streamed)
    framer.accept()
    assert framer.next_event() == Piece(b"12345", False)
    assert framer.abandon()
    framer.feed(b"67890\r\nb NOOP\r\n")
    assert framer.next_event() == Complete(b"b NOOP")


@pytest.mark.parametrize("size", ["4294967296", "99999999999999999999", "101", "9" * 90])
def test_h091_a_waiting_client_with_a_huge_literal_is_answered_bad_and_nothing_is_kept(size: str) -> None:
    events = drive(f"a LOGIN {{{size}}}\r\nb NOOP\r\n".encode(), BEFORE)
    refused, following = events
    assert isinstance(refused, Refused)
    assert (refused.tag, refused.fatal) == ("a", False)
    assert isinstance(refused.error, Bad)
    assert following == Complete(b"b NOOP")


def test_h091_with_literal_minus_only_4096_octets_come_unasked() -> None:
    """RFC 7888 5; what is more is skipped and the stream stays in step, in the second literal of an APPEND too."""
    bounds = Bounds(line=200, literals=9000, discard=9000, stream=True, unasked=4096)
    whole = b"x" * 4096
    assert drive(b"a S {4096+}\r\n%b\r\n" % whole, bounds) == [Complete(b"a S {4096+}\r\n" + whole)]
    for head in (b"a S ", b"a APPEND x "):
        refused, following = drive(head + b"{4097+}\r\n%bx\r\nb NOOP\r\n" % whole, bounds)
        assert isinstance(refused, Refused)
        assert isinstance(refused.error, Bad)
        assert (refused.tag, refused.fatal, following) == ("a", False, Complete(b"b NOOP"))
    *_, refused, following = drive(b"a APPEND x {1+}\r\nA {4097+}\r\n%bx\r\nb NOOP\r\n" % whole, bounds)
    assert isinstance(refused, Refused)
    assert following == Complete(b"b NOOP")


def test_h091_minus_one_is_no_literal() -> None:
    assert drive(b"a LOGIN {-1}\r\n", BEFORE) == [Complete(b"a LOGIN {-1}")]


def test_h091_a_literal_at_the_limit_is_read_and_one_past_it_is_not() -> None:
    assert drive(b"a S {300+}\r\n%b\r\n" % (b"x" * 300))[0] == Complete(b"a S {300+}\r\n" + b"x" * 300)
    events = drive(b"a S {301+}\r\n%b\r\nb NOOP\r\n" % (b"x" * 301))
    assert isinstance(events[0], Refused)
    assert isinstance(events[0].error, No)
    assert events[0].error.code == "TOOBIG"
    assert events[1:] == [Complete(b"b NOOP")]


def test_h091_a_client_that_does_not_wait_and_sends_too_much_is_told_bye() -> None:
    (refused, *_) = drive(b"a S {2001+}\r\n")
    assert isinstance(refused, Refused)
    assert refused.fatal


def test_h092_many_small_literals_count_together() -> None:
    events = drive(b"a SEARCH" + b" {10+}\r\n0123456789" * 31 + b"\r\nb NOOP\r\n", Bounds(1000, 300, 2000, True))
    assert isinstance(events[0], Refused)
    assert events[-1] == Complete(b"b NOOP")
    assert len(events) == 2


def test_h092_the_text_between_empty_literals_counts_too() -> None:
    events = drive(b"a SEARCH" + b" {0+}\r\n" * 50 + b"\r\nb NOOP\r\n")
    assert isinstance(events[0], Refused)
    assert events[-1] == Complete(b"b NOOP")


@pytest.mark.parametrize("step", [0, 1, 64])
def test_a_line_past_the_limit_is_dropped_with_the_literal_it_announces(step: int) -> None:
    line = b"a " + b"x" * 199 + b" {6+}\r\nb NOOP\r\nc NOOP\r\n"
    events = drive(line, step=step)
    assert isinstance(events[0], Refused)
    assert (events[0].tag, events[0].fatal) == ("a", False)
    assert events[1:] == [Complete(b"c NOOP")]


def test_a_line_at_the_limit_is_read() -> None:
    assert drive(b"x" * 200 + b"\r\n") == [Complete(b"x" * 200)]


def test_h093_parentheses_without_end_before_login_are_fatal_and_not_kept() -> None:
    framer = Framer(BEFORE)
    framer.feed(b"a SEARCH " + b"(" * 100)
    refused = framer.next_event()
    assert isinstance(refused, Refused)
    assert refused.fatal


def test_a_line_without_end_is_fatal_after_a_while_and_keeps_no_memory() -> None:
    framer = Framer(AFTER)
    events: list[Event] = []
    for _ in range(100):
        framer.feed(b"x" * 100)
        while (event := framer.next_event()) is not None:
            events.append(event)
        last = events[-1] if events else None
        if isinstance(last, Refused) and last.fatal:
            break
        assert framer.pending <= 300
    assert [event.fatal for event in events if isinstance(event, Refused)] == [False, True]


def test_raw_lines_are_bounded_and_dropped() -> None:
    framer = Framer(AFTER)
    framer.feed(b"DONE\r\n" + b"x" * 50)
    assert framer.next_line(10) == b"DONE"
    with pytest.raises(Bad):
        framer.next_line(10)
    framer.feed(b"x\r\nb NOOP\r\n")
    assert framer.next_event() == Complete(b"b NOOP")


def test_seeded_streams_give_the_same_events_however_they_arrive() -> None:
    seed = random.Random(9051)
    words = [
        b"a ",
        b"APPEND ",
        b"x ",
        b"{3+}\r\n",
        b"{3}\r\n",
        b"{99999+}\r\n",
        b"abc",
        b"\r\n",
        b"\r",
        b"\n",
        b"(" * 60,
        b"{",
    ]
    for _ in range(2000):
        data = b"".join(seed.choices(words, k=seed.randrange(1, 14)))
        whole = shown(drive(data))
        for step in (1, 5):
            assert shown(drive(data, step=step)) == whole, data


def shown(events: list[Event]) -> list[object]:
    """Without pieces, whose number depends on how octets arrive; refusals by what they say."""
    said = [(e.tag, e.error.text, e.fatal) if isinstance(e, Refused) else e for e in events]
    return [event for event in said if not isinstance(event, Piece)]


@pytest.mark.parametrize(
    ("octets", "at_hand"),
    [
        (b"a APPEND INBOX {3+}\r\nabc\r\n", True),
        (b'a append "x y" (\\Seen) ~{3+}\r\nabc\r\nb NOOP\r\n', True),
        (b"a APPEND INBOX {3+}\r\nabc\r", False),
        (b"a APPEND INBOX {3+}\r\nabc", False),
        (b"a APPEND INBOX {3+}\r\nabc {3+}\r\nabc\r\n", False),  # MULTIAPPEND
        (b"a APPEND INBOX {3}\r\nabc\r\n", False),  # waits for "+"
        (b"a APPEND INBOX {5000+}\r\n" + b"x" * 5000 + b"\r\n", False),  # past LITERAL-
        (b"a APPEND {5+}\r\nINBOX {3+}\r\nabc\r\n", False),
        (b"a " + b" " * 40 + b"APPEND INBOX {3+}\r\nabc\r\n", False),
        (b"a APPEND " + b"x" * 100 + b" {3+}\r\nabc\r\n", False),  # a line too long
        (b"a NOOP\r\n", False),
        (b"", False),
    ],
)
def test_an_append_is_at_hand_when_all_of_it_has_come_and_nothing_refuses_it(octets: bytes, at_hand: bool) -> None:
    framer = Framer(Bounds(line=100, literals=10, discard=10_000, stream=True, unasked=4096))
    framer.feed(octets)
    assert framer.append_at_hand is at_hand
    if at_hand:
        assert isinstance(framer.next_event(), Streamed)
        framer.accept()
        assert framer.next_event() == Piece(b"abc", last=True)
        assert framer.next_event() == Rest(b"", more=False)
    assert not framer.append_at_hand


def test_before_login_no_append_is_at_hand() -> None:
    framer = Framer(Bounds(line=100, literals=100, discard=100, stream=False))
    framer.feed(b"a APPEND INBOX {3+}\r\nabc\r\n")
    assert not framer.append_at_hand
