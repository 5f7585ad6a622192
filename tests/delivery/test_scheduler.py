"""The runner: what is due is delivered, deferred and tried again; what is dead holds up nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.config import Delivery
from core.errors import StorageError
from core.status import Status, deferred
from delivery.outcome import Backoff, Rules
from delivery.queue.rows import StoredMessage
from delivery.types import Job, Result, ResultKind
from message.content import Content
from tests.delivery.conftest import World
from tests.delivery.runner import MAIL, answers, deferral, empty, put, running, tried, until, waiting
from tests.fakes.delivery_world import ScriptedAgent


async def test_a_message_is_delivered_once_with_its_bytes_and_forgotten(world: World) -> None:
    async with running(world.scheduler()):
        queue_id = await put(world, "x@far.test", "y@far.test", "z@near.test")
        await until(lambda: empty(world))
    jobs = {job.next_hop: job for job in world.remote.jobs}
    assert sorted(jobs) == ["far.test", "near.test"]
    assert [str(item.address) for item in jobs["far.test"].recipients] == ["x@far.test", "y@far.test"]
    assert (jobs["far.test"].queue_id, jobs["far.test"].envid) == (queue_id, "e1")
    assert world.remote.bytes == [MAIL, MAIL]


async def test_static_routes_join_domains_into_one_job(world: World) -> None:
    world.config = world.config.model_copy(update={"delivery": Delivery(routes={"*": "192.0.2.1:2525"})})
    async with running(world.scheduler()):
        await put(world, "x@far.test", "z@near.test")
        await until(lambda: empty(world))
    [job] = world.remote.jobs
    assert (job.next_hop, job.static, len(job.recipients)) == ("192.0.2.1:2525", True, 2)


async def test_a_job_that_has_not_called_its_agent_at_a_reload_is_told_to_who_closes_that(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loads the message's text first; the agent was closed meanwhile, and the message waited for the next try."""
    begun, gate, content = asyncio.Event(), asyncio.Event(), world.queue.content

    async def slow(message: StoredMessage) -> Content:
        begun.set()
        await gate.wait()
        return await content(message)

    monkeypatch.setattr(world.queue, "content", slow)
    monkeypatch.setattr("delivery.queue.claims.SMALL", 0)
    former, scheduler = world.remote, world.scheduler()
    async with running(scheduler):
        await put(world, "x@far.test")
        await begun.wait()
        world.remote = ScriptedAgent()
        [job] = scheduler.adopt(world.means())
        assert not former.jobs
        gate.set()
        await asyncio.wait_for(job, 5)
        assert len(former.jobs) == 1


async def test_what_is_claimed_while_others_are_adopted_goes_by_those(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, gate, take = asyncio.Event(), asyncio.Event(), world.queue.take

    async def slow(*arguments: Any) -> Any:
        found = await take(*arguments)
        if found[0]:
            taken.set()
            await gate.wait()
        return found

    monkeypatch.setattr(world.queue, "take", slow)
    former, scheduler = world.remote, world.scheduler()
    async with running(scheduler):
        await put(world, "x@far.test")
        await taken.wait()
        world.remote = ScriptedAgent()
        assert not scheduler.adopt(world.means())
        gate.set()
        await until(lambda: empty(world))
    assert (len(former.jobs), len(world.remote.jobs)) == (0, 1)


async def test_f148_a_reload_cuts_nothing_off_and_what_begins_after_it_goes_by_the_new_means(world: World) -> None:
    """A server that was silent behind the final dot for half a minute got its message again, and nothing left until
    it had answered or that time was over."""
    begun, gate, former = asyncio.Event(), asyncio.Event(), world.remote

    class Silent:
        async def deliver(self, job: Job) -> list[Result]:
            begun.set()
            await gate.wait()
            return await former.deliver(job)

    world.remote = Silent()  # type: ignore[assignment]  # wraps it
    scheduler = world.scheduler(drain=0.05)
    async with running(scheduler):
        first = await put(world, "x@far.test")
        await begun.wait()
        world.remote = ScriptedAgent()
        world.config = world.config.model_copy(update={"delivery": Delivery(routes={"*": "192.0.2.1:2525"})})
        scheduler.adopt(world.means())
        second = await put(world, "y@near.test")
        await until(lambda: world.remote.jobs)
        assert [(job.queue_id, job.next_hop) for job in world.remote.jobs] == [(second, "192.0.2.1:2525")]
        gate.set()
        await until(lambda: empty(world))
    assert [(job.queue_id, job.next_hop) for job in former.jobs] == [(first, "far.test")]
    assert len(world.remote.jobs) == 1


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        (Status(421, "4.7.0", "too many connections", "remote-deferred"), 2),
        (Status(421, "4.0.0", "closing", "remote-deferred"), 2),
        (Status(451, "4.3.2", "busy", "remote-deferred"), 2),
        (Status(450, "4.4.5", "congestion", "remote-deferred"), 2),
        (Status(451, "4.7.5", "certificate not trusted", "certificate-not-trusted"), 2),
        (Status(451, "4.7.10", "no TLS", "no-tls"), 2),
        (Status(450, "4.2.0", "greylisted", "remote-deferred"), 5),
        (Status(451, "4.4.2", "lost", "connection-lost"), 5),
    ],
)
async def test_a_server_that_ends_the_session_or_has_too_much_to_do_gets_fewer_at_a_time(
    world: World, said: Status, limit: int
) -> None:
    """At MAIL, RCPT or behind the dot as at its greeting; TLS that is not trusted, too, which one message may require
    and another waive (RFC 8689). What others have for it is not put off."""
    world.remote = ScriptedAgent(answers(far=deferral(said, "mx.far.test")))
    scheduler = world.scheduler()
    async with running(scheduler):
        queue_id = await put(world, "x@far.test")
        await until(lambda: tried(world, queue_id, 1))
        await until(lambda: not scheduler._destinations.active)
        assert scheduler._destinations.limit("far.test") == limit
        await put(world, "y@far.test")
        await until(lambda: len(world.remote.jobs) == 2)


