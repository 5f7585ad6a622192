"""What a sender is told: one report of a failure, of a delay or of success, and never a report about a report."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from email import message_from_bytes
from functools import partial

from structlog.testing import capture_logs

from core.address import parse
from core.envelope import Dsn
from core.errors import StorageError
from core.status import Status, accepted, deferred, refused
from delivery.queue.claims import Candidate, Choice
from delivery.queue.reports import MESSAGES, Debt
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.reporter import Reporter
from delivery.types import Job, Result, ResultKind
from message.content import BytesContent
from tests.delivery.conftest import HOST, World
from tests.delivery.runner import MAIL, answers, deferral, empty, put, running, tried, until


def refusal(status: Status = refused("no such user", "remote-refused", "5.1.1")) -> Result:  # noqa: B008  # frozen
    return Result(0, ResultKind.FAILED, status, "mx.far.test", "550 5.1.1 no such user")


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


async def test_a_report_names_the_server_that_mail_came_from_and_never_where_our_people_write(world: World) -> None:
    """RFC 3464 2.2.4: its HELO name, and its address in a comment; a lower Received field counts for nothing."""
    world.remote.answer = answers(far=refusal())
    world.directory.alias("dehors@ville.test", "x@far.test")
    forged = f"Received: from evil.test (evil.test [203.0.113.6])\r\n\tby {HOST} (Beffroi)\r\n\twith SMTP id x\r\n"
    async with running(world.scheduler()):
        assert (await world.send(world.inbound(), forged.encode() + MAIL, "dehors@ville.test")).ok
        own = await world.send(
            world.submission(), MAIL, "y@far.test", sender="maire@ville.test", account="maire@ville.test"
        )
        assert own.ok
        await until(lambda: empty(world))
    [back] = [data for job, data in zip(world.remote.jobs, world.remote.bytes, strict=True) if job.sender is None]
    assert b"Reporting-MTA: dns; mx.dept.test\r\nReceived-From-MTA: dns; client.sender.test ([192.0.2.7])\r\n" in back
    [ours] = world.store.inbox("maire@ville.test")
    assert b"Reporting-MTA" in ours
    assert b"Received-From-MTA" not in ours


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

    async def full(debt: Debt, report: NewMessage | None) -> None:
        raise StorageError("full")

    world.queue.settle = full  # type: ignore[method-assign]  # a fault
    assert not await reporter.pay()
    world.queue.settle = real  # type: ignore[method-assign]  # the disk is well again
    assert await reporter.pay(), "a page was paid and one is left"
    assert not await reporter.pay()
    assert await world.queue.debts() == []


def _each(page: Sequence[Candidate]) -> Choice:
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
            await until(partial(tried, world, queue_id, attempt))
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


async def test_a_local_recipient_that_is_gone_is_reported(world: World) -> None:
    async with running(world.scheduler()):
        await put(world, "parti@ville.test", local=True)
        await until(lambda: empty(world))
    [report] = world.store.inbox("maire@ville.test")
    assert b"Status: 5.1.1" in report


async def test_success_is_told_when_the_next_hop_does_not(world: World) -> None:
    async with running(world.scheduler()):
        await put(world, "x@far.test", dsn=Dsn(frozenset({"SUCCESS"})))
        await until(lambda: world.store.inbox("maire@ville.test"))
        await until(lambda: empty(world))
    assert b"Action: relayed" in world.store.inbox("maire@ville.test")[0]


async def test_one_message_whose_bytes_are_lost_does_not_keep_the_others_senders_waiting(world: World) -> None:
    """It was met first at each look, and what the log had to say of it ended the look."""
    reporter = world.means().reporter
    for name in ("damaged", "gone", "whole"):
        await put(world, "x@far.test", queue_id=name)
    taken = await world.queue.claim(_each)
    results = [Result(item.recipients[0].id, refusal().kind, refusal().status) for item in taken]
    await world.queue.apply(results, world.rules.judge)
    debts = await world.queue.debts()
    assert [debt.message.queue_id for debt in debts] == ["damaged", "gone", "whole"]
    await world.queue._database.write(lambda c: c.exec_driver_sql("DELETE FROM queue_chunk WHERE queue_id = 'damaged'"))

    async def same(besides: Collection[str] = ()) -> list[Debt]:
        await world.queue.administration.drop(None, "gone")  # after the look, as another worker would
        return debts

    world.queue.debts = same  # type: ignore[method-assign]  # what comes between two steps
    with capture_logs() as told:
        await reporter.pay()
    events = {line["queue_id"]: line["event"] for line in told if line["event"].startswith("report")}
    assert events == {"damaged": "report-waits", "whole": "report-queued"}


async def test_a_page_of_messages_whose_bytes_are_lost_is_not_all_that_is_looked_at(world: World) -> None:
    reporter = world.means().reporter
    for number in range(MESSAGES + 1):
        await put(world, "x@far.test", queue_id=f"q{number:02}")
    await world.queue._database.write(lambda c: c.exec_driver_sql("UPDATE queue_recipient SET owed = 'failed'"))
    await world.queue._database.write(
        lambda c: c.exec_driver_sql(f"DELETE FROM queue_chunk WHERE queue_id < 'q{MESSAGES}'")
    )
    with capture_logs() as told:
        assert await reporter.pay(), "there is more to look at"
        assert not await reporter.pay()
    assert [line["queue_id"] for line in told if line["event"] == "report-queued"] == [f"q{MESSAGES}"]
    with capture_logs() as told:
        await reporter.pay()
    assert len([line for line in told if line["event"] == "report-waits"]) == MESSAGES, "and they are tried again"
