"""The DATA decoder: only CRLF.CRLF ends, nothing depends on segmentation (security.md rows 1-9)."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from message.lines import BARE_LINE_END, LONG_LINE, NUL
from smtp.data import DataDecoder
from smtp.outbound.stuffing import BareLineEnd, DotStuffer

LIMIT = 64 * 1024


def decode(*pieces: bytes, limit: int = LIMIT) -> tuple[bytes, DataDecoder]:
    decoder = DataDecoder(limit)
    out = b""
    for index, piece in enumerate(pieces):
        if decoder.done:
            decoder.rest += b"".join(pieces[index:])
            break
        out += decoder.feed(piece)
    return out, decoder


def each_split(wire: bytes) -> list[tuple[bytes, ...]]:
    """Whole, cut in two at every place, and octet by octet."""
    halves = [(wire[:cut], wire[cut:]) for cut in range(1, len(wire))]
    return [(wire,), *halves, tuple(wire[i : i + 1] for i in range(len(wire)))]


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (b".\r\n", b""),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"...\r\n..a\r\n.\r\n", b"..\r\n.a\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),  # RFC 5321 4.5.2: a leading dot goes, whatever follows it
        (b"\r\n.\r\n", b"\r\n"),
        (b"\r\n\r\n..\r\n\r\n.\r\n", b"\r\n\r\n.\r\n\r\n"),
    ],
)
def test_h009_stuffing_is_undone_at_every_segmentation(wire: bytes, message: bytes) -> None:
    for pieces in each_split(wire + b"QUIT\r\n"):
        out, decoder = decode(*pieces)
        assert (out, decoder.rest, decoder.fault) == (message, b"QUIT\r\n", None)
        assert decoder.size == len(message)


SMUGGLED = b"MAIL FROM:<admin@mairie.test>\r\nDATA\r\nx"


@pytest.mark.parametrize(
    "fake",
    [
        *(b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\n.\r", b"\r\n.\r", b"\r\r\n.\r\r\n", b"\r.\n"),
        *(b"\r\n.\r\r\n", b"\r\n..\n", b"x\ny", b"x\ry"),
    ],
)
def test_h001_h002_h003_h006_h007_a_false_end_is_no_end_and_refused(fake: bytes) -> None:
    for pieces in each_split(b"Subject: a\r\n\r\nfirst" + fake + SMUGGLED + b"\r\n.\r\nNOOP\r\n"):
        _, decoder = decode(*pieces)
        assert decoder.done
        assert decoder.rest == b"NOOP\r\n"
        assert decoder.fault is BARE_LINE_END


@pytest.mark.parametrize("fake", [b"\r\n\x00.\r\n", b"\r\n.\x00\r\n"])
def test_h004_nul_is_no_end_and_refused(fake: bytes) -> None:
    for pieces in each_split(b"first" + fake + SMUGGLED + b"\r\n.\r\n"):
        _, decoder = decode(*pieces)
        assert decoder.done
        assert decoder.fault is NUL


def test_the_fault_told_does_not_depend_on_which_came_first() -> None:
    for pieces in each_split(b"a\x00\r\n" + b"b\nc\r\n.\r\n"):
        assert decode(*pieces)[1].fault is BARE_LINE_END


@pytest.mark.parametrize(("length", "fault"), [(49, None), (50, None), (51, LONG_LINE), (200, LONG_LINE)])
def test_a_line_longer_than_the_limit_is_a_fault(length: int, fault: object) -> None:
    """`length` counts the CRLF."""
    line = b"x" * (length - 2) + b"\r\n"
    for pieces in each_split(b"short\r\n" * 20 + line + b"short\r\n" * 20 + b".\r\n"):
        assert decode(*pieces, limit=50)[1].fault is fault


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda b: b.translate(None, b"\r\n\0")), max_size=12),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
@settings(max_examples=200, deadline=None)
def test_what_the_client_stuffs_the_server_unstuffs(lines: list[bytes], cuts: list[int]) -> None:
    message = b"".join(line + b"\r\n" for line in lines)
    places = sorted({cut for cut in cuts if cut < len(message)} | {0, len(message)})
    stuffer = DotStuffer()
    wire = b"".join(stuffer.feed(message[a:b]) for a, b in itertools.pairwise(places)) + stuffer.end()
    pieces = [wire[i : i + 3] for i in range(0, len(wire), 3)]
    out, decoder = decode(*pieces)
    assert out == message
    assert decoder.done
    assert decoder.fault is None


@pytest.mark.parametrize(
    "blocks",
    [[b"a\nb"], [b"a\rb"], [b"a\r", b"b"], [b"a\r\n.\r", b"\r\n"], [b"a\r\n.\r\r\n"], [b"\r\r\n.\r\r\n"], [b"a\r"]],
)
def test_h005_bare_line_ends_never_leave(blocks: list[bytes]) -> None:
    stuffer = DotStuffer()

    def send() -> None:
        for block in blocks:
            stuffer.feed(block)
        stuffer.end()

    with pytest.raises(BareLineEnd):
        send()


@pytest.mark.parametrize(("content", "wire"), [(b"", b".\r\n"), (b"a", b"a\r\n.\r\n"), (b".\r\n", b"..\r\n.\r\n")])
def test_the_end_of_data_follows_a_line_end(content: bytes, wire: bytes) -> None:
    stuffer = DotStuffer()
    assert stuffer.feed(content) + stuffer.end() == wire


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (b"a\nb\r\n.\r\n", b"a\r\nb\r\n"),
        (b"a\rb\r\n.\r\n", b"a\r\nb\r\n"),
        (b"a\n\nb\r\r\n.\r\n", b"a\r\n\r\nb\r\n\r\n"),
        (b"a\n.\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),  # an end it is not: only the line ends are mended
        (b"a\n.\r\n.\r\n", b"a\r\n.\r\n"),
        (b"..a\n..b\r\n.\r\n", b".a\r\n..b\r\n"),
    ],
)
def test_h007_a_listed_devices_bare_line_ends_are_mended_and_still_end_nothing(wire: bytes, message: bytes) -> None:
    for pieces in each_split(wire):
        decoder = DataDecoder(LIMIT, mend=True)
        out = b"".join(decoder.feed(piece) for piece in pieces)
        assert decoder.done
        assert (out, decoder.fault, decoder.size) == (message, None, len(message))
