"""Fourfold input takes about fourfold time, whatever shape it has (security.md rows 58-63, 68)."""

import email
import time
from collections.abc import Callable

import pytest

from message import facts, text
from message.content import BytesContent
from message.html import Stripper
from message.transfer import Encoding, decoded

SMALL, LARGE = 250_000, 1_000_000
HEADER_SMALL, HEADER_LARGE = 15_000, 60_000
SLACK = 0.05  # seconds of noise on a loaded machine


def repeated(unit: bytes, size: int) -> bytes:
    return (unit * (size // len(unit) + 1))[:size]


def linear(work: Callable[[int], object], small: int, large: int) -> None:
    """CPU time of this thread. Each try does the same amount both ways, so that what others do to the caches meanwhile
    slows both down: four times the size takes sixteen times as long where it is not linear."""
    times = large // small
    for _ in range(6):
        before, after = sum(spent(work, small) for _ in range(times)), spent(work, large)
        if after <= 2.5 * before + SLACK:
            return
    raise AssertionError(f"{times} times {small} took {before:.3f} s, {large} took {after:.3f} s")


def spent(work: Callable[[int], object], size: int) -> float:
    start = time.thread_time()
    work(size)
    return time.thread_time() - start


def multipart(body: bytes, boundary: bytes = b"b", subtype: bytes = b"mixed") -> bytes:
    return b"From: a@b\r\nContent-Type: multipart/%b; boundary=%b\r\n\r\n%b" % (subtype, boundary, body)


def nested(depth: int, size: int) -> bytes:
    out = b""
    for level in range(depth):
        out += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level)
    return out + b"\r\n" + b"x" * (size - len(out))


BOMBS: dict[str, Callable[[int], bytes]] = {
    "h058_tiny_fields": lambda n: repeated(b"a:b\r\n", n) + b"\r\n",
    "h058_one_field": lambda n: b"To: " + b"a" * n + b"\r\n\r\n",
    "h058_folds": lambda n: b"To: " + repeated(b"x\r\n ", n) + b"\r\n\r\n",
    "h058_lines_without_cr": lambda n: repeated(b"a:\n", n) + b"\r\n\r\n",
    "h058_lines_without_cr_before_one": lambda n: repeated(b"a:\n", n) + b"\r\n\r",
    "h058_lines_without_lf": lambda n: repeated(b"a:\r", n) + b"\r\n\r\n",
    "h058_folds_before_a_cr": lambda n: b"To: " + repeated(b"x\r\n ", n) + b"\r",
    "h060_parts": lambda n: multipart(repeated(b"--b\r\n\r\nx\r\n", n)),
    "h060_digest": lambda n: multipart(repeated(b"--b\r\n\r\nFrom: a@b\r\n\r\nx\r\n", n), subtype=b"digest"),
    "h060_headers_without_end": lambda n: multipart(repeated(b"--b\r\nA: b\r\n", n)),
    "h061_depth": lambda n: nested(2000, n + 200_000),
    "h061_depth_within_bounds": lambda n: nested(45, n),
    "h061_messages": lambda n: repeated(b"Content-Type: message/rfc822\r\n\r\n", n),
    "h061_multiparts": lambda n: multipart(
        repeated(b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n", n)
    ),
    "h061_almost_boundaries": lambda n: multipart(repeated(b"\r\n--bX", n)),
    "h061_long_padding": lambda n: multipart(repeated(b"\r\n--b" + b" " * 900 + b"x", n)),
    "empty_lines": lambda n: b"\r\n" * (n // 2),
    "h068_quoted_printable_blanks": lambda n: b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b" " * n,
}


@pytest.mark.parametrize("name", BOMBS)
def test_messages_are_read_in_linear_time(name: str) -> None:
    linear(lambda size: facts.gather(BytesContent(BOMBS[name](size))), SMALL, LARGE)


UNITS = [
    b"(", b'"', b"\\", b"<", b"@", b":", b";", b"[", b"[\\", b".", b'"\\', b"(\\", b"<@", b"a ", b"=?", b"=?a?q?",
         b"a@b,", b"=?utf-8?q?a?= ", b"(a)", b" ", b"\t", b"[fwd:", b"re:", b"[a]", b"(fwd)", b";a=b", b";a*0=b", b"*",
         b"1 ",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_h063_header_values_are_read_in_linear_time(unit: bytes) -> None:
    def work(size: int) -> None:
        value = repeated(unit, size)
        names = (b"From", b"Subject", b"Date", b"Content-Type")
        facts.gather(BytesContent(b"".join(b"%b: %b\r\n" % (name, value) for name in names) + b"\r\n"))

    linear(work, HEADER_SMALL, HEADER_LARGE)


@pytest.mark.parametrize("kind", [Encoding.BASE64, Encoding.QUOTED_PRINTABLE])
@pytest.mark.parametrize("unit", [b" ", b"=", b"=\r\n", b"= ", b"a \r", b"=4", b"=\r", b"A "])
def test_h068_transfer_encodings(kind: Encoding, unit: bytes) -> None:
    def work(size: int) -> None:
        data = repeated(unit, size)
        for _ in decoded(kind, [data[at : at + 16384] for at in range(0, size, 16384)]):
            pass

    linear(work, SMALL, LARGE)


def stripped(unit: str, size: int, block: int) -> None:
    stripper = Stripper()
    data = (unit * size)[:size]
    for at in range(0, size, block):
        stripper.feed(data[at : at + block])
    stripper.flush()


@pytest.mark.parametrize("unit", ["<", "<a", "<a>", "<!--", "<!-", "<script>", "<style", "&", "&#1", "</", ">", "<p>a"])
def test_html_is_stripped_in_linear_time(unit: str) -> None:
    linear(lambda size: stripped(unit, size, 16384), SMALL // 4, LARGE // 4)


def test_html_in_one_long_feed() -> None:
    """Looking for a ">" is so fast that only a great difference in size shows whether each "<" looks again."""
    linear(lambda size: stripped("<", size, LARGE), LARGE // 32, LARGE)


def test_a_text_is_searched_in_linear_time() -> None:
    def work(size: int) -> None:
        data = b"Content-Type: text/html\r\n\r\n" + repeated(b"<b>a</b> ", size)
        assert not text.contains(BytesContent(data), "zz", body_only=True)

    linear(work, SMALL // 4, LARGE // 4)


def _times_faster(data: bytes) -> float:
    ours = min(spent(lambda _: facts.gather(BytesContent(data)), 0) for _ in range(3))
    return min(spent(lambda _: email.message_from_bytes(data), 0) for _ in range(2)) / ours


def test_ten_megabytes_take_a_tenth_of_the_stdlib(record_property: Callable[[str, object], None]) -> None:
    line = b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODkw\r\n"
    attachment = b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    data = multipart(b"--b\r\n\r\nBonjour\r\n" + attachment + line * (10_000_000 // len(line)) + b"\r\n--b--\r\n")
    times = _times_faster(data)
    record_property("times_faster", round(times, 1))
    assert times >= 10


def test_ten_megabytes_of_one_text_take_a_tenth_of_the_stdlib() -> None:
    line = b"Le conseil municipal approuve le compte rendu de la derni\xc3\xa8re s\xc3\xa9ance.\r\n"
    data = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    assert _times_faster(data + line * (10_000_000 // len(line))) >= 10
