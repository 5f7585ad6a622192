"""The message of RFC 9051 6.4.5.1 and all part specifiers that the RFC lists for it."""

from __future__ import annotations

import re

import pytest

from tests.fakes.imap_world import World, selected

GIF = b"Content-Type: image/gif\r\nContent-ID: <gif@x>\r\n\r\nGIF"
ALTERNATIVE = b"--d\r\nContent-Type: text/plain\r\n\r\nplain\r\n--d\r\nContent-Type: text/richtext\r\n\r\nrich\r\n--d--"
INNER_TEXT = (
    b"--c\r\nContent-Type: text/plain\r\n\r\ninner\r\n"
    b"--c\r\nContent-Type: multipart/alternative; boundary=d\r\n\r\n" + ALTERNATIVE + b"\r\n--c--"
)
INNER_HEADER = b"Subject: four-two\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"
FOUR = (
    b"--b\r\n" + GIF + b"\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + INNER_HEADER + INNER_TEXT + b"\r\n--b--"
)  # fmt: skip
THREE_TEXT = (
    b"--e\r\nContent-Type: text/plain\r\n\r\nthree-one\r\n"
    b"--e\r\nContent-Type: application/octet-stream\r\n\r\nthree-two\r\n--e--"
)
THREE_HEADER = b"Subject: three\r\nContent-Type: multipart/mixed; boundary=e\r\n\r\n"
HEADER = b"Subject: outer\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n"
TEXT = (
    b"--a\r\nContent-Type: text/plain\r\n\r\none\r\n--a\r\nContent-Type: application/octet-stream\r\n\r\ntwo\r\n"
    b"--a\r\nContent-Type: message/rfc822\r\n\r\n" + THREE_HEADER + THREE_TEXT
    + b"\r\n--a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + FOUR + b"\r\n--a--\r\n"
)  # fmt: skip


@pytest.mark.parametrize(
    ("section", "octets"),
    [
        (b"HEADER", HEADER),
        (b"TEXT", TEXT),
        (b"1", b"one"),
        (b"2", b"two"),
        (b"3", THREE_HEADER + THREE_TEXT),
        (b"3.HEADER", THREE_HEADER),
        (b"3.TEXT", THREE_TEXT),
        (b"3.1", b"three-one"),
        (b"3.2", b"three-two"),
        (b"4", FOUR),
        (b"4.1", b"GIF"),
        (b"4.1.MIME", GIF.removesuffix(b"GIF")),
        (b"4.2", INNER_HEADER + INNER_TEXT),
        (b"4.2.HEADER", INNER_HEADER),
        (b"4.2.TEXT", INNER_TEXT),
        (b"4.2.1", b"inner"),
        (b"4.2.2", ALTERNATIVE),
        (b"4.2.2.1", b"plain"),
        (b"4.2.2.2", b"rich"),
    ],
)
async def test_rfc9051_6_4_5_1_every_part_specifier(section: bytes, octets: bytes) -> None:
    async with World() as world, selected(world, HEADER + TEXT) as client:
        (line, _) = await client.ok(b"FETCH 1 BODY.PEEK[%b]" % section)
        match = re.match(rb"\* 1 FETCH \(BODY\[[^]]*\] (?:\{\d+\}\r\n|\")", line)
        assert match
        assert line[match.end() :].rstrip(b')"') == octets.rstrip(b')"')
