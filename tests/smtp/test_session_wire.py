"""Server sessions over loopback sockets: order of commands, replies, limits (security.md 3.1, 3.3, 3.4)."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest
import uvloop

from core.envelope import Listener
from core.errors import TemporaryError
from core.status import refused
from smtp.listeners import serve
from smtp.protocol import SmtpProtocol
from tests.fakes.smtp_server import FakeAcceptor, Wire, running, service

ENHANCED = re.compile(r"(\d)\d\d[ -]\1\.\d{1,3}\.\d{1,3} ")


async def test_a_message_goes_through_and_the_session_goes_on() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        for number in range(3):
            await wire.envelope()
            assert await wire.say(f"Subject: {number}\r\n\r\n..dot\r\n.") == "250 2.0.0 Queued"
        assert await wire.say("QUIT") == "221 2.0.0 Goodbye"
        assert await wire.closed()
    assert acceptor.messages == [f"Subject: {n}\r\n\r\n.dot\r\n".encode() for n in range(3)]
    transaction = acceptor.receptions[0].transaction
    assert transaction.peer.helo == "client.test"
    assert transaction.peer.listener is Listener.MX
    assert str(transaction.sender) == "a@client.test"


async def test_ehlo_is_one_write_with_everything_we_do() -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        wire.send("EHLO client.test")
        text = (await wire.reader.read(4096)).decode()
        assert text.startswith("250-mx.mairie.test\r\n")
        keywords = {line[4:].split(" ")[0] for line in text.splitlines()[1:]}
        assert keywords == {
            *"PIPELINING SIZE 8BITMIME CHUNKING BINARYMIME SMTPUTF8 ENHANCEDSTATUSCODES DSN LIMITS HELP".split()
        }
        assert "SIZE 62914560" in text
        assert "LIMITS RCPTMAX=500" in text
        wire.close()


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["MAIL FROM:<a@b.fr>"], "503 5.5.1"),
        (["EHLO x", "RCPT TO:<agent@mairie.test>"], "503 5.5.1"),
        (["EHLO x", "DATA"], "503 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "MAIL FROM:<a@b.fr>"], "503 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "DATA"], "503 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "RCPT TO:<unknown@mairie.test>", "DATA"], "554 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "RCPT TO:<unknown@mairie.test>"], "550 5.1.1"),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "RCPT TO:<x@other.org>"], "550 5.7.1"),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "RCPT TO:<@mairie.test:x@other.org>"], "550 5.7.1"),
        (["EHLO x", "MAIL FROM:<banned@b.fr>"], "550 5.7.1"),
        (["EHLO x", "MAIL FROM:<banned@b.fr>", "RCPT TO:<agent@mairie.test>"], "503 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "EHLO x", "RCPT TO:<agent@mairie.test>"], "503 5.5.1"),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "RSET", "RCPT TO:<agent@mairie.test>"], "503 5.5.1"),
        (["HELO x", "MAIL FROM:<a@b.fr> SIZE=1"], "555 5.5.4"),
        (["EHLO x", "MAIL FROM:<a@b.fr> SIZE=62914561"], "552 5.3.4"),
        (["EHLO x", "MAIL FROM:<é@b.fr>"], "550 5.6.7"),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "RCPT TO:<é@mairie.test>"], "553 5.6.7"),
        (["EHLO"], "501 A"),  # RFC 2034 4: no enhanced code in any answer to EHLO
        (["EHLO <script>"], "501 A"),
        (["EHLO " + "x" * 256], "501 A"),
        (["VRFY agent@mairie.test"], "252 2.0.0"),
        (["VRFY unknown@mairie.test"], "252 2.0.0"),
        (["VRFY é@mairie.test"], "553 5.6.7"),
        (["EXPN list"], "502 5.5.1"),
        (["HELP"], "214-2.0.0"),
        (["NOOP ignored"], "250 2.0.0"),
        (["RSET"], "250 2.0.0"),
        (["QUIT now"], "501 5.5.4"),
        (["XYZZY"], "500 5.5.1"),
        (["XCLIENT ADDR=1.2.3.4"], "500 5.5.1"),
        (["BDAT 0 LAST"], "503 5.5.1"),
        (["AUTH PLAIN AGEAYg=="], "502 5.5.1"),
        (["STARTTLS"], "502 5.5.1"),
        ([""], "500 5.5.2"),
        (["É"], "500 5.5.2"),
        (["NOOP a\x00b"], "500 5.5.2"),
        (["NOOP a\rb"], "500 5.5.2"),
        (["NOOP \x1b[2J"], "500 5.5.2"),
        (["EHLO x", "MAIL FROM:<a@b.fr>", "RCPT TO:<Postmaster>"], "250 2.1.5"),
        (["eHlO x", "mAiL fRoM:<a@b.fr> sIzE=1 body=8bitMIME ret=hdrs", "rcpt to:<agent@MAIRIE.test>"], "250 2.1.5"),
        (["EHLO x", "ETRN mairie.test"], "500 5.5.1"),
        (["EHLO xn--cole-9oa.test", "MAIL FROM:<é@école.test> SMTPUTF8", "RCPT TO:<agent@mairie.test>"], "250 2.1.5"),
        (["EHLO école.test"], "501 A"),
        (["EHLO x", "ATRN mairie.test"], "500 5.5.1"),
        (["EHLO no.such.name.invalid", "MAIL FROM:<a@b.fr>", "RCPT TO:<agent@mairie.test>"], "250 2.1.5"),
    ],
)
async def test_replies(lines: list[str], answer: str) -> None:
    """Rows 14, 15, 17-19, 43-47, 55 on the wire; each refusal leaves the session usable."""
    async with running(service()) as server:
        wire = await Wire.connect(server)
        reply = ""
        for line in lines:
            reply = await wire.say(line)
        assert reply.startswith(answer)
        assert (await wire.say("NOOP")) == "250 2.0.0 OK"
        wire.close()


async def test_every_reply_but_the_greetings_has_an_enhanced_code() -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        for line in ("HELO x", "EHLO x", "MAIL FROM:<a@b.fr>", "RCPT TO:<agent@mairie.test>"):
            reply = await wire.say(line)
            assert line[1:4] in ("ELO", "HLO") or ENHANCED.match(reply)
        assert (await wire.say("DATA")).startswith("354 ")
        for line in ("x\r\n.", "NOOP", "HELP", "VRFY x", "FOO", "QUIT"):
            assert ENHANCED.match(await wire.say(line))


@pytest.mark.parametrize("line", [b"NOOP\n", b"NOOP \xff\xfe\r\n", b"NOOP \x0b\r\n"])
async def test_bad_lines_are_refused_and_the_session_goes_on(line: bytes) -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        assert (await wire.say(line)).startswith("500 5.5.2")
        assert (await wire.say("NOOP")).startswith("250")
        wire.close()


@pytest.mark.parametrize(("length", "answer"), [(2048, "250 2.0.0"), (2049, "500 5.5.2")])
async def test_the_command_line_has_a_limit(length: int, answer: str) -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        assert (await wire.say("NOOP " + "x" * (length - 7))).startswith(answer)
        assert (await wire.say("NOOP")).startswith("250")
        wire.close()


async def test_h018_a_line_without_end_closes_the_connection() -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        assert (await wire.say(b"EHLO " + b"x" * 65536)).startswith("500 5.5.2")
        assert await wire.closed()


async def test_pipelined_groups_are_answered_in_order() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        wire.send("MAIL FROM:<a@b.fr>\r\nRCPT TO:<unknown@mairie.test>\r\nRCPT TO:<agent@mairie.test>\r\nDATA")
        codes = [(await wire.reply())[:3] for _ in range(4)]
        assert codes == ["250", "550", "250", "354"]
        wire.send("Subject: x\r\n\r\nx\r\n.\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<agent@mairie.test>\r\nDATA")
        assert [(await wire.reply())[:3] for _ in range(4)] == ["250", "250", "250", "354"]
        assert (await wire.say(".")).startswith("250")
        wire.close()
    assert acceptor.messages == [b"Subject: x\r\n\r\nx\r\n", b""]


@pytest.mark.parametrize(
    "burst",
    [
        b"EHLO x\r\nMAIL FROM:<a@b.fr>\r\n",
        b"NOOP\r\nEHLO x\r\n",
        b"HELO x\r\nMAIL FROM:<a@b.fr>\r\n",
    ],
)
async def test_h010_pipelining_before_ehlo_is_cut(burst: bytes) -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        assert (await wire.say(burst)).startswith("554 5.5.0")
        assert await wire.closed()
    assert not acceptor.senders


async def test_h010_data_sent_before_354_is_cut_and_nothing_kept() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        await wire.say("MAIL FROM:<a@b.fr>")
        await wire.say("RCPT TO:<agent@mairie.test>")
        assert (await wire.say("DATA\r\nSubject: x\r\n\r\nx\r\n.")).startswith("554 5.5.0")
        assert await wire.closed()
    assert not acceptor.receptions


async def test_h010_who_talks_before_the_banner_is_cut() -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server, greeting=False)
        # The banner and these octets cross on the wire; either the early or the pipelining guard sees them.
        wire.send("EHLO spam\r\nMAIL FROM:<a@b.fr>\r\nRCPT TO:<agent@mairie.test>\r\nDATA")
        assert b"554 5.5.0" in await wire.reader.read()


def test_h010_who_talked_before_he_was_let_in_gets_no_banner() -> None:
    """On uvloop, which looks at a new connection once before its session begins."""

    async def talked(sock: socket.socket) -> bytes:
        with socket.create_connection(sock.getsockname()) as early:
            early.sendall(b"EHLO spam\r\n")
            server = await serve(sock, service())
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection(sock=early)
                answer = await reader.read()
            writer.close()
            await server.close(1.0)
            return answer

    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert uvloop.run(talked(sock)) == b"554 5.5.0 Talked before the greeting\r\n"


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nHost: mx.mairie.test\r\n\r\n",
        b"POST /x HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
    ],
)
async def test_h016_h019_h033_another_protocol_is_shown_the_door(first: bytes) -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        reply = await wire.say(first)
        assert reply == "500 5.5.1 This is a mail server"
        assert await wire.closed()


async def test_h012_nothing_survives_a_refusal_at_the_end_of_data() -> None:
    acceptor = FakeAcceptor(verdict=refused("Spam", "spam", "5.7.1", 554))
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        assert await wire.say("x\r\n.") == "554 5.7.1 Spam"
        assert (await wire.say("RCPT TO:<agent@mairie.test>")).startswith("503")
        assert (await wire.say("DATA")).startswith("503")
        wire.close()


async def test_a_bug_is_451_and_tells_nothing() -> None:
    async with running(service(acceptor=FakeAcceptor(fault=KeyError("secret")))) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        reply = await wire.say("MAIL FROM:<a@b.fr>")
        assert reply == "451 4.3.0 Internal error, try again later"
        assert (await wire.say("NOOP")).startswith("250")
        wire.close()


async def test_f151_a_last_resort_that_fails_itself_is_451_and_names_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(*_: object) -> None:
        raise OSError(30, "Read-only file system", "/srv/mail/run/counter_1.db")

    monkeypatch.setattr("smtp.session.Session.fault", failing)
    monkeypatch.setattr("smtp.session.Session.run", failing)
    async with running(service()) as server:
        wire = await Wire.connect(server)
        assert await wire.say("EHLO partner.test") == "451 4.3.0 Internal error, try again later"
        wire.close()


async def test_what_is_away_is_451() -> None:
    async with running(service(acceptor=FakeAcceptor(fault=TemporaryError("database")))) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        assert (await wire.say("MAIL FROM:<a@b.fr>")).startswith("451 4.3.0")
        wire.close()


async def test_h014_an_address_in_utf8_without_smtputf8_changes_nothing() -> None:
    what = service()
    async with running(what) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        assert (await wire.say("MAIL FROM:<é@client.test>")).startswith("550 5.6.7")
        assert (await wire.say("RCPT TO:<agent@mairie.test>")).startswith("503")  # no transaction was opened
        assert (await wire.say("MAIL FROM:<a@client.test>")).startswith("250")
        assert (await wire.say("RCPT TO:<é@mairie.test>")).startswith("553 5.6.7")
        assert (await wire.say("VRFY é@mairie.test")).startswith("553 5.6.7")
        assert (await wire.say("RCPT TO:<agent@mairie.test>")).startswith("250")  # the transaction is still open
        assert (await wire.say("DATA")).startswith("354")
        assert (await wire.say(b"Subject: x\r\n\r\nx\r\n.\r\n")).startswith("250")


@pytest.mark.parametrize(
    ("header", "answer"), [(b"Subject: \xe9t\xe9 \xc3\xa9\r\n", "250 "), (b"Subject: a\0b\r\n", "550 5.6.0")]
)
async def test_h067_a_header_of_8_bit_octets_is_kept_as_it_is_and_a_nul_is_refused(header: bytes, answer: str) -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        assert (await wire.say(header + b"\r\nx\r\n.\r\n")).startswith(answer)
        assert (await wire.say("NOOP")).startswith("250")
    assert acceptor.messages == ([header + b"\r\nx\r\n"] if answer == "250 " else [])


async def test_h055_what_is_asked_tells_nothing_of_who_exists() -> None:
    """VRFY answers alike for all, EXPN for nobody, and no answer holds the name (RFC 5321 3.5.3, 7.3)."""
    async with running(service()) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        known, unknown = [await wire.say(f"VRFY {name}@mairie.test") for name in ("agent", "unknown")]
        assert known == unknown
        assert known.startswith("252 2.0.0")
        assert (await wire.say("EXPN agent@mairie.test")).startswith("502 5.5.1")
        assert "agent" not in known


async def test_the_log_is_told_of_a_message_and_of_the_end_behind_their_replies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr("smtp.session._log_transaction", lambda *_: told.append("message"))
    monkeypatch.setattr("smtp.protocol._log_end", lambda *_: told.append("end"))
    flush = SmtpProtocol._flush

    def flushed(self: SmtpProtocol) -> None:
        told.extend(self._held.decode().split("\r\n")[:-1])
        flush(self)

    monkeypatch.setattr(SmtpProtocol, "_flush", flushed)
    async with running(service()) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        wire.send(b"Subject: a\r\n\r\nb\r\n.\r\n")
        assert (await wire.reply()).startswith("250 ")
        assert (await wire.say("QUIT")).startswith("221 ")
        assert await wire.closed()
    assert told[-4:] == ["250 2.0.0 Queued", "message", "221 2.0.0 Goodbye", "end"]
