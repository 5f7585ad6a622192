"""Bounds of a server session: junk, errors, harvesters, recipients, connections, time (security.md 3.3, 3.4)."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest
import uvloop

from smtp.listeners import Server
from tests.fakes.smtp_server import FakeAcceptor, Wire, running, service


@pytest.mark.parametrize("verb", ["NOOP", "RSET", "VRFY x", "HELP"])
async def test_h015_junk_has_an_end(verb: str) -> None:
    async with running(service(limits={"junk_commands": 5})) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        for _ in range(4):
            assert (await wire.say(verb))[0] == "2"
        assert (await wire.say(verb)).startswith("421 4.7.0")
        assert await wire.closed()


@pytest.mark.parametrize("command", ["DATA", "BDAT 1026\r\n" + "x" * 1024], ids=["data", "bdat"])
async def test_h015_asking_again_without_a_recipient_has_an_end(command: str) -> None:
    """Nobody's mistake once, behind a group whose recipients were all refused; a game for ever (row 15)."""
    async with running(service(limits={"junk_commands": 5})) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        await wire.say("MAIL FROM:<a@b.fr>")
        for _ in range(4):
            assert (await wire.say(command)).startswith("503 5.5.1")
        assert (await wire.say(command)).startswith("503 5.5.1")
        assert (await wire.reply()).startswith("421 4.7.0 Too many commands")
        assert await wire.closed()


