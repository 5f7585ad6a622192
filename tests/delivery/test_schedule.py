"""Mail with a time of its own: kept back (RFC 4865), returned or told late (RFC 2852), urgent (RFC 6710)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from email import message_from_bytes
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from core.address import parse
from core.config import Delivery, Limits
from core.envelope import Dsn, Schedule
from core.status import accepted, deferred, refused
from delivery.outcome import Backoff, Rules
from delivery.queue.backlog import Backlog
from delivery.queue.claims import PAGE, Candidate, Choice
from delivery.queue.results import Outcome
from delivery.queue.rows import NewMessage, NewRecipient, StoredMessage, StoredRecipient
from delivery.queue.schema import Owed, State
from delivery.types import Job, MailParameters, Result, ResultKind, Transaction
from message.content import BytesContent
from tests.delivery.conftest import World
from tests.delivery.runner import running, until

MAIL = b"From: maire@ville.test\r\nTo: x@far.test\r\nSubject: Essai\r\n\r\nTexte.\r\n"
NOW = 2_000_000.0
LATER = deferred("busy", "remote-deferred", "4.7.1")


async def submit(world: World, *to: str, schedule: Schedule, dsn: Dsn | None = None) -> None:
    status = await world.send(
        world.submission(),
        MAIL,
        *to,
        sender="maire@ville.test",
        account="maire@ville.test",
        dsn=dsn,
        parameters=MailParameters(schedule=schedule),
    )
    assert status.ok, status


def stored(schedule: Schedule, *, age: float = 0.0) -> StoredMessage:
    sender = parse("a@one.test")
    return StoredMessage("q", sender, "", 1, 1, NOW - age, False, "7BIT", "", "", False, b"", schedule)


def judged(
    schedule: Schedule, result: Result, *, age: float = 0.0, notify: str = "", told: bool = False, tried: float = 0.0
) -> Outcome:
    rules = Rules(Backoff.of(Delivery()), now=lambda: NOW, chance=lambda: 0.5)
    dsn = Dsn(frozenset(notify.split(",")) if notify else frozenset())
    recipient = StoredRecipient(
        1, "q", parse("b@two.test"), "two.test", "", dsn, False, "", 0, tried, "", "", "", Owed.NOTHING, told
    )
    return rules.judge(stored(schedule, age=age), recipient, result)


# --- FUTURERELEASE ---------------------------------------------------------------------------------------------------


async def test_nothing_leaves_and_nobody_here_sees_it_before_its_time(world: World) -> None:
    release = world.clock.now() + 3600
    await submit(world, "x@far.test", "agent@ville.test", schedule=Schedule(release_at=release, hold="for;3600"))
    async with running(world.scheduler(poll=0.01)):
        [shown] = await world.queue.administration.list(None)
        await world.queue.administration.retry(None, shown.queue_id)  # an administrator's haste changes nothing
        await submit(world, "y@near.test", schedule=Schedule())
        await until(lambda: world.remote.jobs)
        assert [job.next_hop for job in world.remote.jobs] == ["near.test"]
        assert not world.store.inbox("agent@ville.test")
        shown = await world.queue.administration.show(None, shown.queue_id)
        assert (shown.schedule.release_at, {item.next_attempt for item in shown.recipients}) == (release, {release})
        assert await world.queue.pull_back(3600.0 * 4) == 0  # no clock that ran ahead, but a wish
        world.clock.advance(3600)
        await until(lambda: len(world.remote.jobs) == 2 and world.store.inbox("agent@ville.test"))


def test_its_time_in_the_queue_counts_from_its_release() -> None:
    held = Schedule(release_at=NOW - 60, hold="for;1")
    outcome = judged(held, Result(1, ResultKind.DEFERRED, LATER), age=29 * 86_400)
    assert (outcome.state, outcome.owed) == (State.WAITING, Owed.NOTHING)
    assert judged(Schedule(), Result(1, ResultKind.DEFERRED, LATER), age=29 * 86_400).state is State.FAILED


async def test_a_wish_of_a_clock_that_ran_ten_years_ahead_is_none(world: World) -> None:
    far = world.clock.now() + 10 * 366 * 86_400
    await submit(world, "x@far.test", schedule=Schedule(release_at=far, hold="for;60"))
    assert await world.queue.pull_back(3600.0 * 4) == 1


async def test_so_many_messages_of_one_account_are_kept_back_and_no_more(world: World) -> None:
    world.config = world.config.model_copy(update={"limits": Limits(future_release_messages=2)})
    later = Schedule(release_at=world.clock.now() + 60, hold="for;60")
    for _ in range(2):
        await submit(world, "x@far.test", schedule=later)
    with pytest.raises(AssertionError, match=r"5\.7\.16.*too-many-kept-back"):
        await submit(world, "x@far.test", schedule=later)
    await submit(world, "x@far.test", schedule=Schedule())  # what is to leave now leaves
    world.clock.advance(61)
    await submit(world, "x@far.test", schedule=Schedule(release_at=world.clock.now() + 60, hold="for;60"))


async def test_rfc4865_6_one_too_many_is_552_at_mail_and_whoever_came_since_counts(world: World) -> None:
    world.config = world.config.model_copy(update={"limits": Limits(future_release_messages=1)})
    later = MailParameters(schedule=Schedule(release_at=world.clock.now() + 60, hold="for;60"))
    submission, peer, sender = world.submission(), world.peer("maire@ville.test"), parse("maire@ville.test")
    transaction = Transaction("q-slow", peer, sender, later)
    assert (await submission.sender(peer, sender, later)).ok
    transaction.recipients.append((parse("x@far.test"), Dsn()))
    await submit(world, "y@far.test", schedule=later.schedule)
    denied = await submission.sender(peer, sender, later)
    assert (denied.code, denied.enhanced) == (552, "5.7.16")
    reception = submission.begin(transaction)
    await reception.feed(MAIL)
    status = await reception.finish()
    assert (status.code, status.enhanced) == (552, "5.7.16")


# --- DELIVERBY -------------------------------------------------------------------------------------------------------


def test_by_mode_r_returns_at_the_limit_and_not_at_the_next_attempt() -> None:
    outcome = judged(Schedule(deliver_by=NOW + 90, by_mode="R"), Result(1, ResultKind.DEFERRED, LATER))
    assert (outcome.state, outcome.next_attempt) == (State.WAITING, NOW + 90)
    outcome = judged(Schedule(deliver_by=NOW, by_mode="R"), Result(1, ResultKind.DEFERRED, LATER))
    assert (outcome.state, outcome.owed, outcome.reason) == (State.FAILED, Owed.FAILED, "deliver-by")
    assert outcome.last_status.startswith("550 5.4.7")


def test_by_mode_n_tells_once_that_it_is_late_and_goes_on() -> None:
    limit = Schedule(deliver_by=NOW - 1, by_mode="N")
    outcome = judged(limit, Result(1, ResultKind.DEFERRED, LATER))
    assert (outcome.state, outcome.owed, outcome.delay_told) == (State.WAITING, Owed.DELAYED, True)
    assert outcome.last_status.startswith("451 4.4.7")
    assert outcome.next_attempt == NOW + 300
    assert judged(limit, Result(1, ResultKind.DEFERRED, LATER), told=True, tried=NOW - 1).owed is Owed.NOTHING
    assert judged(limit, Result(1, ResultKind.DEFERRED, LATER), notify="FAILURE").owed is Owed.NOTHING


def test_rfc2852_4_1_3_who_heard_of_a_delay_hears_of_his_limit_too() -> None:
    """A limit of a day, an ordinary notice of delay after four hours: the second is about what he asked."""
    limit = Schedule(deliver_by=NOW - 1, by_mode="N")
    passed = judged(limit, Result(1, ResultKind.DEFERRED, LATER), age=86_400, told=True, tried=NOW - 300)
    assert (passed.owed, passed.last_status[:9]) == (Owed.DELAYED, "451 4.4.7")
    earlier = Schedule(deliver_by=NOW + 1, by_mode="N")
    assert judged(earlier, Result(1, ResultKind.DEFERRED, LATER), age=86_400, told=True).owed is Owed.NOTHING
    unwanted = judged(limit, Result(1, ResultKind.DEFERRED, LATER), told=True, tried=NOW - 300, notify="FAILURE")
    assert unwanted.owed is Owed.NOTHING


@pytest.mark.parametrize(
    ("schedule", "extra", "notify", "owed"),
    [
        (Schedule(deliver_by=NOW + 9, by_mode="N", by_trace=True), {"relayed_by": True}, "", Owed.RELAYED),
        (Schedule(deliver_by=NOW + 9, by_mode="R", by_trace=True), {"relayed_by": True}, "", Owed.RELAYED),
        (Schedule(deliver_by=NOW + 9, by_mode="N", by_trace=True), {"relayed_by": True}, "NEVER", Owed.NOTHING),
        (Schedule(deliver_by=NOW + 9, by_mode="N"), {"relayed_by": True}, "", Owed.NOTHING),
        (Schedule(deliver_by=NOW + 9, by_mode="N"), {}, "", Owed.RELAYED),
        (Schedule(deliver_by=NOW + 9, by_mode="N"), {}, "NEVER", Owed.NOTHING),
        (Schedule(deliver_by=NOW + 9, by_mode="N"), {"final": True}, "", Owed.NOTHING),
        (Schedule(), {}, "", Owed.NOTHING),
    ],
)
def test_who_traces_or_leaves_those_who_know_limits_is_told(
    schedule: Schedule, extra: dict[str, Any], notify: str, owed: Owed
) -> None:
    result = Result(1, ResultKind.DELIVERED, accepted(), "mx.two.test", relayed_dsn=True)
    assert judged(schedule, replace(result, **extra), notify=notify).owed is owed


async def test_what_is_too_late_is_returned_without_another_attempt_and_the_report_says_until_when(
    world: World,
) -> None:
    limit = world.clock.now() + 100
    await submit(world, "x@far.test", schedule=Schedule(deliver_by=limit, by_mode="R", hold="for;1"))
    world.clock.advance(100)
    async with running(world.scheduler(poll=0.01)):
        await until(lambda: world.store.inbox("maire@ville.test"))
    assert not world.remote.jobs
    report = world.store.inbox("maire@ville.test")[0]
    parts = message_from_bytes(report).get_payload()
    assert isinstance(parts, list)
    groups: Any = cast(Any, parts[1]).get_payload()  # of a report, typed as a text
    assert "Deliver-By-Date" in groups[0]
    assert "Arrival-Date" in groups[0]  # RFC 2852 5, RFC 4865 5.1.2
    assert groups[0]["Future-Release-Request"] == "for;1"
    assert (groups[1]["Action"], groups[1]["Status"]) == ("failed", "5.4.7")


async def test_a_dead_domain_takes_no_time_limit_with_it(world: World) -> None:
    """What a host that is away means for the rest of its domain is judged one by one where there are limits."""
    limit = world.clock.now() + 60
    await submit(world, "a@far.test", schedule=Schedule())
    await submit(world, "b@far.test", schedule=Schedule(deliver_by=limit, by_mode="R"))
    backlog = Backlog("far.test", world.clock.now() + 1800, LATER, "", 0.0, 0.0)
    await world.queue.put_off(backlog, world.rules.judge)
    shown = await world.queue.administration.list(None)
    assert [item.recipients[0].next_attempt for item in shown] == [world.clock.now() + 1800, limit]


# --- MT-PRIORITY -----------------------------------------------------------------------------------------------------


class Window:
    """Takes so many of what is due and remembers in which order they came."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.seen: list[str] = []

    def __call__(self, page: Sequence[Candidate]) -> Choice:
        taken = page[: self.places]
        self.seen += [item.queue_id for item in page]
        self.places -= len(taken)
        return Choice(tuple((item.id,) for item in taken), frozenset())


