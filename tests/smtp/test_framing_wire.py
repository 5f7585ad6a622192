"""Messages over the socket: smuggling, size, speed, and peers that go away (rows 1-9, 20, 36, 40)."""

import asyncio
import contextlib
import socket
import time

import pytest

from core.config import Auth
from core.envelope import Listener
from core.status import accepted
from message.content import BLOCK
from tests.fakes.smtp_server import FakeAcceptor, Wire, running, service
from tests.smtp.test_tls_wire import plain

SMUGGLED = b"MAIL FROM:<x@y.fr>\r\nRCPT TO:<agent@mairie.test>\r\nDATA\r\nsecond\r\n.\r\n"


@pytest.mark.parametrize(
    ("fake", "answer"),
    [
        *((f, "550 5.5.2") for f in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\n.\r")),
        *((f, "550 5.5.2") for f in (b"\r.\n", b"\r\n.\r", b"\r\r\n.\r\r\n")),
        (b"\r\n\x00.\r\n", "550 5.6.0"),
        (b"\r\n.\x00\r\n", "550 5.6.0"),
    ],
)
async def test_h001_to_h004_smuggling_yields_one_refusal_and_a_session_in_step(fake: bytes, answer: str) -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        wire.send(b"first" + fake + SMUGGLED)
        assert (await wire.reply()).startswith(answer)
        assert (await wire.say("RCPT TO:<agent@mairie.test>")).startswith("503")
        await wire.envelope()
        assert (await wire.say("clean\r\n.")).startswith("250")
        wire.close()
    assert acceptor.messages == [b"clean\r\n"]
    assert [reception.ended for reception in acceptor.receptions] == ["aborted", "finished"]


async def test_h006_every_segmentation_gives_the_same_message() -> None:
    acceptor = FakeAcceptor()
    wire_bytes = b"..a\r\n.b\r\n\r\n...\r\n.\r\n"
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        for cut in range(1, len(wire_bytes)):
            await wire.envelope()
            wire.send(wire_bytes[:cut])
            await wire.writer.drain()
            await asyncio.sleep(0)
            wire.send(wire_bytes[cut:])
            assert (await wire.reply()).startswith("250")
        wire.close()
    assert set(acceptor.messages) == {b".a\r\nb\r\n\r\n..\r\n"}


@pytest.mark.parametrize(("octets", "answer"), [(1000, "250 2.0.0"), (1001, "552 5.3.4"), (3900, "552 5.3.4")])
async def test_h040_size_is_exact_and_the_rest_is_read(octets: int, answer: str) -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor, limits={"message_size": "1000"})) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        assert (await wire.say(b"x" * (octets - 2) + b"\r\n.\r\n")).startswith(answer)
        assert (await wire.say("NOOP")).startswith("250")
        wire.close()
    assert acceptor.receptions[0].ended == ("finished" if answer[0] == "2" else "aborted")


async def test_h040_who_does_not_stop_is_stopped() -> None:
    """The last word may be lost in the reset; the end of the session is not."""
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor, limits={"message_size": "1000"})) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                wire.send(b"x" * 998 + b"\r\n")
                await wire.writer.drain()
        await _until(lambda: server.sessions == 0)
        wire.close()
    assert acceptor.receptions[0].ended == "aborted"


async def test_a_line_past_64_kib_is_refused_and_the_session_goes_on() -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        assert (await wire.say(b"x" * (64 * 1024) + b"\r\n.\r\n")).startswith("500 5.5.2")
        assert (await wire.say("NOOP")).startswith("250")
        wire.close()


async def test_a_large_message_comes_in_bounded_blocks_with_back_pressure() -> None:
    acceptor = FakeAcceptor(on_feed=lambda: asyncio.sleep(0))
    message = (b"x" * 76 + b"\r\n") * 100_000
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        wire.send(message + b".\r\n")
        assert (await wire.reply()).startswith("250")
        wire.close()
    assert acceptor.messages == [message]
    assert acceptor.receptions[0].blocks >= len(message) / (BLOCK + 5)


