"""CHUNKING (RFC 3030): exact octets, one state machine with DATA, bounded, and never a way round the framing rules."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.envelope import Listener
from core.status import Status, refused
from message.lines import BARE_LINE_END
from smtp.data import ChunkDecoder
from smtp.listeners import Server
from tests.fakes.smtp_server import FakeAcceptor, Wire, running, service

LIMIT = 64 * 1024


async def ready(server: Server) -> Wire:
    wire = await Wire.connect(server)
    assert "CHUNKING" in await wire.ehlo()
    assert (await wire.say("MAIL FROM:<a@client.test>")).startswith("250")
    assert (await wire.say("RCPT TO:<agent@mairie.test>")).startswith("250")
    return wire


async def test_chunks_make_one_message_and_dots_are_nothing_special() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await ready(server)
        wire.send(b"BDAT 9\r\nA: b\r\n\r\n.")
        assert await wire.reply() == "250 2.0.0 9 octets received"
        wire.send(b"BDAT 3\r\n\r\n.")
        assert (await wire.reply()).startswith("250")
        wire.send(b"BDAT 2 LAST\r\n\r\n")
        assert (await wire.reply()).startswith("250 2.0.0 Queued")
        assert (await wire.say("DATA")).startswith("503")
        await wire.envelope()
    assert acceptor.messages == [b"A: b\r\n\r\n.\r\n.\r\n"]


async def test_a_whole_transaction_in_one_write_is_answered_in_order() -> None:
    """RFC 3030 4.2: BDAT may stand anywhere in a pipelined group."""
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        wire.send(
            b"MAIL FROM:<a@client.test>\r\nRCPT TO:<agent@mairie.test>\r\nBDAT 4\r\nA:b\rBDAT 3 LAST\r\n\n\r\nRSET\r\n"
            b"MAIL FROM:<b@client.test>\r\nQUIT\r\n"
        )
        codes = [(await wire.reply())[:3] for _ in range(7)]
    assert codes == ["250"] * 6 + ["221"]
    assert acceptor.messages == [b"A:b\r\n\r\n"]


@pytest.mark.parametrize(
    ("group", "codes"),
    [
        # an empty last chunk ends a message (RFC 3030 2)
        (b"BDAT 5\r\nA:b\r\nBDAT 0 LAST\r\n", ["250", "250"]),
        (b"BDAT 0 LAST\r\n", ["250"]),
        # nothing of another kind in between
        (b"BDAT 3\r\nA:bDATA\r\n", ["250", "503"]),
        (b"BDAT 3\r\nA:bRCPT TO:<autre@mairie.test>\r\n", ["250", "503"]),
        (b"BDAT 3\r\nA:bMAIL FROM:<a@b.fr>\r\n", ["250", "503"]),
        (b"BDAT 3\r\nA:bNOOP\r\nBDAT 2 LAST\r\n\r\n", ["250", "250", "250"]),
        # RSET forgets, and what follows is no message
        (b"BDAT 3\r\nA:bRSET\r\nBDAT 2 LAST\r\n\r\nNOOP\r\n", ["250", "250", "503", "250"]),
        # the octets of a refused chunk are no commands
        (b"RSET\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", ["250", "503", "250"]),
    ],
)
async def test_h011_groups(group: bytes, codes: list[str]) -> None:
    async with running(service()) as server:
        wire = await ready(server)
        wire.send(group)
        assert [(await wire.reply())[:3] for _ in codes] == codes


async def test_h011_after_a_failed_bdat_neither_data_nor_bdat_finds_an_envelope() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await ready(server)
        wire.send(b"BDAT 4\r\na\nb\r")
        assert (await wire.reply()).startswith("550 5.5.2")
        assert (await wire.say("DATA")).startswith("503 5.5.1")
        wire.send(b"BDAT 4 LAST\r\na\r\nb")
        assert (await wire.reply()).startswith("503 5.5.1")
        assert (await wire.say("NOOP")).startswith("250")
    assert [each.ended for each in acceptor.receptions] == ["aborted"]


async def test_h012_a_refused_message_leaves_nothing_behind() -> None:
    acceptor = FakeAcceptor(verdict=refused("No", "spam", "5.7.1"))
    async with running(service(acceptor=acceptor)) as server:
        wire = await ready(server)
        wire.send(b"BDAT 5 LAST\r\nA:b\r\n")
        assert (await wire.reply()).startswith("550 5.7.1")
        assert (await wire.say("RCPT TO:<agent@mairie.test>")).startswith("503")


@pytest.mark.parametrize("argument", ["", "x", "-1", "1 FIRST", "1 LAST x", "1.5", "0x10", "1" * 21, "LAST"])
async def test_a_size_that_cannot_be_read_ends_the_session(argument: str) -> None:
    async with running(service()) as server:
        wire = await ready(server)
        assert (await wire.say(f"BDAT {argument}".strip())).startswith("501 5.5.4")
        assert (await wire.reply()).startswith("421 4.5.0")  # RFC 5321 3.8
        assert await wire.closed()


async def test_h040_a_message_that_is_too_big_is_refused_at_the_chunk_that_makes_it_so() -> None:
    async with running(service(limits={"message_size": "20"})) as server:
        wire = await ready(server)
        wire.send(b"BDAT 20\r\n" + b"x" * 18 + b"\r\n")
        assert (await wire.reply()).startswith("250")
        wire.send(b"BDAT 1\r\nx")
        assert (await wire.reply()).startswith("552 5.3.4")
        assert (await wire.say("NOOP")).startswith("250")
        await wire.say("MAIL FROM:<a@client.test>")
        await wire.say("RCPT TO:<agent@mairie.test>")
        assert (await wire.say("BDAT 1000000000000")).startswith("552 5.3.4")
        assert await wire.closed()


async def test_h013_a_million_tiny_chunks_are_an_idle_game() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await ready(server)
        wire.send(b"BDAT 1\r\nx" * 150)
        answers = [await wire.reply() for _ in range(100)]  # EHLO was the first idle command
        assert answers[-1].startswith("421 4.7.0 Too many commands")
        assert await wire.closed()
    assert [each.ended for each in acceptor.receptions] == ["aborted"]


async def test_h020_a_peer_that_leaves_between_chunks_leaves_nothing() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await ready(server)
        wire.send(b"BDAT 3\r\nA:b")
        assert (await wire.reply()).startswith("250")
        wire.close()
        async with asyncio.timeout(20):
            while server.sessions:
                await asyncio.sleep(0.01)
    assert [each.ended for each in acceptor.receptions] == ["aborted"]


async def test_a_bug_in_the_middle_of_a_message_ends_the_session_and_runs_no_octet_of_it() -> None:
    async def broken() -> None:
        raise RuntimeError("bug")

    acceptor = FakeAcceptor(on_feed=broken)
    async with running(service(acceptor=acceptor)) as server:
        for start in (b"DATA\r\n", b"BDAT 100000\r\n"):
            wire = await ready(server)
            wire.send(start)
            if start.startswith(b"DATA"):
                assert (await wire.reply()).startswith("354")
            wire.send(b"A: b\r\nRSET\r\nNOOP\r\n" * 3)
            assert (await wire.reply()).startswith("451 4.3.0")
            assert await wire.closed()
    assert not acceptor.messages


def verdict(data: bytes, cuts: list[int]) -> tuple[bytes, Status | None]:
    decoder = ChunkDecoder(LIMIT)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    out = b"".join(decoder.feed(data[a:b]) for a, b in itertools.pairwise(places))
    decoder.end()
    return out, decoder.fault


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b".", b"\0"]), max_size=12), st.lists(st.integers(0, 24)))
def test_h006_the_result_does_not_depend_on_the_chunks(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    whole = verdict(data, [])
    assert verdict(data, cuts) == whole
    assert verdict(data, list(range(len(data)))) == whole
    bare = data.replace(b"\r\n", b"")
    if b"\r" in bare or b"\n" in bare:
        assert whole[1] is BARE_LINE_END
    else:
        assert whole[0] == data


async def test_rfc3030_3_binary_comes_by_bdat_alone_and_its_octets_as_they_are() -> None:
    acceptor = FakeAcceptor()
    octets = b"A: b\r\n\r\n" + bytes(range(256)) * 300 + b"\r"
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        assert "BINARYMIME" in await wire.ehlo()
        for line, answer in (
            ("MAIL FROM:<a@client.test> BODY=BINARYMIME", "250"),
            ("RCPT TO:<agent@mairie.test>", "250"),
            ("DATA", "503 5.5.1"),
        ):
            assert (await wire.say(line)).startswith(answer)
        wire.send(b"BDAT %d\r\n" % (len(octets) - 1) + octets[:-1])
        assert (await wire.reply()).startswith("250")
        wire.send(b"BDAT 1 LAST\r\n" + octets[-1:])
        assert (await wire.reply()).startswith("250 2.0.0 Queued")
        wire.send(b"NOOP\r\n")
        assert (await wire.reply()).startswith("250")
    assert acceptor.messages == [octets]


async def test_h001_h004_without_binarymime_chunks_hold_lines() -> None:
    async with running(service(acceptor=FakeAcceptor())) as server:
        wire = await ready(server)
        wire.send(b"BDAT 10 LAST\r\nA: b\r\n\r\n\0\n")
        assert (await wire.reply()).startswith("550 5.5.2")


async def test_h011_a_chunk_refused_for_want_of_tls_takes_its_octets_along() -> None:
    """They were read as commands."""
    what = service(Listener.SUBMISSION)
    async with running(what) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        assert (await wire.say(b"BDAT 6\r\nRSET\r\n")).startswith("530 5.7.0")
        assert (await wire.say("NOOP")).startswith("250 2.0.0 OK")
