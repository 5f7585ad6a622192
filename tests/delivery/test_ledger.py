"""Results of many jobs: written in one commit, on a beat, and no worse off for each other's faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
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

BEAT = 0.01
BUG = TemporaryError("a bug", code="queue-operation")


@asynccontextmanager
async def kept(queue: Any) -> AsyncIterator[Ledger]:
    ledger = Ledger(queue, judge, BEAT)
    task = asyncio.create_task(ledger.run())
    yield ledger
    task.cancel()


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


async def test_results_that_wait_together_share_a_commit_and_each_job_hears_its_own(queue: Queue) -> None:
    ids = await leased(queue, "q1", "q2", "q3")
    calls: list[int] = []
    real = queue.apply

    async def counted(results: Sequence[Result], judge: Judge) -> list[Settled]:
        calls.append(len(results))
        return await real(results, judge)

    watched: Any = queue
    watched.apply = counted
    async with kept(queue) as ledger:
        heard = await asyncio.gather(*(ledger.write(done(id_)) for id_ in ids))
    assert calls == [3]
    assert [[item.recipient.id for item in settled] for settled in heard] == [[id_] for id_ in ids]
    assert await queue.administration.list(None) == []


async def test_a_result_that_comes_alone_waits_for_nothing(queue: Queue) -> None:
    [id_] = await leased(queue, "q1")
    ledger = Ledger(queue, judge, 3600.0)
    task = asyncio.create_task(ledger.run())
    async with asyncio.timeout(10):
        assert len(await ledger.write(done(id_))) == 1
    task.cancel()


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
    assert heard == [[], error, []]
    assert recorded.commits == [1, 1]


async def test_of_a_database_that_is_away_all_hear_at_once() -> None:
    recorded = Recorded(TemporaryError("away", code="queue-busy"))
    async with kept(recorded) as ledger:
        heard = await asyncio.gather(*(ledger.write(done(id_)) for id_ in (1, 2)), return_exceptions=True)
    assert [isinstance(item, TemporaryError) for item in heard] == [True, True]
    assert recorded.commits == []


async def test_a_job_that_was_cancelled_harms_nobody(queue: Queue) -> None:
    first, second = await leased(queue, "q1", "q2")
    ledger = Ledger(queue, judge, BEAT)
    cancelled = asyncio.create_task(ledger.write(done(first)))
    await asyncio.sleep(0)
    cancelled.cancel()
    task = asyncio.create_task(ledger.run())
    assert len(await ledger.write(done(second))) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled


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


async def test_f148_what_was_under_way_when_it_was_cancelled_is_written_at_its_end() -> None:
    begun, never, commits = asyncio.Event(), asyncio.Event(), list[int]()

    class Slow(Recorded):
        async def apply(self, results: Sequence[Result], _judge: Judge) -> list[Settled]:
            commits.append(len(results))
            if not begun.is_set():
                begun.set()
                await never.wait()
            return []

    slow: Any = Slow()
    ledger = Ledger(slow, judge, BEAT)
    task = asyncio.create_task(ledger.run())
    jobs = [asyncio.create_task(ledger.write(done(1)))]
    await begun.wait()
    jobs.append(asyncio.create_task(ledger.write(done(2))))
    await asyncio.sleep(0)
    for each in (*jobs, task):
        each.cancel()
    await asyncio.gather(*jobs, task, return_exceptions=True)
    await ledger.finish()
    assert commits == [1, 2]