async def put(world: World, queue_id: str, *, priority: int = 0, recipients: int = 1) -> None:
    to = tuple(NewRecipient(parse(f"r{number}@far.test"), "ville.test") for number in range(recipients))
    message = NewMessage(queue_id, None, BytesContent(MAIL), to, schedule=Schedule(priority=priority))
    await world.queue.enqueue(message)


async def test_urgent_mail_passes_what_waits_and_unimportant_mail_lets_others_pass(world: World) -> None:
    for queue_id, priority in (("low", -4), ("plain", 0), ("urgent", 4), ("flash", 9)):
        await put(world, queue_id, priority=priority)
        world.clock.advance(1)
    window = Window(9)
    await world.queue.claim(window)
    assert window.seen == ["flash", "urgent", "plain", "low"]


async def test_rfc6710_a_c_every_level_stands_apart_whatever_policy_it_is_of(world: World) -> None:
    """Military (A), default (B) and emergency (C) levels, and those between them: none is taken for its neighbour."""
    levels = [*range(-8, 9, 2), *range(-9, 10, 2)]
    for level in levels:
        await put(world, f"level{level}", priority=level)
        world.clock.advance(1)
    window = Window(len(levels))
    await world.queue.claim(window)
    assert window.seen == [f"level{level}" for level in range(9, -10, -1)]


