"""What conformance suites and other servers' test suites ask of a session, beyond the tables of the other files."""

from __future__ import annotations

import pytest

from core.config import Auth
from core.envelope import Listener
from tests.fakes.smtp_pipe import MemorySession, Pipe
from tests.fakes.smtp_server import PASSWORD, FakeAcceptor, Wire, running, service
from tests.smtp.test_session_model import plain

ENVELOPE = b"MAIL FROM:<a@client.test>\r\nRCPT TO:<agent@mairie.test>\r\n"
MESSAGE = b"Subject: x\r\n\r\nbonjour\r\n"


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("client.test", True),
        ("client.test.", True),
        ("srv_mail.client.test", True),
        ("win-.client.test", True),
        ("localhost", True),
        ("x" * 255, True),
        ("x" * 256, False),
        ("[192.0.2.1]", True),
        ("[IPv6:2001:db8::1]", True),
        ("[ipv6:::ffff:192.0.2.1]", True),
        ("[256.0.2.1]", False),
        ("[192.0.2]", False),
        ("[::1]", False),  # RFC 5321 4.1.3: without its tag
        ("[::ffff:127.0.0.1]", False),
        ("[IPv6:192.0.2.1]", False),
        ("[IPv6:fe80::1%eth0]", False),
        ("[client.test]", False),
        ("[]", False),
        ("[", False),
        ("client..test", False),
        (".client.test", False),
        ("..", False),
        (".", False),
        ("-client.test", False),
        ("client.test other", False),
    ],
)
@pytest.mark.parametrize("verb", ["EHLO", "HELO"])
async def test_h018_names_and_literals_in_a_greeting(verb: str, name: str, taken: bool) -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        reply = await wire.say(f"{verb} {name}")
        assert reply.startswith("250" if taken else "501 A")  # RFC 2034 4: no enhanced code in any answer to them
        # RFC 5321 4.1.4: what is refused leaves the session as it was
        assert (await wire.say("MAIL FROM:<a@client.test>")).startswith("250" if taken else "503")


@pytest.mark.parametrize(
    "name",
    [
        b"[::1]",
        b"[IPv6:fe80::1%en0]",
        "mairie-été".encode(),
        "mairie-été".encode("latin-1"),
        b"PC de Jean",
        b"-pc",
        b"..",
    ],
)
@pytest.mark.parametrize("verb", [b"EHLO ", b"HELO "])
async def test_h018_whatever_a_persons_computer_is_called_it_may_submit(verb: bytes, name: bytes) -> None:
    for role, answer in ((Listener.SUBMISSION, "250"), (Listener.MX, "501 A")):
        async with running(service(role)) as server:
            wire = await Wire.connect(server)
            assert (await wire.say(verb + name + b"\r\n")).startswith(answer)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("VRFY", "501 5.5.4"),
        ("VRFY <agent@mairie.test>", "252 2.0.0"),
        ("VRFY nobody", "252 2.0.0"),
        ("VRFY agent SMTPUTF8", "252 2.0.0"),
        ("VRFY é", "553 5.6.7"),
        ("VRFY é@mairie.test smtputf8", "252 2.0.0"),  # RFC 6531 3.7.4.2
        ("VRFY éSMTPUTF8", "553 5.6.7"),
        ("EXPN", "502 5.5.1"),
    ],
)
async def test_vrfy_has_an_argument_and_maybe_a_parameter(line: str, answer: str) -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        assert (await wire.say(line)).startswith(answer)


@pytest.mark.parametrize("late", [b"BDAT 23 LAST\r\n", b"BDAT 23\r\n", b"BDAT 23 LAST\r\nSubject: x\r\n\r\nbonj"])
async def test_rfc2920_3_2_no_reply_is_held_back_while_a_chunk_is_awaited(late: bytes) -> None:
    """A client may wait for the answers to its envelope before it sends the octets that it announced."""
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        wire.send(ENVELOPE + late)
        assert await wire.reply() == "250 2.1.0 Sender OK"
        assert await wire.reply() == "250 2.1.5 Recipient OK"
        wire.send(MESSAGE[len(late.partition(b"\r\n")[2]) :] + b"NOOP\r\n")
        assert (await wire.reply()).startswith("250 2.0.0 ")
        assert await wire.reply() == "250 2.0.0 OK"


async def test_rfc2920_3_2_the_answer_to_a_chunk_is_not_held_back_for_the_next_ones_octets() -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        wire.send(ENVELOPE + b"BDAT 23\r\n" + MESSAGE + b"BDAT 5 LAST\r\n")
        assert [(await wire.reply())[:3] for _ in range(3)] == ["250", "250", "250"]
        wire.send(b"fin\r\n")
        assert (await wire.reply()).startswith("250 2.0.0 Queued")


