"""BINARY items over a mailbox in memory (RFC 3516, RFC 9051 6.4.5): decoded octets, sizes, partial ranges."""

from __future__ import annotations

import base64

import pytest

from imap.commands.fetch import FETCH, UID_FETCH
from message.content import BLOCK
from store.types import Flag
from tests.fakes.imap_session import Desk, desk
from tests.fakes.memory_mailbox import MemoryMailbox

TABLE = {command.name: command for command in (FETCH, UID_FETCH)}
NULS = bytes(range(256)) * 3
TEXT = "Arrêté du maire : déchets".encode()
MIXED = (
    b"Subject: x\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n"
    b"--o\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Arr=C3=AAt=C3=A9 du=\r\n maire : d=C3=A9chets\r\n"
    b"--o\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(NULS) + b"\r\n"
    b"--o\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: x-uue\r\n\r\nodd\r\n"
    b"--o\r\nContent-Type: text/plain\r\n\r\nplain\r\n--o--\r\n"
)


async def mixed(raw: bytes = MIXED) -> tuple[Desk, MemoryMailbox]:
    mailbox = MemoryMailbox()
    mailbox.put(raw)
    return await desk(mailbox, TABLE), mailbox


def answered(item: bytes, value: bytes) -> bytes:
    return b"* 1 FETCH (%b %b)\r\n1 OK FETCH completed\r\n" % (item, value)


def literal(octets: bytes) -> bytes:
    return b"%b{%d}\r\n%b" % (b"~" if b"\0" in octets else b"", len(octets), octets)


@pytest.mark.parametrize(
    ("item", "value"),
    [
        (b"BINARY[1]", literal(TEXT)),
        (b"BINARY[2]", literal(NULS)),
        (b"BINARY[4]", literal(b"plain")),
        (b"BINARY[]", literal(MIXED)),
        (b"BINARY[9]", b"NIL"),
        (b"BINARY[1.2.3.4294967295]", b"NIL"),
        (b"BINARY.SIZE[1]", b"%d" % len(TEXT)),
        (b"BINARY.SIZE[2]", b"%d" % len(NULS)),
        (b"BINARY.SIZE[]", b"%d" % len(MIXED)),
        (b"BINARY.SIZE[9]", b"0"),
    ],
)
async def test_parts_come_without_their_encoding(item: bytes, value: bytes) -> None:
    at, mailbox = await mixed()
    asked = item.replace(b"BINARY[", b"BINARY.PEEK[")
    assert await at.ask(b"1 FETCH 1 " + asked) == answered(item, value)
    assert Flag.SEEN not in mailbox.messages[1].flags
    assert all(file.closed for file in mailbox.files)


@pytest.mark.parametrize(("start", "length"), [(0, 5), (3, 1), (20, 900), (760, 99), (768, 1), (2**62, 2**62)])
async def test_h101_partials_count_decoded_octets(start: int, length: int) -> None:
    at, _ = await mixed()
    wanted = answered(b"BINARY[2]<%d>" % start, literal(NULS[start : start + length]))
    assert await at.ask(b"1 FETCH 1 BINARY.PEEK[2]<%d.%d>" % (start, length)) == wanted


async def test_binary_sets_seen_as_body_does() -> None:
    at, mailbox = await mixed()
    assert (await at.ask(b"1 FETCH 1 BINARY[4]")).startswith(b"* 1 FETCH (FLAGS (\\Seen) BINARY[4] {5}\r\nplain)")
    assert Flag.SEEN in mailbox.messages[1].flags


async def test_h101_an_unknown_encoding_is_no_and_the_others_are_answered() -> None:
    _, mailbox = await mixed()
    mailbox.put(b"Subject: y\r\n\r\n")
    mailbox.put(MIXED.replace(b"x-uue", b"8bit"))
    at = await desk(mailbox, TABLE)
    answer = await at.ask(b"1 FETCH 1:* (UID BINARY.PEEK[3])")
    assert b"* 1 FETCH (UID 1)" in answer
    assert b"* 3 FETCH (UID 3 BINARY[3] {3}\r\nodd)" in answer
    assert b"1 NO [UNKNOWN-CTE]" in answer
    assert b"1 NO [UNKNOWN-CTE]" in await at.ask(b"1 UID FETCH 1 BINARY.SIZE[3]")


async def test_an_answer_without_its_only_item_tells_the_uid() -> None:
    """RFC 9051 9: "FETCH ()" is no response."""
    at, _ = await mixed()
    assert (await at.ask(b"1 FETCH 1 BINARY.PEEK[3]")).startswith(b"* 1 FETCH (UID 1)\r\n1 NO [UNKNOWN-CTE]")


async def test_long_parts_are_decoded_block_by_block() -> None:
    big = bytes(range(251)) * 8000
    head = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    at, mailbox = await mixed(head + base64.encodebytes(big))
    assert await at.ask(b"1 FETCH 1 BINARY.PEEK[1]") == answered(b"BINARY[1]", literal(big))
    assert max(stop - start for start, stop in mailbox.reads) <= BLOCK
    assert at.outlet.most_waiting <= 2 * BLOCK
    cut = await at.ask(b"1 FETCH 1 BINARY.PEEK[1]<1000000.300000>")
    assert cut == answered(b"BINARY[1]<1000000>", literal(big[1_000_000:1_300_000]))


async def test_clients_of_dovecot_ask_for_headers_and_open_partials_too() -> None:
    """RFC 3516 3 has part numbers only, and partials with a length (docs/quirks.md)."""
    at, _ = await mixed(b"Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=")
    assert await at.ask(b"1 FETCH 1 (BINARY.SIZE[1.MIME] BINARY.PEEK[1.MIME])") == (
        b"* 1 FETCH (BINARY.SIZE[1.MIME] 37 BINARY[1.MIME] {37}\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n)\r\n1 OK FETCH completed\r\n"
    )
    assert await at.ask(b"1 FETCH 1 BINARY.PEEK[1]<2>") == answered(b"BINARY[1]<2>", literal(b"llo"))
    assert b"BINARY.SIZE[HEADER.FIELDS (X-None)] 2)" in await at.ask(b"1 FETCH 1 BINARY.SIZE[HEADER.FIELDS (X-None)]")


@pytest.mark.parametrize(
    "item", [b"BINARY", b"BINARY[1.]", b"BINARY[1.ODD]", b"BINARY[MIME]", b"BINARY.SIZE[1]<0.5>", b"BINARY[1]<0.0>"]
)
async def test_outside_the_grammar(item: bytes) -> None:
    at, _ = await mixed()
    assert b"1 BAD" in await at.ask(b"1 FETCH 1 " + item)
