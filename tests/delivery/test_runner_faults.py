"""Agents that misbehave, a database that is away, a runner that dies: nothing is lost, one duplicate at most (f146)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from core.errors import TemporaryError
from delivery.ledger import Ledger
from delivery.queue.results import Judge, Settled
from delivery.types import Job, Result
from tests.delivery.conftest import World
from tests.delivery.queue_alone import watch
from tests.delivery.runner import empty, put, running, tried, until, waiting
from tests.fakes.delivery_world import delivered


@pytest.mark.parametrize("fault", ["raises", "forgets", "hangs"])
async def test_an_agent_that_misbehaves_defers_its_job_and_no_other(world: World, fault: str) -> None:
    inner = world.remote

    class Broken:
        async def deliver(self, job: Job) -> list[Result]:
            if job.next_hop != "far.test":
                return await inner.deliver(job)
            if fault == "raises":
                raise RuntimeError("bug")
            if fault == "hangs":
                await asyncio.Event().wait()
            return []

    world.remote = Broken()  # type: ignore[assignment]  # wraps it
    async with running(world.scheduler(deadline=0.2)):
        queue_id = await put(world, "x@far.test")
        await put(world, "x@near.test")
        await until(lambda: len(inner.jobs) == 1)
        await until(lambda: tried(world, queue_id, 1))
    assert (await waiting(world, queue_id)).state == "waiting"


async def test_f146_a_result_is_written_until_the_database_takes_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []
    apply = world.queue.apply

    async def failing(done: Sequence[Result], judge: Judge) -> list[Settled]:
        tries.append(1)
        if len(tries) < 3:
            raise TemporaryError("busy")
        return await apply(done, judge)

    world.queue.apply = failing  # type: ignore[method-assign]  # a fault
    monkeypatch.setattr("delivery.scheduler.WRITE_PAUSE", 0.01)
    async with running(world.scheduler()):
        await put(world, "x@far.test")
        await until(lambda: empty(world))
    assert len(tries) == 3
    assert len(world.remote.jobs) == 1


@pytest.mark.parametrize("fault", [TemporaryError("away"), KeyError("a bug")])
async def test_f146_what_could_not_be_recorded_is_tried_again_and_not_held_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """The lease of a job that had ended without a result was renewed as long as the runner lived."""
    monkeypatch.setattr("delivery.scheduler.WRITE_TRIES", 1)
    world.queue.lease = 0.2
    real, faults = world.queue.apply, [fault]

    async def once(done: Sequence[Result], judge: Judge) -> list[Settled]:
        if faults:
            raise faults.pop()
        return await real(done, judge)

    world.queue.apply = once  # type: ignore[method-assign]  # a fault
    async with running(world.scheduler()):
        queue_id = await put(world, "x@far.test")
        await until(lambda: world.remote.jobs)
        await until(lambda: _is(world, queue_id, "waiting"))
        assert (await waiting(world, queue_id)).next_attempt > world.clock.now() + 60
        assert len(world.remote.jobs) == 1
        await world.queue.administration.retry(None, queue_id)
        await until(lambda: empty(world))


async def _is(world: World, queue_id: str, state: str) -> bool:
    return bool((await waiting(world, queue_id)).state == state)


async def test_f146_a_runner_that_died_after_the_remote_250_causes_one_duplicate_at_most(world: World) -> None:
    dying = world.another_queue()
    await dying.open()
    queue_id = await put(world, "x@far.test")
    assert len(await dying.claim(world.scheduler()._destinations.selection())) == 1  # delivered, then killed
    await watch(world.queue, world.clock, 75)
    async with running(world.scheduler()):
        await until(lambda: empty(world))
    assert [job.queue_id for job in world.remote.jobs] == [queue_id]
    await dying.close()


async def test_f148_stopping_lets_running_jobs_finish_and_gives_back_the_rest(world: World) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()
    inner = world.remote

    class Slow:
        async def deliver(self, job: Job) -> list[Result]:
            begun.set()
            await gate.wait()
            return await inner.deliver(job)

    world.remote = Slow()  # type: ignore[assignment]  # wraps it
    scheduler = world.scheduler()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(scheduler.run())
        await put(world, "x@far.test")
        await begun.wait()
        scheduler.stop()
        later = await put(world, "y@near.test")
        gate.set()
        await task
    assert [item.queue_id for item in await world.queue.administration.list(None)] == [later]
    scheduler = world.scheduler(drain=0.05)
    begun.clear()
    gate.clear()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(scheduler.run())
        await begun.wait()
        scheduler.stop()
        await task
    assert (await waiting(world, later)).state == "waiting"


async def test_f148_a_result_that_waits_for_its_beat_when_the_time_to_stop_is_over_is_written(world: World) -> None:
    """It was delivered: without its result another runner would deliver it again, and who asks where it is would hear
    of no attempt."""
    scheduler = world.scheduler(drain=0.05)
    vars(scheduler)["_ledger"] = Ledger(world.queue, world.rules.judge, 3600.0, scheduler._told)
    async with running(scheduler):
        first = await put(world, "x@far.test")
        await until(lambda: empty(world))
        second = await put(world, "y@near.test")
        await until(lambda: len(world.remote.jobs) == 2)
        assert not await empty(world)
    assert [job.queue_id for job in world.remote.jobs] == [first, second]
    assert await empty(world)
    for queue_id in (first, second):
        events = [entry.event for entry in await world.queue.administration.trace(None, queue_id)]
        assert events.count("delivered") == 1


async def test_f148_a_job_that_is_cancelled_at_the_end_tells_what_it_knows(world: World) -> None:
    """Its results went with it: who had the message got it again, at once."""
    begun = asyncio.Event()

    class Interrupted:
        async def deliver(self, job: Job) -> list[Result]:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return delivered(job)[:1]
            raise AssertionError

    world.remote = Interrupted()  # type: ignore[assignment]  # stands for it
    async with running(world.scheduler(drain=0.05)):
        queue_id = await put(world, "x@far.test", "y@far.test")
        await begun.wait()
    shown = await world.queue.administration.show(None, queue_id)
    assert [(item.state, item.attempts) for item in shown.recipients] == [("delivered", 1), ("waiting", 0)]
    assert shown.recipients[1].next_attempt <= world.clock.now()


async def test_f148_a_runner_that_is_cancelled_itself_writes_what_its_jobs_know(world: World) -> None:
    begun = asyncio.Event()

    class Interrupted:
        async def deliver(self, job: Job) -> list[Result]:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return delivered(job)
            raise AssertionError

    world.remote = Interrupted()  # type: ignore[assignment]  # stands for it
    task = asyncio.create_task(world.scheduler().run())
    await put(world, "x@far.test")
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await empty(world)


async def test_f148_a_result_that_the_database_did_not_take_is_written_at_the_end(world: World) -> None:
    real, faults = world.queue.apply, [TemporaryError("busy")]

    async def once(done: Sequence[Result], judge: Judge) -> list[Settled]:
        if faults:
            raise faults.pop()
        return await real(done, judge)

    world.queue.apply = once  # type: ignore[method-assign]  # a fault
    async with running(world.scheduler(drain=0.05)):
        await put(world, "x@far.test")
        await until(lambda: not faults)
    assert await empty(world)


async def test_a_database_that_is_away_does_not_stop_the_runner(world: World) -> None:
    failures: list[int] = []
    queue: Any = world.queue
    take, next_due = queue.take, queue.next_due

    def fail() -> None:
        if len(failures) < 2:
            failures.append(1)
            raise TemporaryError("busy")

    async def flaky_take(*args: Any) -> Any:
        fail()
        return await take(*args)

    async def flaky_next_due() -> Any:
        fail()
        return await next_due()

    queue.take, queue.next_due = flaky_take, flaky_next_due
    async with running(world.scheduler()):
        await put(world, "x@far.test")
        await until(lambda: empty(world))
    assert len(failures) == 2


async def test_what_no_hint_told_of_is_found_by_looking(world: World) -> None:
    async with running(world.scheduler()):
        hints: Any = world.queue._hints
        hints.send = lambda **_: None  # all are lost
        await put(world, "x@far.test")
        await until(lambda: empty(world))