async def test_rfc2920_3_2_nor_is_one_while_the_octets_of_a_refused_chunk_are_awaited() -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        wire.send(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<unknown@mairie.test>\r\nBDAT 6 LAST\r\n")
        assert [(await wire.reply())[:3] for _ in range(2)] == ["250", "550"]
        wire.send(b"RSET\r\n")
        assert (await wire.reply()).startswith("554 5.5.1")


async def test_who_is_named_twice_takes_no_second_place() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor, limits={"recipients_mx": 2})) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        await wire.say("MAIL FROM:<a@client.test>")
        answers = [(await wire.say(f"RCPT TO:<{name}@mairie.test>"))[:3] for name in ("un", "deux", "un", "trois")]
        assert answers == ["250", "250", "250", "452"]
        await wire.say("RSET")
        await wire.say("MAIL FROM:<>")
        answers = [(await wire.say(f"RCPT TO:<{name}@mairie.test>"))[:3] for name in ("un", "un", "deux")]
        assert answers == ["250", "250", "452"]
        await wire.say("DATA")
        assert (await wire.say("Subject: x\r\n\r\nx\r\n.")).startswith("250")
    assert [str(address) for address, _ in acceptor.receptions[0].transaction.recipients] == ["un@mairie.test"]


async def test_rfc4954_6_on_submission_everything_but_the_greetings_wants_a_login() -> None:
    auth = Auth(plaintext_on_loopback=True)
    async with running(service(Listener.SUBMISSION, auth=auth)) as server:
        wire = await Wire.connect(server)
        assert (await wire.say("MAIL FROM:<agent@mairie.test>")).startswith("503 5.5.1")  # RFC 4954 4: EHLO first
        await wire.ehlo()
        for line in ("MAIL FROM:<agent@mairie.test>", "RCPT TO:<x@other.test>", "DATA", "VRFY agent", "EXPN list"):
            assert await wire.say(line) == "530 5.7.0 Authentication required"
        assert await wire.say(b"BDAT 6 LAST\r\nQUIT\r\n") == "530 5.7.0 Authentication required"
        for line in ("NOOP", "RSET"):
            assert (await wire.say(line)).startswith("250")
        assert (await wire.say("FROBNICATE")).startswith("500")
        assert (await wire.say(plain(PASSWORD).decode().removesuffix("\r\n"))).startswith("235")
        assert (await wire.say("MAIL FROM:<agent@mairie.test> AUTH")).startswith("501 5.5.4")
        assert (await wire.say("MAIL FROM:<agent@mairie.test> AUTH=<>")).startswith("250")


@pytest.mark.parametrize(("role", "word"), [(Listener.MX, "ESMTP"), (Listener.LMTP, "LMTP")])
async def test_the_banner_names_the_host_and_then_the_protocol(role: Listener, word: str) -> None:
    async with running(service(role)) as server:
        wire = await Wire.connect(server, greeting=False)
        assert (await wire.reply()).split(" ")[:3] == ["220", "mx.mairie.test", word]


async def test_h010_octets_that_come_with_the_connection_are_no_command() -> None:
    """One command, so that no rule of pipelining sees it: who speaks first has not read who is there."""
    session = MemorySession(service())
    assert await session.say(b"EHLO spam.test\r\n") == b"554 5.5.0 Talked before the greeting\r\n"
    assert session.over


@pytest.mark.parametrize(("octets", "answer"), [(253, "250 2.1.0"), (254, "501 5.1.7")])
async def test_rfc5321_4_5_3_1_2_a_domain_has_253_octets(octets: int, answer: str) -> None:
    """255 as DNS writes it, with a length before each label and a zero at the end."""
    domain = ".".join(["b" * 63] * 3 + ["b" * (octets - 3 * 64)])
    assert len(domain) == octets
    async with running(service()) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        assert (await wire.say(f"MAIL FROM:<a@{domain}>")).startswith(answer)


async def test_rfc5248_2_codes_of_the_registry() -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        assert (await wire.say("MAIL FROM:<a@client.test> REQUIRETLS")).startswith("530 5.7.10 ")
        assert (await wire.say("MAIL FROM:<é@client.test>")).startswith("550 5.6.7 ")
    async with running(service(Listener.SUBMISSION)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        assert (await wire.say("AUTH PLAIN")).startswith("538 5.7.11 ")
    async with running(service(Listener.SUBMISSION, auth=Auth(plaintext_on_loopback=True))) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        assert (await wire.say(plain("wrong").decode().removesuffix("\r\n"))).startswith("535 5.7.8 ")


async def test_rfc2920_3_2_replies_to_a_group_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(Pipe, "write", lambda pipe, data: written.append(bytes(data)))
    session = MemorySession(service())
    await session.say(b"")
    await session.say(b"EHLO client.test\r\n")
    written.clear()
    await session.say(ENVELOPE + b"DATA\r\n")
    assert [block.count(b"\r\n") for block in written] == [3]
    await session.leave()