async def test_urgent_mail_is_not_hidden_by_a_page_of_ordinary_mail(world: World) -> None:
    await put(world, "bulk", recipients=PAGE + 50)
    world.clock.advance(60)
    await put(world, "urgent", priority=1)
    window = Window(1)
    await world.queue.claim(window)
    assert window.seen[0] == "urgent"
    assert len(window.seen) == PAGE


async def test_no_flood_of_urgent_mail_makes_ordinary_mail_wait_for_ever(world: World) -> None:
    """A level is worth a quarter of an hour: who has waited longer than that goes first."""
    await put(world, "patient")
    world.clock.advance(4 * 900 + 1)
    await put(world, "flood", priority=4, recipients=PAGE + 50)
    window = Window(1)
    await world.queue.claim(window)
    assert window.seen[0] == "patient"


async def test_the_trace_and_the_log_say_the_priority(world: World) -> None:
    with capture_logs() as logs:
        await submit(world, "agent@ville.test", schedule=Schedule(priority=3))
        await submit(world, "agent@ville.test", schedule=Schedule())
    assert [entry.get("priority") for entry in logs if entry["event"] == "message-accepted"] == [3, None]
    received = message_from_bytes(world.store.inbox("agent@ville.test")[0])["Received"]
    assert "PRIORITY 3;" in " ".join(received.split())


