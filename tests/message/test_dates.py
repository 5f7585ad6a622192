"""Dates in and out; the absurd is None."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from message import dates
from message.dates import format_date, parse


@pytest.mark.parametrize(
    ("text", "seconds", "zone"),
    [
        (b"Fri, 21 Nov 1997 09:55:06 -0600", 880127706, -360),
        (b"Tue, 1 Jul 2003 10:52:37 +0200", 1057049557, 120),
        (b"Thu, 13 Feb 1969 23:32 -0330", -27723480, -210),
        (b"21 Nov 97 09:55:06 GMT", 880106106, 0),
        (b"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880127706, -360),
        (b"Fri,21 Nov 97 09:55:06 EST", 880124106, -300),
        (b"1 Jan 100 00:00:00 +0000", 946684800, 0),
        (b"1 Jan 2000 00:00:00 A", 946684800, 0),
        (b"1 Jan 2000 00:00:00 -0000", 946684800, 0),
        (b"1 Jan 2000 00:00:00", 946684800, 0),
        (b"31 Dec 2016 23:59:60 +0000", 1483228799, 0),
    ],
)
def test_current_and_obsolete_forms(text: bytes, seconds: int, zone: int) -> None:
    date = parse(text)
    assert date is not None
    assert (date.seconds, date.zone) == (seconds, zone)


@pytest.mark.parametrize(
    "text",
    [b"", b"yesterday", b"1 Jan 99999 00:00:00 +0000", b"1 Jan 2020 00:00:00 +9999", b"31 Feb 2020 00:00:00 +0000",
     b"1 Jan 2020 24:00:00 +0000", b"1 Jan 2020 00:00:61 +0000", b"1 Foo 2020 00:00:00 +0000", b"(" * 9999,
     b"1 Jan 0000 00:00:00 +0000", b"1 Jan 2020 00:00:00 +0160", b"\xff\xfe"],
)  # fmt: skip
def test_h073_absurd_dates_are_none(text: bytes) -> None:
    assert parse(text) is None


def test_the_day_is_the_senders() -> None:
    date = parse(b"Sun, 22 Nov 2026 00:30:00 +0200")
    assert date is not None
    assert date.local.isoformat() == "2026-11-22"


@given(
    st.tuples(
        st.sampled_from(["", "Sun, ", "Abc, "]),
        st.sampled_from(["1 Jan ", "31 Feb ", "00 Nov ", "22 Nov ", "22 Xyz "]),
        st.sampled_from(["2026", "1899", "0000", "9999"]),
        st.sampled_from([" 10:00:00 ", " 24:00:60 ", " 23:59:61 "]),
        st.sampled_from(["+0100", "-0030", "+1460", "GMT"]),
        st.sampled_from(["", " (CET)", " (GMT)"]),
    ).map("".join)
)
def test_a_usual_date_is_read_as_any_other(text: str) -> None:
    usual, other = dates._USUAL.fullmatch(text), dates._DATE.match(dates._plain(text.encode()))
    assert usual is not None
    assert other is not None
    assert usual.groups() == other.groups()


@given(st.integers(-2_000_000_000, 250_000_000_000), st.integers(-720, 840))
def test_what_is_written_is_read(seconds: int, zone: int) -> None:
    date = parse(format_date(seconds, zone).encode())
    assert date is not None
    assert (date.seconds, date.zone) == (seconds, zone)