async def test_a_hint_wakes_the_runner_long_before_its_next_look(world: World) -> None:
    async with running(world.scheduler(poll=600.0)):
        await asyncio.sleep(0.05)
        await put(world, "x@far.test")
        await until(lambda: empty(world))


async def test_without_any_hint_the_runner_looks_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.queue._hints, "send", lambda: None)  # lost
    async with running(world.scheduler()):
        await asyncio.sleep(0.05)
        await put(world, "x@far.test")
        await until(lambda: empty(world))


async def test_nor_does_a_runner_wait_for_a_quiet_moment_to_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that end wake it more often than it would look: no reason to look never."""
    inner, begun, ended, one_more = world.remote, list[str](), list[str](), asyncio.Semaphore(0)

    class Slow:
        async def deliver(self, job: Job) -> list[Result]:
            begun.append(job.next_hop)
            if job.next_hop != "near.test":
                await one_more.acquire()
            ended.append(job.next_hop)
            return await inner.deliver(job)

    async def end_one() -> bool:
        await asyncio.sleep(0.15)  # sooner than it would look
        one_more.release()
        return "near.test" in ended

    world.remote = Slow()  # type: ignore[assignment]  # wraps it
    async with running(world.scheduler(poll=0.2)):
        for number in range(59):
            await put(world, f"x@d{number}.test")
        await until(lambda: len(begun) == 59)
        await end_one()
        await until(lambda: ended)  # what the last hint asked for is over
        monkeypatch.setattr(world.queue._hints, "send", lambda: None)  # lost
        await put(world, "x@near.test")
        await until(end_one)
        assert len(ended) < 60, "it looked although none ended for a while"
        for _ in range(60):
            one_more.release()


async def test_a_deferred_recipient_waits_its_interval_and_is_tried_again(world: World) -> None:
    world.remote.answer = answers(far=deferral(deferred("greylisted", "remote-deferred", "4.7.1"), "mx.far.test"))
    async with running(world.scheduler()):
        queue_id = await put(world, "x@far.test")
        await until(lambda: len(world.remote.jobs) == 1)
        await until(lambda: tried(world, queue_id, 1))
        recipient = await waiting(world, queue_id)
        assert (recipient.state, recipient.last_status) == ("waiting", "451 4.7.1 greylisted")
        assert recipient.next_attempt == world.clock.now() + 300
        world.remote.answer = answers()
        world.clock.advance(301)
        await until(lambda: empty(world))
    assert [job.recipients[0].attempts for job in world.remote.jobs] == [0, 1]


async def test_h141_a_dead_domain_costs_few_attempts_and_delays_nobody(world: World) -> None:
    world.remote.answer = answers(dead=deferral())
    for number in range(60):
        await put(world, "x@dead.test", queue_id=f"dead{number:04}")
    await put(world, "x@well.test", queue_id="well")
    async with running(world.scheduler()):
        await until(lambda: any(job.next_hop == "well.test" for job in world.remote.jobs))
        await until(lambda: _put_off(world))
    assert sum(job.next_hop == "dead.test" for job in world.remote.jobs) <= 10
    shown = await world.queue.administration.show(None, "dead0059")
    assert shown.recipients[0].last_status == "451 4.4.1 no host answers"


async def _put_off(world: World) -> bool:
    messages = await world.queue.administration.list(None)
    return all(item.recipients[0].next_attempt > world.clock.now() for item in messages)


async def test_one_slow_destination_holds_its_places_only(world: World) -> None:
    gate = asyncio.Event()
    inner = world.remote

    class Slow:
        async def deliver(self, job: Job) -> list[Result]:
            if job.next_hop == "slow.test":
                await gate.wait()
            return await inner.deliver(job)

    world.remote = Slow()  # type: ignore[assignment]  # wraps it
    async with running(world.scheduler()):
        for number in range(20):
            await put(world, "x@slow.test", queue_id=f"slow{number}")
        await put(world, "x@fast.test")
        await until(lambda: any(job.next_hop == "fast.test" for job in inner.jobs))
        gate.set()
        await until(lambda: empty(world))


async def test_local_leftovers_reach_their_folder_when_the_disk_is_well_again(world: World) -> None:
    world.store.failures["deliver:maire@ville.test"] = [StorageError("full")]
    async with running(world.scheduler()):
        queue_id = await put(world, "maire@ville.test", sender="a@sender.test", local=True, folder="Junk")
        await until(lambda: tried(world, queue_id, 1))
        await world.queue.administration.retry(None, queue_id)
        await until(lambda: empty(world))
    assert world.store.junk("maire@ville.test") == [b"Return-Path: <a@sender.test>\r\n" + MAIL]


async def test_a_local_recipient_whose_alias_leads_out_is_queued_onward(world: World) -> None:
    world.directory.alias("dehors@ville.test", "elu@ailleurs.test", "maire@ville.test")
    async with running(world.scheduler()):
        await put(world, "dehors@ville.test", sender="", local=True)
        await until(lambda: world.remote.jobs)
        await until(lambda: empty(world))
    assert [str(job.recipients[0].address) for job in world.remote.jobs] == ["elu@ailleurs.test"]
    assert len(world.store.inbox("maire@ville.test")) == 1


async def test_a_full_mailbox_behind_an_alias_neither_repeats_nor_holds_up_the_others(world: World) -> None:
    world.directory.alias("dehors@ville.test", "elu@ailleurs.test", "maire@ville.test", "agent@ville.test")
    world.store.failures["deliver:maire@ville.test"] = [StorageError("full")]
    async with running(world.scheduler()):
        await put(world, "dehors@ville.test", sender="", local=True)
        await until(lambda: world.remote.jobs and world.store.inbox("agent@ville.test"))
        world.clock.advance(31)
        await until(lambda: empty(world))
    assert len(world.remote.jobs) == 1
    assert len(world.store.inbox("agent@ville.test")) == 1
    assert len(world.store.inbox("maire@ville.test")) == 1


def test_the_configured_intervals_reach_the_rules() -> None:
    backoff = Backoff.of(Delivery(retry="1s, 2s", lifetime="10s", delay_notice="4s"))
    assert (backoff.intervals, backoff.lifetime, backoff.delay_notice) == ((1, 2), 10, 4)
    assert isinstance(Rules(backoff, now=lambda: 0.0, chance=lambda: 0.0), Rules)


async def test_h141_a_server_that_turns_some_connections_away_keeps_nobody_else_waiting(world: World) -> None:
    """421 4.7.0 to one connection too many: that message waits for its next attempt, and no other does."""
    busy, most = 0, 2

    class Provider:
        async def deliver(self, job: Job) -> list[Result]:
            nonlocal busy
            if busy >= most:
                turned_away = deferred("Session refused: 421 4.7.0 too many", "session-refused", "4.4.0")
                return [Result(item.id, ResultKind.DEFERRED, turned_away, "mx.big.test") for item in job.recipients]
            busy += 1
            await asyncio.sleep(0.02)
            busy -= 1
            return await inner.deliver(job)

    inner = world.remote
    names = [await put(world, f"x{number}@big.test") for number in range(30)]
    world.remote = Provider()  # type: ignore[assignment]  # wraps it
    async with running(world.scheduler()):
        await until(lambda: _done_or_tried(world, names))
    waiting_ = await world.queue.administration.list(None)
    assert len(waiting_) + len(inner.jobs) == 30
    assert len(inner.jobs) >= 20  # the window narrows until all of them are served


async def _done_or_tried(world: World, names: list[str]) -> bool:
    left = {item.queue_id: item.recipients[0] for item in await world.queue.administration.list(None)}
    return all(name not in left or (left[name].attempts and left[name].state == "waiting") for name in names)
