"""A job that is cancelled, as the runner does at the end of its time: what servers said is told, and what was not sent
whole is as if it had not been tried (fault 148)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from delivery.types import Job, Result, ResultKind
from smtp.outbound import connection
from tests.fakes.scripted_smtp import EHLO, Remote, Script, scripted
from tests.smtp.agent import agent, to

LATE = ["250 2.0.0 taken", "451 4.3.0 not now", "550 5.7.1 no"]


class Stage:
    """A server that gets as far as `reached` and goes on when the job has been cancelled."""

    def __init__(self) -> None:
        self.reached, self.stopped = asyncio.Event(), asyncio.Event()


async def cancelled(stage: Stage, script: Script, work: Callable[[int], Job], times: int = 1) -> list[Result]:
    async with scripted(script) as remote, agent() as made:
        task = asyncio.create_task(made.deliver(work(remote.port)))
        await stage.reached.wait()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        stage.stopped.set()
        return await task


async def take(remote: Remote, recipients: int = 1) -> None:
    for answer in ("250 ok", *["250 ok"] * recipients, "354 go"):
        await remote.hear(answer=answer)
    await remote.body()


@pytest.mark.parametrize("final", LATE)
async def test_f148_an_answer_that_comes_just_after_the_end_counts(final: str) -> None:
    """It was forgotten, and who had the message got it again."""
    stage = Stage()

    async def script(remote: Remote) -> None:
        await remote.greet()
        await take(remote)
        stage.reached.set()
        await stage.stopped.wait()
        await remote.say(final)
        await remote.hear(answer="221 bye")

    (result,) = await cancelled(stage, script, to("a@r.test"))
    assert result.kind is {"2": ResultKind.DELIVERED, "4": ResultKind.DEFERRED, "5": ResultKind.FAILED}[final[0]]
    assert result.diagnostic == final


@pytest.mark.parametrize("times", [1, 2])
async def test_f148_an_answer_that_never_comes_is_an_attempt(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Perhaps it has the message: it is not offered again at once."""
    monkeypatch.setattr(connection, "HEARING", 0.1 if times == 1 else 60.0)
    stage = Stage()

    async def script(remote: Remote) -> None:
        await remote.greet()
        await take(remote)
        stage.reached.set()
        await remote.reader.read()

    (result,) = await cancelled(stage, script, to("a@r.test"), times)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "timeout-final")


@pytest.mark.parametrize("before", ["354", "dot"])
async def test_f148_what_was_not_sent_whole_reaches_nobody_and_was_not_tried(before: str) -> None:
    stage, seen = Stage(), bytearray()

    async def script(remote: Remote) -> None:
        await remote.greet(EHLO.replace("250-SIZE 1000000\r\n", ""))
        for answer in ("250 ok", "250 ok") + (("354 go",) if before == "dot" else ()):
            await remote.hear(answer=answer)
        if before == "dot":
            seen.extend(await remote.reader.read(1))
        stage.reached.set()
        await stage.stopped.wait()
        seen.extend(await remote.reader.read())

    content = b"Subject: x\r\n\r\n" + (b"x" * 900 + b"\r\n") * 20_000
    with pytest.raises(asyncio.CancelledError):
        await cancelled(stage, script, to("a@r.test", content=content))
    assert b"\r\n.\r\n" not in seen


async def test_f148_who_took_an_earlier_transaction_is_told_and_who_waits_for_the_next_is_not() -> None:
    stage = Stage()

    async def script(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "250 ok", "452 4.5.3 too many", "354 go"):
            await remote.hear(answer=answer)
        await remote.body()
        stage.reached.set()
        await stage.stopped.wait()
        await remote.say("250 ok")
        assert await remote.hear(answer="221 bye") == "QUIT"

    results = await cancelled(stage, script, to("a@r.test", "b@r.test"))
    assert [(item.recipient_id, item.kind) for item in results[:1]] == [(1, ResultKind.DELIVERED)]
    assert all(item.kind is ResultKind.DEFERRED for item in results[1:])


async def test_f148_a_connection_whose_last_job_was_cancelled_carries_the_next_one() -> None:
    """The next job on it was taken for cancelled, too, and so on: its leases were kept and it was never sent."""
    stage = Stage()

    async def script(remote: Remote) -> None:
        await remote.greet()
        await take(remote)
        stage.reached.set()
        await stage.stopped.wait()
        await remote.say("250 ok")
        assert await remote.hear(answer="250 ok") == "RSET"
        await take(remote)
        await remote.say("250 again")
        await remote.hear(answer="221 bye")

    async with scripted(script) as remote, agent(idle=5.0) as made:
        task = asyncio.create_task(made.deliver(to("a@r.test")(remote.port)))
        await stage.reached.wait()
        task.cancel()
        await asyncio.sleep(0)
        stage.stopped.set()
        assert [item.kind for item in await task] == [ResultKind.DELIVERED]
        (result,) = await made.deliver(to("b@r.test")(remote.port))
    assert (result.kind, result.diagnostic) == (ResultKind.DELIVERED, "250 again")


async def test_f148_an_agent_that_is_retired_ends_what_it_began_and_then_closes() -> None:
    stage = Stage()

    async def script(remote: Remote) -> None:
        await remote.greet()
        await take(remote)
        stage.reached.set()
        await stage.stopped.wait()
        await remote.say("250 taken")
        await remote.hear(answer="221 bye")

    async with scripted(script) as remote, agent(idle=60.0) as made:
        task = asyncio.create_task(made.deliver(to("a@r.test")(remote.port)))
        await stage.reached.wait()
        retiring = asyncio.create_task(made.retire())
        await asyncio.sleep(0)
        assert not retiring.done()
        stage.stopped.set()
        assert [item.diagnostic for item in await task] == ["250 taken"]
        async with asyncio.timeout(10):
            await retiring
        assert remote.heard[-1] == "QUIT", "nothing is kept for a next message"


async def test_f148_a_retiring_agent_that_is_cancelled_closes_all_the_same() -> None:
    stage = Stage()

    async def script(remote: Remote) -> None:
        await remote.greet()
        await take(remote)
        stage.reached.set()
        await remote.reader.read()

    async with scripted(script) as remote, agent() as made:
        task = asyncio.create_task(made.deliver(to("a@r.test")(remote.port)))
        await stage.reached.wait()
        retiring = asyncio.create_task(made.retire())
        await asyncio.sleep(0)
        retiring.cancel()
        await asyncio.gather(retiring, return_exceptions=True)
        assert made._pool._closed
        task.cancel()
        stage.stopped.set()
        async with asyncio.timeout(10):
            (result,) = await task
        assert result.status.reason == "timeout-final"
