"""Results of many jobs: written in one commit, on a beat, and no worse off for each other's faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core.errors import ConflictError, TemporaryError
from core.status import accepted
from delivery.ledger import MOST, Beat, Ledger
from delivery.queue.queue import Queue
from delivery.queue.results import Judge, Settled
from delivery.types import Result, ResultKind
from tests.delivery.queue_alone import everything, judge, new
from tests.delivery.runner import until

BEAT = 0.01
BUG = TemporaryError("a bug", code="queue-operation")


@asynccontextmanager
async def kept(queue: Any, told: Callable[[Sequence[Settled]], None] = lambda _: None) -> AsyncIterator[Ledger]:
    ledger = Ledger(queue, judge, BEAT, told)
    task = asyncio.create_task(ledger.run())
    yield ledger
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await ledger.finish()


class Told(list[list[int]]):
    """The recipients of whom something was told, in the order of the commits."""

    def __call__(self, settled: Sequence[Settled]) -> None:
        self.append([item.recipient.id for item in settled])


def done(id_: int) -> list[Result]:
    return [Result(id_, ResultKind.DELIVERED, accepted())]


async def leased(queue: Queue, *names: str) -> list[int]:
    for name in names:
        await queue.enqueue(new(name, f"{name}@two.test"))
    return [claimed.recipients[0].id for claimed in await queue.claim(everything)]


class Recorded:
    """A queue that tells how much came in each commit, and fails as asked."""

    def __init__(self, *faults: Exception, poison: int = 0, error: Exception = BUG) -> None:
        self.commits: list[int] = []
        self._faults = list(faults)
        self._poison = poison
        self._error = error

    async def apply(self, results: Sequence[Result], _judge: Judge) -> list[Settled]:
        if self._faults:
            raise self._faults.pop()
        if any(result.recipient_id == self._poison for result in results):
            raise self._error
        self.commits.append(len(results))
        return []


async def test_results_that_wait_together_share_a_commit_and_are_told_of_once(queue: Queue) -> None:
    ids = await leased(queue, "q1", "q2", "q3")
    calls: list[int] = []
    real = queue.apply

    async def counted(results: Sequence[Result], judge: Judge) -> list[Settled]:
        calls.append(len(results))
        return await real(results, judge)

    watched: Any = queue
    watched.apply = counted
    told = Told()
    async with kept(queue, told) as ledger:
        await asyncio.gather(*(ledger.write(done(id_)) for id_ in ids))
    assert calls == [3]
    assert told == [ids]
    assert await queue.administration.list(None) == []


async def test_a_result_that_comes_alone_waits_for_nothing(queue: Queue) -> None:
    [id_] = await leased(queue, "q1")
    told = Told()
    ledger = Ledger(queue, judge, 3600.0, told)
    task = asyncio.create_task(ledger.run())
    async with asyncio.timeout(10):
        await ledger.write(done(id_))
    task.cancel()
    assert told == [[id_]]


async def test_its_job_hears_of_recipients_that_were_dropped_meanwhile(queue: Queue) -> None:
    kept_one, dropped = await leased(queue, "q1", "q2")
    await queue.administration.drop(None, "q2")
    async with kept(queue) as ledger:
        assert await ledger.write([*done(kept_one), *done(dropped)]) == {dropped}


async def test_more_results_than_one_commit_takes_go_in_several() -> None:
    recorded = Recorded()
    async with kept(recorded) as ledger:
        await asyncio.gather(*(ledger.write(done(id_) * (MOST // 2)) for id_ in range(1, 4)))
    assert recorded.commits == [MOST, MOST // 2]


@pytest.mark.parametrize("error", [BUG, ConflictError("its key exists"), ValueError("a bug")])
async def test_one_result_that_cannot_be_written_keeps_no_other_from_it(error: Exception) -> None:
    recorded = Recorded(poison=2, error=error)
    async with kept(recorded) as ledger:
        heard = await asyncio.gather(*(ledger.write(done(id_)) for id_ in (1, 2, 3)), return_exceptions=True)
    assert heard == [frozenset({1}), error, frozenset({3})]  # that queue knows of no recipients
    assert recorded.commits == [1, 1]


async def test_of_a_database_that_is_away_all_hear_at_once() -> None:
    recorded = Recorded(TemporaryError("away", code="queue-busy"))
    async with kept(recorded) as ledger:
        heard = await asyncio.gather(*(ledger.write(done(id_)) for id_ in (1, 2)), return_exceptions=True)
    assert [isinstance(item, TemporaryError) for item in heard] == [True, True]
    assert recorded.commits == []


@pytest.mark.parametrize("way", ["cancelled while it waits", "kept for it"])
async def test_what_becomes_of_a_result_is_told_though_its_job_is_gone(queue: Queue, way: str) -> None:
    """It was written with those of others, and who asked where the message is never heard of it."""
    first, second = await leased(queue, "q1", "q2")
    told = Told()
    ledger = Ledger(queue, judge, BEAT, told)
    if way == "kept for it":
        ledger.keep(done(first))
    else:
        cancelled = asyncio.create_task(ledger.write(done(first)))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        assert cancelled.cancelled()
    task = asyncio.create_task(ledger.run())
    await ledger.write(done(second))
    task.cancel()
    assert [id_ for part in told for id_ in part] == [first, second]
    assert await queue.administration.list(None) == []


async def test_what_is_kept_when_nothing_else_is_to_be_written_is_written_at_once(queue: Queue) -> None:
    [id_] = await leased(queue, "q1")
    told = Told()
    async with kept(queue, told) as ledger:
        ledger.keep(done(id_))
        await until(lambda: told == [[id_]])


async def test_a_bug_in_what_is_told_of_one_result_ends_nobodys_writing(queue: Queue) -> None:
    first, second = await leased(queue, "q1", "q2")

    def broken(_settled: Sequence[Settled]) -> None:
        raise ZeroDivisionError

    async with kept(queue, broken) as ledger:
        await ledger.write(done(first))
        await ledger.write(done(second))
    assert await queue.administration.list(None) == []


async def test_all_recipients_of_a_message_may_end_in_one_commit(queue: Queue) -> None:
    await queue.enqueue(new("q1", "a@two.test", "b@two.test", "c@three.test"))
    ids = [item.id for claimed in await queue.claim(everything) for item in claimed.recipients]
    settled = await queue.apply([Result(id_, ResultKind.DELIVERED, accepted()) for id_ in ids], judge)
    assert len(settled) == 3
    assert await queue.administration.list(None) == []
    assert await queue._database.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM queue_chunk").scalar()) == 0


async def test_beats_are_those_of_one_clock() -> None:
    loop = asyncio.get_running_loop()
    one, other = Beat(0.05), Beat(0.05)
    at: list[float] = []

    async def twice(beat: Beat) -> None:
        await beat.wait()
        await beat.wait()
        at.append(loop.time())

    await asyncio.gather(twice(one), twice(other))
    assert int(at[0] / 0.05) == int(at[1] / 0.05)


async def test_f148_what_was_under_way_when_it_was_cancelled_is_heard_and_what_waited_is_written() -> None:
    """Of a commit that ran nobody heard what came of it: written a second time, its rows were gone."""
    begun, goes_on, commits = asyncio.Event(), asyncio.Event(), list[int]()

    class Slow(Recorded):
        async def apply(self, results: Sequence[Result], _judge: Judge) -> list[Settled]:
            begun.set()
            await goes_on.wait()
            commits.append(len(results))
            return []

    slow: Any = Slow()
    heard: list[int] = []
    ledger = Ledger(slow, judge, BEAT, lambda settled: heard.append(len(settled)))
    task = asyncio.create_task(ledger.run())
    jobs = [asyncio.create_task(ledger.write(done(1)))]
    await begun.wait()
    jobs.append(asyncio.create_task(ledger.write(done(2))))
    await asyncio.sleep(0)
    for each in (*jobs, task):
        each.cancel()
    await asyncio.sleep(0)
    task.cancel()  # however often
    goes_on.set()
    await asyncio.gather(*jobs, task, return_exceptions=True)
    assert (commits, heard) == ([1], [0])
    await ledger.finish()
    assert (commits, heard) == ([1, 1], [0, 0])


async def test_f148_what_could_not_be_written_for_a_job_that_is_gone_is_tried_once_more_at_the_end(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was forgotten: the message went out again."""
    [id_] = await leased(queue, "q1")
    real, faults = queue.apply, [TemporaryError("away", code="queue-busy")]

    async def once(results: Sequence[Result], judge: Judge) -> list[Settled]:
        if faults:
            raise faults.pop()
        return await real(results, judge)

    monkeypatch.setattr(queue, "apply", once)
    told = Told()
    async with kept(queue, told) as ledger:
        ledger.keep(done(id_))
        await until(lambda: not faults)
        assert told == []
    assert told == [[id_]]