@pytest.mark.parametrize(
    ("sender", "recipient", "answer"),
    [("a@b.fr", "agent@mairie.test", "250"), ("a@b.fr", "agent{}@mairie.test", "452"), ("", "a{}@mairie.test", "452")],
)
async def test_h015_recipients_past_four_times_the_limit_are_a_game(sender: str, recipient: str, answer: str) -> None:
    """The same one again and again, or more and more of them: each of these was answered for ever."""
    limits = {"junk_commands": 5, "recipients_mx": 3}
    async with running(service(limits=limits)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        await wire.say(f"MAIL FROM:<{sender}>")
        said = [await wire.say(f"RCPT TO:<{recipient.format(number)}>") for number in range(16)]
        assert {line[:3] for line in said[3:]} == {answer}
        assert (await wire.say("RCPT TO:<agent@mairie.test>"))[:3] in ("250", "452")
        assert (await wire.reply()).startswith("421 4.7.0 Too many commands")
        assert await wire.closed()


async def test_a_message_forgives_junk() -> None:
    async with running(service(limits={"junk_commands": 3})) as server:
        wire = await Wire.connect(server)
        for _ in range(4):
            await wire.envelope()
            await wire.say("x\r\n.")
            assert (await wire.say("NOOP")).startswith("250")
        wire.close()


@pytest.mark.parametrize("line", ["FOO", "", "\xc9HLO x", "NO\x01OP"])
async def test_h015_errors_slow_down_and_end_the_session(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty lines were answered for ever, and a flood of them let nobody else speak for seconds."""
    monkeypatch.setattr("smtp.guards.TARPIT", 0.01)
    async with running(service(limits={"errors_soft": 3, "errors_hard": 6})) as server:
        wire = await Wire.connect(server)
        for _ in range(5):
            assert (await wire.say(line)).startswith("500")
        assert (await wire.say(line)).startswith("500")
        assert (await wire.reply()).startswith("421 4.7.0")
        assert await wire.closed()


async def test_h039_a_harvester_is_cut_and_a_list_with_dead_addresses_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtp.guards.TARPIT", 0.0)
    async with running(service()) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        await wire.say("MAIL FROM:<a@b.fr>")
        for number in range(20):
            assert (await wire.say(f"RCPT TO:<unknown{number}@mairie.test>")).startswith("550 5.1.1")
        assert (await wire.say("RCPT TO:<unknown@mairie.test>")).startswith("550 5.1.1")
        assert (await wire.reply()).startswith("421 4.7.0")
    async with running(service()) as server:
        other = await Wire.connect(server)
        await other.ehlo()
        await other.say("MAIL FROM:<a@b.fr>")
        for number in range(30):
            assert (await other.say(f"RCPT TO:<agent{number}@mairie.test>")).startswith("250")
            assert (await other.say(f"RCPT TO:<unknown{number}@mairie.test>")).startswith("550 5.1.1")


async def test_the_limit_of_recipients_is_temporary() -> None:
    async with running(service(limits={"recipients_mx": 2})) as server:
        wire = await Wire.connect(server)
        assert "LIMITS RCPTMAX=2" in await wire.ehlo()
        await wire.say("MAIL FROM:<a@b.fr>")
        for number in range(2):
            assert (await wire.say(f"RCPT TO:<agent{number}@mairie.test>")).startswith("250")
        assert (await wire.say("RCPT TO:<agent9@mairie.test>")).startswith("452 4.5.3")
        wire.close()


async def test_a_recipient_named_twice_counts_once() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        await wire.say("MAIL FROM:<a@b.fr>")
        for _ in range(2):
            assert (await wire.say("RCPT TO:<agent@mairie.test>")).startswith("250")
        await wire.say("DATA")
        await wire.say(".")
        wire.close()
    assert len(acceptor.receptions[0].transaction.recipients) == 1


async def test_h053_a_bounce_has_one_recipient_on_the_mx() -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        await wire.say("MAIL FROM:<>")
        assert (await wire.say("RCPT TO:<agent@mairie.test>")).startswith("250")
        assert (await wire.say("RCPT TO:<autre@mairie.test>")).startswith("452 4.5.3")
        wire.close()


async def test_a_bug_that_repeats_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtp.guards.TARPIT", 0.0)
    limits = {"errors_hard": 3}
    async with running(service(acceptor=FakeAcceptor(fault=KeyError("secret")), limits=limits)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        for _ in range(3):
            assert (await wire.say("MAIL FROM:<a@b.fr>")).startswith("451 4.3.0")
        assert (await wire.reply()).startswith("421")
        assert await wire.closed()


async def test_h035_too_many_connections_from_one_address() -> None:
    async with running(service(limits={"connections_per_address": 2})) as server:
        first, second = await Wire.connect(server), await Wire.connect(server)
        third = await Wire.connect(server, greeting=False)
        assert (await third.reply()).startswith("421 4.7.0")
        assert await third.closed()
        await first.say("QUIT")
        assert await first.closed()
        async with asyncio.timeout(5):
            while server.sessions > 1:
                await asyncio.sleep(0.01)
        fourth = await Wire.connect(server)
        for wire in (second, fourth):
            wire.close()


async def test_an_idle_session_is_told_and_closed() -> None:
    async with running(service(limits={"idle_before_mail": 0.2})) as server:
        wire = await Wire.connect(server)
        assert (await wire.reply()).startswith("421 4.4.2")
        assert await wire.closed()


@pytest.mark.parametrize("line", ["", "NO\x01OP", "NO SUCH"])
async def test_a_bad_line_is_a_sign_of_life_like_any_other(line: str) -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        [session] = server._sessions
        before = session._deadline
        await asyncio.sleep(0.01)
        assert (await wire.say(line)).startswith("50")
        assert before < session._deadline < float("inf")
        wire.close()


async def test_h036_dripping_octets_of_a_command_do_not_buy_time() -> None:
    async with running(service(limits={"idle_before_mail": 0.4})) as server:
        wire = await Wire.connect(server)

        async def drip() -> None:
            for octet in b"NOOP " + b"x" * 200:
                wire.send(bytes([octet]))
                await asyncio.sleep(0.05)

        task = asyncio.create_task(drip())
        assert (await wire.reply()).startswith("421 4.4.2")
        task.cancel()
        wire.close()


@pytest.mark.parametrize(
    "steps",
    [
        ["EHLO client.test", "MAIL FROM:<a@client.test>"],
        ["EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<agent@mairie.test>"],
        ["EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<agent@mairie.test>", "DATA"],
        ["EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<agent@mairie.test>", "BDAT 3\r\nx"],
    ],
)
async def test_a_transaction_that_stands_still_is_told_when_the_server_closes(steps: list[str]) -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        for step in steps:
            await wire.say(step)
        await server.close(grace=0.1)
        assert (await wire.reply()).startswith("421 4.3.2")
        assert await wire.closed()
    assert [each.ended for each in acceptor.receptions] == ["aborted"] * len(acceptor.receptions)


async def test_closing_the_server_says_so_to_the_idle_and_lets_a_message_finish() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        idle, busy = await Wire.connect(server), await Wire.connect(server)
        await busy.envelope()
        closing = asyncio.create_task(server.close(grace=10))
        assert (await idle.reply()).startswith("421 4.3.2")
        assert (await busy.say("x\r\n.")).startswith("250 2.0.0")
        assert (await busy.reply()).startswith("421 4.3.2")
        await closing
    assert acceptor.messages == [b"x\r\n"]
    idle.close()
    busy.close()


async def _opened(server: Server) -> Wire:
    wire = await Wire.connect(server)
    await wire.ehlo()
    await wire.say("MAIL FROM:<a@b.fr>")
    await wire.say("RCPT TO:<agent@mairie.test>")
    return wire


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "command", ["RCPT TO:<agent@mairie.test>", "NOOP", "BDAT 3\r\nx"], ids=["rcpt", "noop", "bdat"]
)
def test_h036_a_transaction_has_an_end_however_it_is_spent(
    command: str, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """One command now and then kept it open for days (security.md section 2: ten minutes a transaction). uvloop's
    handle of a timer that is due at once does not tell its time: chunks past the end were answered by Python."""

    async def play() -> None:
        async with running(service(limits={"transaction": 0.4})) as server:
            wire = await _opened(server)
            async with asyncio.timeout(10):
                while not (said := await wire.say(command)).startswith("421"):
                    assert said.startswith("250")
                    await asyncio.sleep(0.05)
            assert said.startswith("421 4.4.2 Timeout")
            assert await wire.closed()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(play())


async def test_h036_between_commands_a_transaction_ends_in_time() -> None:
    async with running(service(limits={"transaction": 0.2, "idle_command": 30})) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        await wire.say("MAIL FROM:<a@b.fr>")
        async with asyncio.timeout(10):
            assert (await wire.reply()).startswith("421 4.4.2 Timeout")
        assert await wire.closed()


async def test_h036_octets_that_nobody_wants_take_no_longer_than_a_message() -> None:
    """Sixty megabytes announced to nobody, and sent just fast enough, took a stranger a day."""
    async with running(service(limits={"transaction": 0.3})) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        wire.send("BDAT 100000 LAST")

        async def drip() -> None:
            while not wire.writer.is_closing():
                wire.send(b"x")
                await asyncio.sleep(0.02)

        task = asyncio.create_task(drip())
        async with asyncio.timeout(10):
            assert (await wire.reply()).startswith("421 4.4.2 Timeout")
        task.cancel()
        wire.close()


@pytest.mark.parametrize("politely", [True, False])
async def test_the_memory_of_a_session_is_free_at_its_end(politely: bool) -> None:
    """Without a collection: nothing of it holds itself."""
    async with running(service()) as server:
        gc.collect()
        gc.disable()
        try:
            wire = await Wire.connect(server)
            await wire.envelope()
            await wire.say("x\r\n.")
            sessions = [weakref.ref(session) for session in server._sessions]
            assert len(sessions) == 1
            if politely:
                assert (await wire.say("QUIT")).startswith("221")
                assert await wire.closed()
            else:
                wire.writer.transport.abort()
            async with asyncio.timeout(10):
                while sessions[0]() is not None:
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()