async def test_h020_cut_before_the_dot_nothing_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        wire.send(b"Subject: x\r\n\r\nhalf\r\n.\r")
        wire.close()
        await _until(lambda: acceptor.receptions[0].ended == "aborted")
        await _until(lambda: server.sessions == 0)
    assert acceptor.messages == []
    told = capsys.readouterr().out
    assert "smtp-transaction" in told
    assert "reason=peer-left" in told


async def test_h020_a_whole_message_is_delivered_though_the_peer_left() -> None:
    acceptor = FakeAcceptor()
    left = asyncio.Event()
    acceptor.on_finish = left.wait
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        wire.send(b"whole\r\n.\r\n")
        await wire.writer.drain()
        wire.writer.transport.abort()
        await asyncio.sleep(0.05)
        left.set()
        await _until(lambda: acceptor.receptions[0].ended == "finished")
    assert acceptor.messages == [b"whole\r\n"]


async def test_a_delivery_that_takes_too_long_is_451_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtp.conversation.FINISH", 0.1)
    acceptor = FakeAcceptor(on_finish=asyncio.Event().wait)
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        assert await wire.say("x\r\n.") == "451 4.3.0 Delivery took too long, try again later"
        assert acceptor.receptions[0].ended == "aborted"
        assert (await wire.say("NOOP")).startswith("250")
        wire.close()
    assert acceptor.messages == []


async def test_a_peer_that_only_stops_sending_gets_its_answer() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        wire.send(b"whole\r\n.\r\n")
        wire.writer.write_eof()
        assert (await wire.reply()).startswith("250")
        assert await wire.closed()
        wire.close()


async def test_a_stall_in_data_ends_the_session() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor, limits={"data_stall": 0.2})) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        wire.send(b"Subject: x\r\n")
        assert (await wire.reply()).startswith("421 4.4.2")
        await _until(lambda: acceptor.receptions[0].ended == "aborted")
        wire.close()


async def test_slow_delivery_is_not_the_peers_fault() -> None:
    acceptor = FakeAcceptor(on_feed=lambda: asyncio.sleep(0.4), on_finish=lambda: asyncio.sleep(0.4))
    async with running(service(acceptor=acceptor, limits={"data_stall": 0.2, "idle_command": 0.2})) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        assert (await wire.say("x\r\n.")).startswith("250")
        wire.close()


async def _drip(wire: Wire) -> None:
    while True:
        wire.send(b"drip\r\n")
        await asyncio.sleep(0.05)


async def test_h036_a_transaction_on_the_mx_has_an_end() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor, limits={"transaction": 0.5})) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        task = asyncio.create_task(_drip(wire))
        assert (await wire.reply()).startswith("421 4.4.2")
        task.cancel()
        wire.close()


