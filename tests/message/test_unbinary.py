"""A binary message made one of lines: the same parts with the same contents, judged by the standard library."""

from __future__ import annotations

from email import message_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config import Limits
from message.content import BytesContent, blocks
from message.lines import BARE_LINE_END, LONG_LINE, NUL, LineJudge, whole_lines
from message.unbinary import Converted, converted

ALL = bytes(range(256)) * 5  # every octet, bare CR and LF and NUL among them


def leaf(body: bytes, *fields: bytes, encoding: bytes = b"binary") -> bytes:
    head = b"\r\n".join((b"Content-Type: application/pdf", *fields, b"Content-Transfer-Encoding: " + encoding))
    return head + b"\r\n\r\n" + body


def mixed(*parts: bytes, boundary: bytes = b"b", encoding: bytes = b"binary") -> bytes:
    inner = b"".join(b"\r\n--" + boundary + b"\r\n" + part for part in parts)
    head = b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\nContent-Transfer-Encoding: ' + encoding
    return head + b"\r\n\r\npreamble" + inner + b"\r\n--" + boundary + b"--\r\n"


def message(part: bytes) -> bytes:
    return b"From: a@b.fr\r\nSubject: x\r\nMIME-Version: 1.0\r\n" + part


def whole(data: bytes) -> bytes:
    found = converted(BytesContent(data))
    assert found is not None
    result = found.read(0, found.size)
    assert len(result) == found.size
    assert result.startswith(found.head)
    assert b"".join(blocks(found)) == result
    return result


def fault(data: bytes) -> object:
    judge = LineJudge(1000)
    for block in whole_lines(BytesContent(data)):
        judge.look(block)
    return judge.fault


@pytest.mark.parametrize("size", [0, 1, 2, 3, 56, 57, 58, 114, 115, 1280])
def test_a_message_that_is_one_binary_part(size: int) -> None:
    result = whole(message(leaf((ALL * 2)[:size])))
    assert fault(result) is None
    assert message_from_bytes(result).get_payload(decode=True) == (ALL * 2)[:size]
    assert message_from_bytes(result)["Content-Transfer-Encoding"] == "base64"
    assert result.endswith(b"\r\n")


def test_rfc2045_4_a_text_of_no_mime_that_is_encoded_becomes_one() -> None:
    """A long line of a program that knows no MIME: whoever reads the field as the RFC has it showed base64."""
    found = converted(BytesContent(b"From: a@b.fr\r\nSubject: x\r\n\r\n" + b"z" * 3000 + b"\r\n"), wrap=True)
    assert found is not None
    result = message_from_bytes(found.read(0, found.size))
    assert result.get_all("MIME-Version") == ["1.0"]
    assert result.get_payload(decode=True) == b"z" * 3000 + b"\r\n"
    assert message_from_bytes(whole(message(leaf(b"x")))).get_all("MIME-Version") == ["1.0"]


def test_parts_among_others_and_messages_inside() -> None:
    inner = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\n" + message(leaf(ALL))
    text = leaf(b"l'\xe9t\xe9\r\n", encoding=b"8bit")
    data = message(mixed(text, leaf(ALL, b"X-A: b"), inner, mixed(leaf(b"\0"), boundary=b"c")))
    result = whole(data)
    assert fault(result) is None
    parsed = message_from_bytes(result)
    assert parsed["Content-Transfer-Encoding"] == "8bit"  # RFC 2045 6.4: composites are never base64
    leaves = [part for part in parsed.walk() if not part.is_multipart()]
    assert [part.get_payload(decode=True) for part in leaves] == [b"l'\xe9t\xe9\r\n", ALL, ALL, b"\0"]
    assert [part["Content-Transfer-Encoding"] for part in leaves] == ["8bit", "base64", "base64", "base64"]
    assert leaves[1]["X-A"] == "b"
    assert b"preamble" in result


def test_what_has_no_binary_part_stays_octet_for_octet() -> None:
    data = BytesContent(message(mixed(leaf(b"x\r\n", encoding=b"8bit"), encoding=b"8bit")))
    assert converted(data) is data


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (leaf(b"a\nb\r\n", encoding=b"8bit"), BARE_LINE_END),
        (leaf(b"a\0b\r\n", encoding=b"8bit"), NUL),
        (leaf(b"a" * 1001 + b"\r\n", encoding=b"8bit"), LONG_LINE),
        (leaf(b"x", b"X: a\rb"), BARE_LINE_END),
    ],
)
def test_h001_what_is_not_binary_has_sound_lines_or_is_found_out(part: bytes, expected: object) -> None:
    assert fault(whole(message(mixed(leaf(ALL), part)))) is expected


def test_h060_h061_what_cannot_be_looked_into_is_not_converted() -> None:
    limits = Limits(mime_parts=5, mime_depth=3)
    assert converted(BytesContent(message(mixed(*[leaf(b"\0")] * 3))), limits) is not None
    assert converted(BytesContent(message(mixed(*[leaf(b"\0")] * 5))), limits) is None
    deep = leaf(b"\0")
    for level in range(5):
        deep = mixed(deep, boundary=b"b%d" % level)
    assert converted(BytesContent(message(deep)), limits) is None


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.binary(max_size=400), st.data())
def test_any_range_reads_as_the_whole_does(first: bytes, second: bytes, data: st.DataObject) -> None:
    content = converted(BytesContent(message(mixed(leaf(first), leaf(second)))))
    assert isinstance(content, Converted)
    result = content.read(0, content.size)
    start = data.draw(st.integers(0, content.size))
    stop = data.draw(st.integers(start, content.size + 10))
    assert content.read(start, stop) == result[start:stop]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000))
def test_no_octets_raise_or_change_what_a_part_holds(body: bytes) -> None:
    result = whole(b"Content-Type: application/x\r\nContent-Transfer-Encoding: BINARY\r\n\r\n" + body)
    assert message_from_bytes(result).get_payload(decode=True) == body
    converted(BytesContent(body))
