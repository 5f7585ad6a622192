"""The runner: what is due is delivered, deferred, bounced; what is dead holds up nobody; what dies is taken over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from email import message_from_bytes
from typing import Any

import pytest

from core.address import parse
from core.config import Delivery
from core.envelope import Dsn
from core.errors import StorageError, TemporaryError
from core.status import accepted, deferred, refused
from delivery.outcome import Backoff, Rules
from delivery.queue.claims import Choice
from delivery.queue.reports import MESSAGES
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.reporter import Reporter
from delivery.scheduler import Scheduler
from delivery.types import Job, Result, ResultKind
from message.content import BytesContent
from tests.delivery.conftest import HOST, World

MAIL = b"From: maire@ville.test\r\nTo: x@far.test\r\nSubject: Essai\r\n\r\nTexte.\r\n"
UNREACHED = deferred("no host answers", "unreachable", "4.4.1")


def answers(**by_domain: Result | Callable[[Job], list[Result]]) -> Callable[[Job], list[Result]]:
    """`answers(far=…)`: what far.test says; every other domain takes the message."""
    from tests.fakes.delivery_world import delivered

    def answer(job: Job) -> list[Result]:
        given = by_domain.get(job.recipients[0].address.domain.partition(".")[0])
        if given is None:
            return delivered(job)
        if callable(given):
            return given(job)
        return [
            Result(r.id, given.kind, given.status, given.remote, given.diagnostic, given.relayed_dsn)
            for r in job.recipients
        ]

    return answer


def refusal(status: Any = refused("no such user", "remote-refused", "5.1.1")) -> Result:  # noqa: B008  # frozen
    return Result(0, ResultKind.FAILED, status, "mx.far.test", "550 5.1.1 no such user")


def deferral(status: Any = UNREACHED, remote: str = "") -> Result:
    return Result(0, ResultKind.DEFERRED, status, remote)


async def put(world: World, *to: str, sender: str = "maire@ville.test", queue_id: str = "", **extra: Any) -> str:
    queue_id = queue_id or world.ids.queue_id()
    items = tuple(NewRecipient(parse(text), "ville.test", **extra) for text in to)
    prefix = f"Return-Path: <{sender}>\r\n".encode()
    message = NewMessage(
        queue_id, parse(sender) if sender else None, BytesContent(MAIL), items, local_prefix=prefix, envid="e1"
    )
    await world.queue.enqueue(message)
    return queue_id


@asynccontextmanager
async def running(scheduler: Scheduler) -> AsyncIterator[Scheduler]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(scheduler.run())
        try:
            yield scheduler
        finally:
            scheduler.stop()
            await task


async def until(met: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait for a condition with a deadline; it may be a coroutine function."""
    async with asyncio.timeout(seconds):
        while True:
            value = met()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return
            await asyncio.sleep(0.01)


async def empty(world: World) -> bool:
    return not await world.queue.administration.list(None)


async def waiting(world: World, queue_id: str) -> Any:
    [recipient] = (await world.queue.administration.show(None, queue_id)).recipients
    return recipient


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


async def test_a_hint_wakes_the_runner_long_before_its_next_look(world: World) -> None:
    async with running(world.scheduler(poll=600.0)):
        await asyncio.sleep(0.05)
        await put(world, "x@far.test")
        await until(lambda: empty(world))


async def test_without_any_hint_the_runner_looks_by_itself(world: World) -> None:
    world.queue._hints.send = lambda: None  # type: ignore[method-assign]  # lost
    async with running(world.scheduler()):
        await asyncio.sleep(0.05)
        await put(world, "x@far.test")
        await until(lambda: empty(world))


async def test_a_deferred_recipient_waits_its_interval_and_is_tried_again(world: World) -> None:
    world.remote.answer = answers(far=deferral(deferred("greylisted", "remote-deferred", "4.7.1"), "mx.far.test"))
    async with running(world.scheduler()):
        queue_id = await put(world, "x@far.test")
        await until(lambda: len(world.remote.jobs) == 1)
        await until(lambda: _attempts(world, queue_id, 1))
        recipient = await waiting(world, queue_id)
        assert (recipient.state, recipient.last_status) == ("waiting", "451 4.7.1 greylisted")
        assert recipient.next_attempt == world.clock.now() + 300
        world.remote.answer = answers()
        world.clock.advance(301)
        await until(lambda: empty(world))
    assert [job.recipients[0].attempts for job in world.remote.jobs] == [0, 1]


async def _attempts(world: World, queue_id: str, number: int) -> bool:
    return (await waiting(world, queue_id)).attempts == number