async def test_h036_drops_below_the_minimum_rate_end_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtp.guards.RATE_GRACE", 0.2)
    async with running(service(limits={"minimum_rate": 100_000})) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        task = asyncio.create_task(_drip(wire))
        assert (await wire.reply()).startswith("421 4.4.2 Data arrives too slowly")
        task.cancel()
        wire.close()


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"submission_stall": 0.3, "data_stall": 600}, "421 4.4.2 Timeout"),
        ({"minimum_rate_submission": 100_000, "minimum_rate": 1}, "421 4.4.2 Data arrives too slowly"),
    ],
    ids=["stall", "rate"],
)
async def test_h036_on_submission_silence_and_slowness_have_bounds_of_their_own(
    limits: dict[str, int], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smtp.guards.RATE_GRACE", 0.2)
    acceptor, auth = FakeAcceptor(), Auth(plaintext_on_loopback=True)
    async with running(service(Listener.SUBMISSION, auth=auth, acceptor=acceptor, limits=limits)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        assert (await wire.say(f"AUTH PLAIN {plain()}")).startswith("235")
        for line in ("MAIL FROM:<agent@mairie.test>", "RCPT TO:<x@mairie.test>", "DATA"):
            assert (await wire.say(line))[0] in "23"
        task = asyncio.create_task(_drip(wire)) if "minimum_rate" in limits else None
        assert (await wire.reply()).startswith(said)
        await _until(lambda: acceptor.receptions[0].ended == "aborted")
        if task is not None:
            task.cancel()
        wire.close()


async def test_h036_nor_do_the_octets_of_a_refused_chunk_drip_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who announces 200 MB to nobody and sends an octet every five minutes would stay for centuries."""
    monkeypatch.setattr("smtp.guards.RATE_GRACE", 0.02)
    async with running(service(limits={"minimum_rate": 100_000})) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        wire.send(b"BDAT 200000000\r\n")
        await asyncio.sleep(0.1)
        wire.send(b"x")
        assert (await wire.reply()).startswith("421 4.4.2 Data arrives too slowly")


async def test_a_reader_that_never_reads_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 37: replies fill the window, the deadline passes, the connection is aborted."""
    monkeypatch.setattr("smtp.listeners.LINGER", 0.2)
    limits = {"idle_before_mail": 0.3, "junk_commands": 10**9, "errors_soft": 10**9, "errors_hard": 10**9}
    async with running(service(limits=limits)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        wire.reader._transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's transport can

        async def flood() -> None:
            while True:
                wire.send(b"HELP\r\n" * 500)
                await wire.writer.drain()

        task = asyncio.create_task(flood())
        await _until(lambda: server.sessions == 0, seconds=20)
        task.cancel()
        wire.writer.transport.abort()


async def test_a_flood_of_commands_lets_others_through() -> None:
    limits = {"junk_commands": 10**9}
    async with running(service(limits=limits)) as server:
        flooder, other = await Wire.connect(server), await Wire.connect(server)
        await flooder.ehlo()
        answered = 0

        async def read() -> None:
            nonlocal answered
            while (await flooder.reply()).startswith("250"):
                answered += 1

        flooder.send(b"NOOP\r\n" * 20_000)
        reading = asyncio.create_task(read())
        assert (await other.say("NOOP")).startswith("250")
        assert answered < 10_000
        reading.cancel()
        flooder.writer.transport.abort()
        other.close()


async def test_a_verdict_with_strange_characters_is_told_in_ascii() -> None:
    acceptor = FakeAcceptor(verdict=accepted("Reçu\r\n250 forged"))
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.envelope()
        assert await wire.say("x\r\n.") == "250 2.0.0 Re?u??250 forged"
        wire.close()


async def _until(condition: object, seconds: float = 5.0) -> None:
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def _dotted(port: int, tries: int) -> float:
    """The shortest time in seconds from the final dot, sent by itself without TCP_NODELAY, to its answer."""
    with socket.create_connection(("127.0.0.1", port), 30) as peer, peer.makefile("rb") as replies:

        def reply() -> bytes:
            while (line := replies.readline())[3:4] == b"-":
                pass
            return line

        def timed() -> float:
            for line in (b"MAIL FROM:<a@partner.test>", b"RCPT TO:<agent@mairie.test>", b"DATA"):
                peer.sendall(line + b"\r\n")
                assert reply()[:1] in b"23"
            peer.sendall(b"Les mots du conseil.\r\n" * 150)
            begin = time.perf_counter()
            peer.sendall(b".\r\n")
            assert reply().startswith(b"250 ")
            return time.perf_counter() - begin

        reply()
        peer.sendall(b"EHLO mx.partner.test\r\n")
        reply()
        return min(timed() for _ in range(tries))


async def test_a_final_dot_in_a_segment_of_its_own_is_not_held_back_by_a_delayed_acknowledgement() -> None:
    delayed = 0.040  # seconds, by Linux at least
    async with running(service()) as server:
        assert await asyncio.to_thread(_dotted, server.addresses[0][1], 12) < delayed