async def test_rfc6710_4_6_a_report_is_as_urgent_as_what_it_is_about(world: World) -> None:
    def answer(job: Job) -> list[Result]:
        kind = ResultKind.FAILED if job.sender else ResultKind.DELIVERED
        return [Result(item.id, kind, refused("no", "remote-refused", "5.1.1")) for item in job.recipients]

    world.remote.answer = answer
    asked = Schedule(deliver_by=world.clock.now() + 600, by_mode="R", priority=3)
    to = (NewRecipient(parse("x@far.test")),)
    await world.queue.enqueue(NewMessage("q1", parse("a@sender.test"), BytesContent(MAIL), to, schedule=asked))
    async with running(world.scheduler(poll=0.01)):
        await until(lambda: len(world.remote.jobs) == 2)
    assert world.remote.jobs[1].sender is None
    assert world.remote.jobs[1].schedule == Schedule(priority=3)  # its time limit is not the report's


async def test_rfc6710_4_4_whom_an_alias_names_gets_it_as_urgently(world: World) -> None:
    """At once, and where the alias came to be after the message was taken for a mailbox."""
    world.directory.alias("tous@ville.test", "agent@ville.test", "x@far.test")
    await submit(world, "tous@ville.test", schedule=Schedule(priority=2))
    await submit(
        world, "agent@ville.test", schedule=Schedule(priority=3, release_at=world.clock.now() + 60, hold="for;60")
    )
    world.directory.accounts.pop("agent@ville.test")
    world.directory.alias("agent@ville.test", "y@near.test")
    world.clock.advance(60)
    async with running(world.scheduler(poll=0.01)):
        await until(lambda: len(world.remote.jobs) == 2)
    assert {job.next_hop: job.schedule.priority for job in world.remote.jobs} == {"far.test": 2, "near.test": 3}
