"""The delivery agent and one scripted peer: each reply, strange or none at all (security.md rows 5, 139)."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest

from delivery.types import Job, ResultKind
from message.content import BytesContent
from smtp.outbound.connection import PATIENCE
from smtp.outbound.dialogue import Stage
from tests.fakes.scripted_smtp import Remote, Script, job, scripted
from tests.smtp.agent import SHORT, after_the_dot, agent, cut_at_mail, deliver, good, never_354, says, stall, to


async def test_a_message_is_delivered_and_told() -> None:
    (result,), heard = await deliver(to(), good)
    assert result.kind is ResultKind.DELIVERED
    assert str(result.status) == "250 2.0.0 queued as 42"
    assert result.diagnostic == "250 2.0.0 queued as 42"
    assert result.remote == "127.0.0.1"
    assert result.relayed_dsn
    assert heard[:2] == ["EHLO mx.mairie.test", "MAIL FROM:<maire@mairie.test> SIZE=20"]


async def test_recipients_get_a_result_each() -> None:
    async def script(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "250 ok", "550 5.1.1 unknown", "452 4.2.2 full", "354 go"):
            await remote.hear(answer=answer)
        await remote.body()
        await remote.say("250 done")

    results, _ = await deliver(to("a@r.test", "b@r.test", "c@r.test"), script)
    assert [(r.recipient_id, r.kind, r.status.enhanced) for r in results] == [
        (1, ResultKind.DELIVERED, "2.0.0"),
        (2, ResultKind.FAILED, "5.1.1"),
        (3, ResultKind.DEFERRED, "4.2.2"),
    ]


@pytest.mark.parametrize(
    ("answers", "last"),
    [
        (["554 5.7.1 not you"], "QUIT"),
        (["450 4.7.1 not now"], "QUIT"),
        (["220 hi", "554 5.7.1 not you"], "QUIT"),
        (["220 hi", "500 what", "550 not you either"], "QUIT"),
        (["220 hi", "421 4.3.2 busy"], "EHLO mx.mairie.test"),  # it leaves by itself; and no HELO
    ],
)
async def test_rfc5321_4_1_1_10_who_was_not_served_says_quit(answers: list[str], last: str) -> None:
    async def script(remote: Remote) -> None:
        first, *rest = answers
        await remote.say(first)
        for answer in rest:
            await remote.hear(answer=answer)
        if last == "QUIT":
            await remote.hear(answer="221 bye")
        assert not await remote.reader.read()

    (result,), heard = await deliver(to(), script)
    assert result.kind is ResultKind.DEFERRED
    assert (heard or [""])[-1] == last


async def test_helo_is_tried_where_ehlo_is_unknown() -> None:
    async def script(remote: Remote) -> None:
        await remote.say("220 old")
        await remote.hear(answer="500 what")
        await remote.hear(answer="250 hello")
        for answer in ("250 ok", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        await remote.body()
        await remote.say("250 done")

    (result,), heard = await deliver(to(), script)
    assert result.kind is ResultKind.DELIVERED
    assert not result.relayed_dsn
    assert heard[:3] == ["EHLO mx.mairie.test", "HELO mx.mairie.test", "MAIL FROM:<maire@mairie.test>"]


async def test_h139_eight_bit_mail_does_not_go_where_it_would_break() -> None:
    async def script(remote: Remote) -> None:
        await remote.greet("250 remote.test")
        await remote.hear(answer="221 bye")

    (result,), heard = await deliver(to(content="Subject: x\r\n\r\né\r\n".encode()), script)
    assert (result.kind, result.status.enhanced) == (ResultKind.FAILED, "5.6.3")
    assert heard == ["EHLO mx.mairie.test", "QUIT"]


async def two_codes(remote: Remote) -> None:
    await remote.say("220 hi")
    await remote.hear(answer="250-a\r\n550 b")
    await remote.reader.read()


async def slow_after_the_dot(remote: Remote) -> None:
    await after_the_dot(remote)
    await remote.reader.read()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (stall, "timeout-greeting"),
        (says("250-" + "x" * 5000), "reply-line-too-long"),
        (says(*["220-again"] * 200), "too-many-reply-lines"),
        (says("999 what"), "bad-reply"),
        (says("554 no"), "session-refused"),
        (says("421 busy"), "session-refused"),
        (two_codes, "bad-reply"),
        (never_354, "timeout-data"),
        (cut_at_mail, "remote-deferred"),
        (after_the_dot, "connection-lost"),
        (slow_after_the_dot, "timeout-final"),
    ],
)
async def test_h139_a_strange_server_defers(script: Script, reason: str) -> None:
    (result,), _ = await deliver(to(), script, patience=SHORT)
    assert result.kind is ResultKind.DEFERRED
    assert result.status.reason == reason
    assert result.status.text.isascii()


async def test_nobody_listens() -> None:
    async with agent() as made:
        (result,) = await made.deliver(job("127.0.0.1:1"))
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "connect-failed")


def sockets() -> int:
    count = 0
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{entry}").startswith("socket:")
    return count


async def test_h139_a_peer_that_never_reads_keeps_no_socket() -> None:
    """What it had not read kept the connection open behind our back, one more with each attempt."""
    given_up = asyncio.Event()

    async def deaf(remote: Remote) -> None:
        await remote.greet(ehlo="250 remote.test")
        for answer in ("250 ok", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        await given_up.wait()

    content = b"Subject: x\r\n\r\n" + (b"x" * 998 + b"\r\n") * 16_000
    async with scripted(deaf) as remote, agent(patience={**PATIENCE, Stage.BLOCK: 0.3}) as made:
        before = sockets()
        (result,) = await made.deliver(job(f"127.0.0.1:{remote.port}", content=content))
        assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "timeout-block")
        try:
            async with asyncio.timeout(20):
                while sockets() > before + 1:  # the one that is left is the deaf peer's own
                    await asyncio.sleep(0.02)
        finally:
            given_up.set()


async def test_h005_bare_line_ends_are_refused_and_the_transaction_is_cut() -> None:
    seen = bytearray()

    async def script(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        with contextlib.suppress(ConnectionError):
            while data := await remote.reader.read(65536):
                seen.extend(data)

    (result,), _ = await deliver(to(content=b"a\r\n" * 100_000 + b"b\r\n.\r\r\nMAIL FROM:<x>\r\n"), script)
    assert (result.kind, result.status.enhanced) == (ResultKind.FAILED, "5.6.0")
    assert b"\r\n.\r\n" not in seen


async def test_a_job_has_a_deadline() -> None:
    (result,), _ = await deliver(to(), stall, deadline=0.3)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "delivery-deadline")


async def test_a_bug_defers() -> None:
    class Bad(BytesContent):
        def read(self, start: int, stop: int) -> bytes:
            raise KeyError("bug")

    (result,), _ = await deliver(lambda port: _with_content(port, Bad(b"Subject: x\r\n\r\nb\r\n")), good)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "bug")


def _with_content(port: int, content: BytesContent) -> Job:
    made = job(f"127.0.0.1:{port}")
    return Job(made.queue_id, made.sender, made.recipients, content, made.next_hop, static=True)


@pytest.mark.parametrize(
    ("end", "more"), [(b"body\r\n", 0), (b"body", 2), (b"\r\n.dots\r\n..\r\n", 0), (b"x\r\n.", 2), (b"y" * 40_000, 2)]
)
async def test_rfc1870_5_the_size_is_that_of_what_is_sent(end: bytes, more: int) -> None:
    """What came in chunks may end without a line end, which stands before the final dot all the same: two octets were
    not told, and a server that counts them refuses the message behind its dot."""
    content, sent = b"Subject: x\r\n\r\n" + end, bytearray()

    async def script(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        sent.extend(await remote.body())
        await remote.say("250 ok")
        await remote.hear(answer="221 bye")

    _, heard = await deliver(to("a@r.test", content=content), script)
    assert f"SIZE={len(content) + more}" in heard[1]
    assert len(bytes(sent).replace(b"\r\n..", b"\r\n.")) - len(b".\r\n") == len(content) + more


async def test_rfc1870_6_3_two_octets_more_than_a_server_takes_are_not_sent() -> None:
    content = b"Subject: x\r\n\r\n" + b"x" * 85
    (result,), heard = await deliver(to("a@r.test", content=content), says_size(len(content) + 1))
    assert (result.kind, result.status.reason) == (ResultKind.FAILED, "too-big-for-next-hop")
    assert not any(line.startswith("MAIL") for line in heard)


def says_size(most: int) -> Script:
    async def script(remote: Remote) -> None:
        await remote.greet(f"250-remote.test\r\n250 SIZE {most}")
        await remote.hear(answer="221 bye")

    return script


async def test_h139_results_do_not_wait_long_for_the_answer_to_a_message_for_nobody() -> None:
    """It was waited for as for any other final dot, ten minutes."""

    async def script(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "550 5.1.1 unknown", "354 go"):
            await remote.hear(answer=answer)
        await remote.reader.read()

    patience = {**PATIENCE, Stage.RESET: 0.2}
    (result,), _ = await deliver(to("a@r.test"), script, patience=patience, deadline=20.0)
    assert (result.kind, result.diagnostic) == (ResultKind.FAILED, "550 5.1.1 unknown")
