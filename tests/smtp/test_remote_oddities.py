"""Row 139, each of its servers at each stage where it can be met: what our client makes of it, how long it waits, how
much it reads, and whether another host may be asked. Peers are scripted; patience is fractions of a second."""

from __future__ import annotations

import asyncio
import time
import tracemalloc

import pytest

from delivery.types import ResultKind
from smtp.outbound.connection import PATIENCE
from smtp.outbound.dialogue import Stage
from tests.fakes.scripted_smtp import EHLO, Remote, Script, job, scripted
from tests.smtp.agent import SHORT, agent, by_mx, deliver, good, to

STAGES = ("banner", "ehlo", "mail", "rcpt", "data", "dot")
UNPIPELINED = EHLO.replace("250-PIPELINING\r\n", "")


async def _upto(remote: Remote, stage: str, ehlo: str = EHLO) -> None:
    """A good server, up to where `stage`'s own reply is due."""
    if stage == "banner":
        return
    await remote.say("220 hi")
    await remote.hear()
    for name, before in (("mail", ehlo), ("rcpt", "250 ok"), ("data", "250 ok"), ("dot", "354 go")):
        if STAGES.index(stage) < STAGES.index(name):
            return
        await remote.say(before)
        await (remote.body() if name == "dot" else remote.hear())


def at(stage: str, *answers: str, ehlo: str = EHLO) -> Script:
    """At `stage` it says `answers` instead of the right thing; after none, or an unfinished one, it is silent."""

    async def script(remote: Remote) -> None:
        await _upto(remote, stage, ehlo)
        for answer in answers:
            await remote.say(answer)
        if not answers or answers[-1].startswith("250-"):
            await remote.reader.read()

    return script


@pytest.mark.parametrize("stage", ["banner", "mail", "dot"])
@pytest.mark.parametrize("code", ["999 what", "000 what", "25 ok", "hello", "250~ok", ""])
async def test_h139_a_code_that_is_none_defers_and_ends_the_session(stage: str, code: str) -> None:
    (result,), _ = await deliver(to(), at(stage, code), patience=SHORT)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "bad-reply")


@pytest.mark.parametrize("stage", STAGES)
async def test_h139_421_at_any_moment_defers(stage: str) -> None:
    (result,), _ = await deliver(to(), at(stage, "421 4.3.2 going down"), patience=SHORT)
    assert result.kind is ResultKind.DEFERRED
    assert "421" in result.status.text + result.diagnostic or result.status.reason == "session-refused"


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
async def test_h139_a_session_that_421_ended_is_not_used_again(stage: str) -> None:
    async with scripted(at(stage, "421 4.3.2 going down", ehlo=UNPIPELINED), good) as remote, agent(idle=5.0) as made:
        for kind in (ResultKind.DEFERRED, ResultKind.DELIVERED):
            (result,) = await made.deliver(job(f"127.0.0.1:{remote.port}"))
            assert result.kind is kind
    assert remote.connections == 2


@pytest.mark.parametrize("stage", STAGES)
async def test_h139_a_reply_line_of_a_megabyte_is_not_read(stage: str) -> None:
    tracemalloc.start()
    (result,), _ = await deliver(to(), at(stage, "250-" + "x" * 1_000_000), patience=SHORT)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "reply-line-too-long")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000  # the megabyte itself is the scripted server's own, several times


@pytest.mark.parametrize("stage", STAGES)
async def test_h139_a_reply_without_end_is_given_up(stage: str) -> None:
    async def endless(remote: Remote) -> None:
        await _upto(remote, stage)
        while True:
            await remote.say("250-and more" if stage != "banner" else "220-and more")

    (result,), _ = await deliver(to(), endless)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "too-many-reply-lines")


@pytest.mark.parametrize("stage", STAGES)
async def test_h139_a_reply_that_drips_has_the_time_of_one_reply_and_no_more(stage: str) -> None:
    """Octet by octet, each within the patience: the whole reply has to come within it."""

    async def drips(remote: Remote) -> None:
        await _upto(remote, stage)
        while True:
            remote.writer.write(b"2")
            await remote.writer.drain()
            await asyncio.sleep(0.05)

    begun = time.monotonic()
    (result,), _ = await deliver(to(), drips, patience=SHORT)
    assert result.kind is ResultKind.DEFERRED
    assert result.status.reason.startswith("timeout-")
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("stage", STAGES)
async def test_h139_silence_at_any_moment_has_the_patience_of_its_stage(stage: str) -> None:
    names = {"banner": "greeting", "ehlo": "ehlo", "mail": "mail", "rcpt": "rcpt", "data": "data", "dot": "final"}
    wanted = Stage(names[stage])
    patience = {**PATIENCE, wanted: 0.2}
    (result,), _ = await deliver(to(), at(stage), patience=patience)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, f"timeout-{wanted.value}")


@pytest.mark.parametrize("stage", STAGES)
async def test_h139_a_connection_cut_at_any_moment_goes_to_the_next_host_but_not_after_the_dot(stage: str) -> None:
    async def cuts(remote: Remote) -> None:
        await _upto(remote, stage)

    result, connections = await by_mx(cuts, good)
    if stage == "dot":  # it may have been taken: only the queue tries again, later (the risk of one duplicate)
        assert (result.kind, result.status.reason, connections) == (ResultKind.DEFERRED, "connection-lost", 1)
    else:
        assert (result.kind, connections) == (ResultKind.DELIVERED, 2)


async def test_h139_a_tarpit_within_our_patience_gets_its_mail() -> None:
    async def slow(remote: Remote) -> None:
        async def say(text: str) -> None:
            await asyncio.sleep(0.15)
            await remote.say(text)

        await say("220-slowly")
        await say("220 hi")
        for answer in (EHLO, "250 ok", "250 ok", "354 go"):
            await remote.hear()
            await say(answer)
        await remote.body()
        await say("250-yes")
        await say("250 done")

    patience = dict.fromkeys(Stage, 2.0)
    (result,), _ = await deliver(to(), slow, patience=patience)
    assert result.kind is ResultKind.DELIVERED


@pytest.mark.parametrize("answer", ["250 ok", "354 again", "334 "])
async def test_h139_a_good_answer_in_the_wrong_place_is_no_delivery(answer: str) -> None:
    """354 to MAIL or RCPT, 250 to DATA: whatever it means, nobody has the message."""
    for stage in ("data",) if answer == "250 ok" else ("mail", "rcpt", "dot"):
        (result,), _ = await deliver(to(), at(stage, answer, ehlo=UNPIPELINED), patience=SHORT)
        assert result.kind is ResultKind.DEFERRED, (stage, answer)


async def test_h139_554_greets_nobody_and_another_host_is_asked() -> None:
    result, connections = await by_mx(at("banner", "554 5.7.1 no service for you"), good)
    assert (result.kind, connections) == (ResultKind.DELIVERED, 2)
    (result,), _ = await deliver(to(), at("banner", "554 5.7.1 no service for you"))
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "session-refused")