async def test_a_refusal_comes_back_as_one_report_in_the_senders_mailbox(world: World) -> None:
    def mixed(job: Job) -> list[Result]:
        return [Result(item.id, refusal().kind, refusal().status, "mx.far.test", "550 no") for item in job.recipients]

    world.remote.answer = answers(far=mixed)
    async with running(world.scheduler()):
        queue_id = await put(world, "x@far.test", "y@far.test", "z@near.test")
        await until(lambda: empty(world))
    [report] = world.store.inbox("maire@ville.test")
    assert report.startswith(b"Return-Path: <>\r\n")
    parsed = message_from_bytes(report)
    assert parsed.get_content_type() == "multipart/report"
    assert b"Final-Recipient: rfc822; x@far.test" in report
    assert b"Final-Recipient: rfc822; y@far.test" in report
    assert b"z@near.test" not in report
    assert b"Status: 5.1.1" in report
    assert b"Original-Envelope-Id: e1" in report
    assert queue_id.encode() in report
    assert b"Texte." in report


async def test_a_report_to_a_stranger_goes_out_with_the_null_sender(world: World) -> None:
    world.remote.answer = answers(far=refusal())
    async with running(world.scheduler()):
        await put(
            world, "x@far.test", sender="etranger@loin.test", forwarded=True, dsn=Dsn(original="rfc822;moi@ville.test")
        )
        await until(lambda: empty(world))
    report = world.remote.jobs[-1]
    assert (report.sender, report.next_hop) == (None, "loin.test")
    # The sender wrote to our alias; where it leads stays its owner's business.
    assert b"Final-Recipient: rfc822; moi@ville.test" in world.remote.bytes[-1]
    assert b"Final-Recipient: rfc822; x@far.test" not in world.remote.bytes[-1]


async def test_a_report_that_returns_eight_bit_mail_is_announced_as_such(world: World) -> None:
    world.remote.answer = answers(far=refusal())
    async with running(world.scheduler()):
        items = (NewRecipient(parse("x@far.test")),)
        mail = MAIL.replace(b"Texte.", "Été.".encode())
        await world.queue.enqueue(NewMessage("q1", parse("etranger@loin.test"), BytesContent(mail), items))
        await until(lambda: empty(world))
    assert "Été.".encode() in world.remote.bytes[-1]
    assert world.remote.jobs[-1].body == "8BITMIME"


async def test_f149_reports_that_cannot_enter_are_not_tried_without_a_pause(world: World) -> None:
    """A page of debts and a full disk kept the runner spinning, and the disk with logs."""
    for _ in range(MESSAGES + 1):
        await put(world, "x@far.test", sender="etranger@loin.test")
    for claimed in await world.queue.claim(_each):
        results = [replace(refusal(), recipient_id=item.id) for item in claimed.recipients]
        await world.queue.apply(results, world.rules.judge)
    reporter = Reporter(world.queue, world.directory, hostname=HOST, lifetime=1.0, clock=world.clock, ids=world.ids)
    real = world.queue.settle

    async def full(debt: Any, report: Any) -> None:
        raise StorageError("full")

    world.queue.settle = full  # type: ignore[method-assign]  # a fault
    assert not await reporter.pay()
    world.queue.settle = real  # type: ignore[method-assign]  # the disk is well again
    assert await reporter.pay(), "a page was paid and one is left"
    assert not await reporter.pay()
    assert await world.queue.debts() == []


def _each(page: Any) -> Choice:
    return Choice(tuple((item.id,) for item in page), frozenset())


async def test_h134_a_report_that_cannot_be_delivered_causes_no_other(world: World) -> None:
    world.remote.answer = answers(far=refusal(), loin=refusal())
    async with running(world.scheduler()):
        await put(world, "x@far.test", sender="etranger@loin.test")
        await until(lambda: empty(world))
    assert len(world.remote.jobs) == 2
    assert world.store.boxes == {}


async def test_never_is_never(world: World) -> None:
    world.remote.answer = answers(far=refusal())
    async with running(world.scheduler()):
        await put(world, "x@far.test", dsn=Dsn(frozenset({"NEVER"})))
        await until(lambda: empty(world))
    assert world.store.boxes == {}


async def test_a_late_message_is_announced_once_and_returned_at_the_end_of_its_life(world: World) -> None:
    world.remote.answer = answers(far=deferral(deferred("busy", "remote-deferred", "4.3.2"), "mx.far.test"))
    async with running(world.scheduler()):
        queue_id = await put(world, "x@far.test")
        # The clock alone makes an attempt due, and exactly one, because it stands still meanwhile.
        for attempt, hours in enumerate((5, 5, 120), 1):
            await until(lambda n=attempt: _attempts(world, queue_id, n))  # type: ignore[misc]  # bound above
            if attempt == 3:
                await until(lambda: world.store.inbox("maire@ville.test"))
            world.clock.advance(hours * 3600)
        await until(lambda: empty(world))
    reports = world.store.inbox("maire@ville.test")
    actions = [b"Action: delayed" in report for report in reports]
    assert actions == [True, False]
    assert b"Action: failed" in reports[1]
    assert b"Status: 5.4.7" in reports[1]


