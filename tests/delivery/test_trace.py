"""Where is my message? Every acceptance and every result is found by address, Message-ID or queue id, within the own
organisation only, and is forgotten after its time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from core.errors import MailError, TemporaryError
from core.status import accepted, deferred, refused
from delivery.queue import tracing
from delivery.queue.queue import TRACE
from delivery.types import Job, Result, ResultKind, TraceEntry
from tests.delivery.conftest import World
from tests.delivery.runner import answers, empty, put, running, until

MAIL = b"From: maire@ville.test\r\nMessage-ID: <m1@ville.test>\r\nSubject: Secret\r\n\r\nTexte.\r\n"


async def found(world: World, text: str, organisation: str | None = None) -> list[tuple[str, str]]:
    entries = await world.queue.administration.trace(organisation, text)
    return [(entry.event, entry.recipient) for entry in entries]


async def sent(world: World) -> str:
    """A submission to a neighbour here and to a stranger who refuses."""
    status = refused("no such user", "remote-refused", "5.1.1")
    refusal = Result(0, ResultKind.FAILED, status, "mx.far.test", "550 5.1.1 no such user")
    world.remote.answer = answers(far=refusal)
    answer = await world.send(
        world.submission(), MAIL, "Voisin@bourg.test", "x@far.test", sender="maire@ville.test",
        account="maire@ville.test",
    )  # fmt: skip
    assert answer.ok
    async with running(world.scheduler()):
        await until(lambda: empty(world))
    return answer.text.rpartition(" ")[2]


async def test_a_message_is_found_by_queue_id_message_id_and_addresses(world: World) -> None:
    queue_id = await sent(world)
    whole = [("delivered", "voisin@bourg.test"), ("accepted", "x@far.test"), ("failed", "x@far.test")]
    assert await found(world, queue_id) == whole
    assert await found(world, "<m1@ville.test>") == whole
    assert await found(world, "X@Far.Test") == whole
    assert (await found(world, "maire@ville.test"))[:3] == whole
    assert await found(world, "nobody@far.test") == []
    entries = await world.queue.administration.trace(None, queue_id)
    assert (entries[-1].status, entries[-1].remote) == ("550 5.1.1 no such user", "mx.far.test")
    assert "Secret" not in repr(entries)


async def test_no_handle_finds_nothing(world: World) -> None:
    await sent(world)  # and a notice, which has no sender
    for nothing in ("", " ", "<>", "%", "_"):
        assert await found(world, nothing) == [], nothing


async def test_who_got_a_message_that_was_dropped_meanwhile_is_told_all_the_same(world: World) -> None:
    begun, gate, inner = asyncio.Event(), asyncio.Event(), world.remote
    results = {
        "far.test": Result(0, ResultKind.DELIVERED, accepted("taken"), "mx.far.test"),
        "off.test": Result(0, ResultKind.DEFERRED, deferred("busy", "busy"), "mx.off.test"),
    }

    class Slow:
        async def deliver(self, job: Job) -> list[Result]:
            if {item.next_hop for item in (*inner.jobs, job)} == {"far.test", "off.test"}:
                begun.set()
            inner.jobs.append(job)
            await gate.wait()
            return [replace(results[job.next_hop], recipient_id=item.id) for item in job.recipients]

    world.remote = cast(Any, Slow())
    with capture_logs() as logs:
        async with running(world.scheduler()):
            queue_id = await put(world, "a@far.test", "b@off.test")
            await asyncio.wait_for(begun.wait(), 10)
            await world.queue.administration.drop(None, queue_id)
            gate.set()
            await until(lambda: attempts(logs, 2))
    assert sorted(await found(world, queue_id)) == [
        ("delivered", "a@far.test"), ("dropped", "a@far.test"), ("dropped", "b@off.test"),
    ]  # fmt: skip
    assert {(entry["recipient"], entry["outcome"], entry["reason"]) for entry in logs if "outcome" in entry} == {
        ("a@far.test", "delivered", "no-longer-queued"), ("b@off.test", "waiting", "no-longer-queued"),
    }  # fmt: skip


async def attempts(logs: Sequence[Any], count: int) -> bool:
    return len([entry for entry in logs if entry["event"] == "delivery-attempt"]) >= count


async def test_what_happened_last_is_told_where_it_is_too_much(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await sent(world)
    monkeypatch.setattr(tracing, "ENTRIES", 2)
    assert await found(world, "maire@ville.test") == [("failed", "x@far.test"), ("delivered", "maire@ville.test")]


async def test_h121_each_organisation_sees_its_own_recipients(world: World) -> None:
    queue_id = await sent(world)
    assert await found(world, queue_id, "bourg.test") == [("delivered", "voisin@bourg.test")]
    assert await found(world, queue_id, "else.test") == []
    assert await found(world, "maire@ville.test", "else.test") == []


async def test_a_dropped_message_says_so(world: World) -> None:
    answer = await world.send(
        world.submission(), MAIL, "x@far.test", sender="maire@ville.test", account="maire@ville.test"
    )
    queue_id = answer.text.rpartition(" ")[2]
    await world.queue.administration.drop(None, queue_id)
    assert await found(world, queue_id) == [("accepted", "x@far.test"), ("dropped", "x@far.test")]


async def test_the_trace_is_kept_for_its_time(world: World) -> None:
    queue_id = await sent(world)
    world.clock.advance(TRACE - 60)
    await world.queue.tidy()
    assert await found(world, queue_id)
    world.clock.advance(120)
    await world.queue.tidy()
    assert await found(world, queue_id) == []


async def test_the_trace_of_a_database_that_is_away_is_written_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = world.queue._database

    async def away(*_: object, **__: object) -> None:
        raise TemporaryError("away")

    monkeypatch.setattr(database, "write", away)
    world.queue.note([TraceEntry(1.0, "q1", "delivered", recipient="a@b.test")])
    await world.queue._book.flush()
    monkeypatch.undo()
    assert await found(world, "q1") == [("delivered", "a@b.test")]


async def test_what_was_noted_is_written_at_a_clean_stop(world: World) -> None:
    other = world.another_queue()
    await other.open()
    other.note([TraceEntry(1.0, "q1", "delivered", recipient="a@b.test")] * 2500)
    await other.close()
    assert len(await world.queue.administration.trace(None, "q1")) == 1000


async def test_a_queue_that_is_away_is_told_once_by_the_trace_and_not_each_second(world: World) -> None:
    book, answers_of = world.queue._book, iter([TemporaryError("away", code="queue-unavailable")] * 3)

    class Away:
        async def write(self, *_: object, **__: object) -> None:
            raise next(answers_of)

    real, book._database = book._database, cast(Any, Away())
    with capture_logs() as logs:
        book.note([TraceEntry(1.0, "q1", "accepted", recipient="x@far.test")])
        for _ in range(3):
            await book.flush()
    book._database = real
    await book.flush()
    assert [(entry["event"], entry["code"]) for entry in logs] == [("trace-waits", "queue-unavailable")]
    assert await found(world, "q1") == [("accepted", "x@far.test")]


async def test_f170_a_queue_that_stays_read_only_is_told_once(world: World) -> None:
    def fail(_: object) -> None:
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("attempt to write a readonly database"))

    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(MailError):
                await world.queue._database.write(cast(Any, fail))
    told = [entry["error"] for entry in logs if entry["event"] == "queue-write-failed"]
    assert told == ["attempt to write a readonly database"]
