"""Doors with something before SMTP: balancers that name their clients, LMTP for the operator's own servers."""

from __future__ import annotations

import asyncio
import ssl
from ipaddress import ip_network
from pathlib import Path

import pytest

from core.envelope import Listener
from core.status import refused
from core.tls import ServerTls
from smtp.conversation import Service
from smtp.gate import OpenGate
from smtp.listeners import Server
from tests.fakes.smtp_server import FakeAcceptor, Wire, certificate, running, service

HERE = (ip_network("127.0.0.0/8"),)
HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n"


async def through(server: Server, header: bytes) -> Wire:
    wire = Wire(*await asyncio.open_connection(*server.addresses[0]))
    wire.send(header)
    return wire


async def test_a_listed_balancer_names_its_client() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor, proxy_from=HERE)) as server:
        wire = await through(server, HEADER)
        assert (await wire.reply()).startswith("220 ")
        await wire.envelope()
        assert (await wire.say(b"A: b\r\n\r\n.\r\n")).startswith("250")
    assert acceptor.receptions[0].transaction.peer.address == "192.0.2.7"
    assert acceptor.receptions[0].transaction.peer.port == 4711


async def test_h035_limits_count_the_client_and_not_the_balancer() -> None:
    async with running(service(proxy_from=HERE, limits={"connections_per_address": 1})) as server:
        first = await through(server, HEADER)
        assert (await first.reply()).startswith("220 ")
        second = await through(server, HEADER)
        assert (await second.reply()).startswith("421 4.7.0")
        other = await through(server, HEADER.replace(b"192.0.2.7", b"192.0.2.8"))
        assert (await other.reply()).startswith("220 ")
        await first.say("QUIT")
        assert await first.closed()
        again = await through(server, HEADER)
        assert (await again.reply()).startswith("220 ")


async def test_a_health_check_is_the_balancer_itself() -> None:
    async with running(service(proxy_from=HERE)) as server:
        wire = await through(server, b"PROXY UNKNOWN\r\n")
        assert (await wire.reply()).startswith("220 ")


@pytest.mark.parametrize("header", [b"EHLO client.test\r\n", b"PROXY nonsense and more\r\n"])
async def test_h019_a_listed_balancer_that_says_something_else_is_cut_without_a_word(header: bytes) -> None:
    async with running(service(proxy_from=HERE)) as server:
        wire = await through(server, header)
        assert await wire.closed()


async def test_h019_an_unlisted_peer_changes_no_address() -> None:
    for networks in ((), (ip_network("192.0.2.0/24"),)):
        async with running(service(proxy_from=networks)) as server:
            wire = await through(server, HEADER)
            answer = await wire.reply()
            if answer.startswith("220"):
                answer = await wire.reply()
            assert answer.startswith(("500 5.5.1", "554 5.5.0")), answer
            assert await wire.closed()


async def test_the_header_stands_before_the_handshake_on_465(tmp_path: Path) -> None:
    authority, chain, key = certificate(tmp_path)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    what = service(Listener.SUBMISSIONS, tls=ServerTls(chain, key), proxy_from=HERE)
    async with running(what) as server:
        wire = await through(server, HEADER)
        await asyncio.wait_for(wire.writer.start_tls(context, server_hostname="mx.mairie.test"), 10)
        assert (await wire.reply()).startswith("220 ")


# --- LMTP (RFC 2033) -------------------------------------------------------------------------------------------------


def lmtp(acceptor: FakeAcceptor) -> Service:
    return service(Listener.LMTP, acceptor=acceptor, gate=OpenGate(), logins=None)