async def test_a_delay_that_was_not_told_yet_is_still_told_after_the_next_attempt(world: World) -> None:
    """An attempt that ended before the notice was made struck it out: the sender never heard of the delay."""
    busy = deferred("busy", "remote-deferred", "4.3.2")
    await put(world, "x@far.test")
    for hours in (5, 5):
        world.clock.advance(hours * 3600)
        [claimed] = await world.queue.claim(_each)
        result = replace(deferral(busy), recipient_id=claimed.recipients[0].id)
        await world.queue.apply([result], world.rules.judge)
    [debt] = await world.queue.debts()
    assert debt.owed.value == "delayed"


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
        await until(lambda: _attempts(world, queue_id, 1))
    assert (await waiting(world, queue_id)).state == "waiting"


async def test_f146_a_result_is_written_until_the_database_takes_it(world: World, monkeypatch: Any) -> None:
    tries = []
    apply = world.queue.apply

    async def failing(*args: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise TemporaryError("busy")
        return await apply(*args)

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

    async def once(done: Any, judge: Any) -> Any:
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
    async with running(world.scheduler()):
        world.clock.advance(61)
        world.queue.lease = 0.04
        await until(lambda: empty(world))
    assert [job.queue_id for job in world.remote.jobs] == [queue_id]
    await dying.close()


async def test_f147_debts_left_by_a_dead_runner_are_paid_at_the_start(world: World) -> None:
    await put(world, "x@far.test")
    [claimed] = await world.queue.claim(world.scheduler()._destinations.selection())
    await world.queue.apply([Result(claimed.recipients[0].id, ResultKind.FAILED, refusal().status)], world.rules.judge)
    assert world.store.boxes == {}
    async with running(world.scheduler()):
        await until(lambda: world.store.inbox("maire@ville.test"))
        await until(lambda: empty(world))
    assert len(world.store.inbox("maire@ville.test")) == 1


async def test_what_a_front_delivered_is_told_at_once_to_who_asked_for_it(world: World) -> None:
    """It was told when the runner looked, once in a lease: a minute."""
    async with running(world.scheduler()):
        front = world.another_queue()
        await front.open()
        to = NewRecipient(parse("maire@ville.test"), dsn=Dsn(frozenset({"SUCCESS"})), local=True, leased=True)
        new = NewMessage("front1", parse("maire@ville.test"), BytesContent(MAIL), (to,))
        [recipient_id] = await front.enqueue(new)
        done = Result(recipient_id, ResultKind.DELIVERED, accepted(), final=True)
        await front.apply([done], world.rules.judge)
        await until(lambda: world.store.inbox("maire@ville.test"), 10.0)
        await front.close()
    assert b"Action: delivered" in world.store.inbox("maire@ville.test")[0]


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


async def test_local_leftovers_reach_their_folder_when_the_disk_is_well_again(world: World) -> None:
    world.store.failures["deliver:maire@ville.test"] = [StorageError("full")]
    async with running(world.scheduler()):
        queue_id = await put(world, "maire@ville.test", sender="a@sender.test", local=True, folder="Junk")
        await until(lambda: _attempts(world, queue_id, 1))
        await world.queue.administration.retry(None, queue_id)
        await until(lambda: empty(world))
    assert world.store.junk("maire@ville.test") == [b"Return-Path: <a@sender.test>\r\n" + MAIL]


async def test_a_local_recipient_that_is_gone_is_reported(world: World) -> None:
    async with running(world.scheduler()):
        await put(world, "parti@ville.test", local=True)
        await until(lambda: empty(world))
    [report] = world.store.inbox("maire@ville.test")
    assert b"Status: 5.1.1" in report


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


async def test_success_is_told_when_the_next_hop_does_not(world: World) -> None:
    async with running(world.scheduler()):
        await put(world, "x@far.test", dsn=Dsn(frozenset({"SUCCESS"})))
        await until(lambda: world.store.inbox("maire@ville.test"))
        await until(lambda: empty(world))
    assert b"Action: relayed" in world.store.inbox("maire@ville.test")[0]


async def test_a_database_that_is_away_does_not_stop_the_runner(world: World) -> None:
    real, failures = world.queue.next_due, []

    async def flaky() -> float | None:
        if len(failures) < 2:
            failures.append(1)
            raise TemporaryError("busy")
        return await real()

    world.queue.next_due = flaky  # type: ignore[method-assign]  # a fault
    async with running(world.scheduler()):
        await put(world, "x@far.test")
        await until(lambda: empty(world))


def test_the_configured_intervals_reach_the_rules() -> None:
    backoff = Backoff.of(Delivery(retry="1s, 2s", lifetime="10s", delay_notice="4s"))
    assert (backoff.intervals, backoff.lifetime, backoff.delay_notice) == ((1, 2), 10, 4)
    assert isinstance(Rules(backoff, now=lambda: 0.0, chance=lambda: 0.0), Rules)