async def greeted(server: Server) -> Wire:
    wire = await Wire.connect(server)
    answer = await wire.say("LHLO list.test")
    assert answer.startswith("250-")
    for keyword in ("PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "CHUNKING"):  # RFC 2033 5
        assert keyword in answer
    assert "AUTH" not in answer
    return wire


async def test_each_accepted_recipient_has_its_reply_after_the_message() -> None:
    acceptor = FakeAcceptor()
    async with running(lmtp(acceptor)) as server:
        wire = await greeted(server)
        wire.send(
            b"MAIL FROM:<>\r\nRCPT TO:<a@mairie.test>\r\nRCPT TO:<unknown@mairie.test>\r\n"
            b"RCPT TO:<b@mairie.test>\r\nDATA\r\n"
        )
        assert [(await wire.reply())[:3] for _ in range(5)] == ["250", "250", "550", "250", "354"]
        wire.send(b"A: b\r\n\r\n.\r\nNOOP\r\n")
        answers = [await wire.reply() for _ in range(3)]
        assert [answer[:9] for answer in answers] == ["250 2.0.0"] * 3
        assert answers[2] == "250 2.0.0 OK"
    assert len(acceptor.messages) == 1


async def test_a_refusal_is_told_for_each_recipient_too_and_by_bdat_alike() -> None:
    acceptor = FakeAcceptor(verdict=refused("No", "spam", "5.7.1"))
    async with running(lmtp(acceptor)) as server:
        wire = await greeted(server)
        for line in ("MAIL FROM:<a@b.fr>", "RCPT TO:<a@mairie.test>", "RCPT TO:<b@mairie.test>"):
            assert (await wire.say(line)).startswith("250")
        wire.send(b"BDAT 6 LAST\r\nA: b\r\nNOOP\r\n")
        assert [(await wire.reply())[:3] for _ in range(3)] == ["550", "550", "250"]


async def test_rfc2033_4_1_each_protocol_refuses_the_others_greeting() -> None:
    async with running(lmtp(FakeAcceptor())) as server:
        wire = await Wire.connect(server)
        # RFC 2034 4: no answer to EHLO or HELO has an enhanced code
        assert (await wire.say("EHLO list.test")) == "500 This door speaks LMTP"
        assert (await wire.say("HELO list.test")) == "500 This door speaks LMTP"
    async with running(service()) as server:
        wire = await Wire.connect(server)
        assert (await wire.say("LHLO list.test")).startswith("500 5.5.1")
        assert (await wire.say("MAIL FROM:<a@b.fr>")).startswith("503")


async def test_rfc2033_4_2_data_without_recipients_is_503() -> None:
    async with running(lmtp(FakeAcceptor())) as server:
        wire = await greeted(server)
        await wire.say("MAIL FROM:<a@b.fr>")
        assert (await wire.say("DATA")).startswith("503")
        assert (await wire.say("RCPT TO:<unknown@mairie.test>")).startswith("550")
        assert (await wire.say("DATA")).startswith("503")  # 554 is SMTP's


async def test_rfc2033_4_2_a_recipient_named_twice_has_two_replies_and_one_copy() -> None:
    acceptor = FakeAcceptor()
    async with running(lmtp(acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.say("LHLO client.test")
        await wire.say("MAIL FROM:<a@client.test>")
        for _ in range(2):
            assert (await wire.say("RCPT TO:<agent@mairie.test>")).startswith("250")
        await wire.say("DATA")
        assert (await wire.say(b"x\r\n.\r\n")).startswith("250")
        assert (await wire.reply()).startswith("250")
        assert (await wire.say("NOOP")).startswith("250 2.0.0 OK")
    assert [len(each.transaction.recipients) for each in acceptor.receptions] == [1]


async def test_rfc2033_4_3_chunks_have_one_reply_each_but_the_last_has_one_for_each_recipient() -> None:
    async with running(lmtp(FakeAcceptor())) as server:
        wire = await Wire.connect(server)
        await wire.say("LHLO client.test")
        for piece, count in ((b"BDAT 3\r\na\nb", 1), (b"BDAT 3 LAST\r\na\r\n", 2)):
            await wire.say("MAIL FROM:<a@client.test>")
            for name in ("un", "deux"):
                await wire.say(f"RCPT TO:<{name}@mairie.test>")
            assert (await wire.say(piece)).startswith("550" if count == 1 else "250")
            for _ in range(count - 1):
                assert (await wire.reply()).startswith("250")
            assert (await wire.say("NOOP")).startswith("250 2.0.0 OK")


async def test_rfc2033_4_3_the_last_chunk_after_one_that_was_refused_is_refused_for_each_recipient() -> None:
    """Whoever sends all its chunks at once waits for these replies; there were none."""
    async with running(lmtp(FakeAcceptor())) as server:
        wire = await Wire.connect(server)
        await wire.say("LHLO client.test")
        await wire.say("MAIL FROM:<a@client.test>")
        for name in ("un", "deux"):
            await wire.say(f"RCPT TO:<{name}@mairie.test>")
        wire.send(b"BDAT 3\r\na\nbBDAT 1\r\nxBDAT 3 LAST\r\na\r\nNOOP\r\n")
        assert [(await wire.reply())[:3] for _ in range(5)] == ["550", "503", "503", "503", "250"]
        assert (await wire.say(b"BDAT 1 LAST\r\nxNOOP\r\n")).startswith("250 2.0.0 OK")


async def test_rfc2033_4_2_and_4_3_without_a_recipient_data_is_503_and_the_last_chunk_has_no_reply() -> None:
    async with running(lmtp(FakeAcceptor())) as server:
        wire = await Wire.connect(server)
        await wire.say("LHLO client.test")
        await wire.say("MAIL FROM:<a@client.test>")
        assert (await wire.say("RCPT TO:<unknown@mairie.test>")).startswith("550")
        assert (await wire.say("DATA")).startswith("503")
        assert (await wire.say(b"BDAT 2 LAST\r\nxyNOOP\r\n")).startswith("250 2.0.0 OK")
