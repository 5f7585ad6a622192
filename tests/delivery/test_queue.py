"""The queue alone: durability, leases, fairness of claims, results, debts, administration."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from core.address import parse
from core.clock import ManualClock
from core.envelope import Dsn
from core.errors import ConflictError, NotFoundError, StorageError, TemporaryError
from core.status import accepted, deferred
from delivery.queue import backlog as backlogs
from delivery.queue.allowance import Rules, Verdict
from delivery.queue.backlog import Backlog
from delivery.queue.claims import SMALL, Candidate, Choice
from delivery.queue.entering import enqueue
from delivery.queue.queue import KNOWN_FOR, Queue
from delivery.queue.results import Outcome
from delivery.queue.rows import NewMessage, NewRecipient, StoredMessage, StoredRecipient
from delivery.queue.schema import Owed, State
from delivery.types import Result, ResultKind
from message.content import BytesContent

HEAD = b"From: a@one.test\r\nTo: b@two.test\r\n\r\n"


def new(queue_id: str, *recipients: str, body: bytes = b"bonjour\r\n", org: str = "o1", **extra: bool) -> NewMessage:
    items = tuple(
        NewRecipient(parse(text), org, Dsn(frozenset({"FAILURE"}), "rfc822;x"), **extra) for text in recipients
    )
    return NewMessage(queue_id, parse("a@one.test"), BytesContent(HEAD + body), items, account_id="acc")


def everything(page: Sequence[Candidate]) -> Choice:
    groups: dict[tuple[str, str], list[int]] = {}
    for item in page:
        groups.setdefault((item.queue_id, item.domain), []).append(item.id)
    return Choice(tuple(tuple(ids) for ids in groups.values()), frozenset())


def judge(_message: StoredMessage, stored: StoredRecipient, result: Result) -> Outcome:
    if result.kind is ResultKind.DELIVERED:
        return Outcome(State.DELIVERED, 0.0, str(result.status), Owed.NOTHING, "delivered")
    if result.kind is ResultKind.DEFERRED:
        return Outcome(State.WAITING, result.status.code * 1e9, str(result.status), Owed.NOTHING, "deferred")
    return Outcome(State.FAILED, 0.0, str(result.status), Owed.FAILED, "failed")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def queue(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Queue]:
    opened = await another(tmp_path, clock)
    yield opened
    await opened.close()


async def another(tmp_path: Path, clock: ManualClock, **options: float) -> Queue:
    """A second process's view of the same queue."""
    queue = Queue(tmp_path / "queue" / "queue.db", tmp_path / "run", clock=clock, **options)
    await queue.open()
    return queue


async def test_what_was_enqueued_is_there_after_a_restart_byte_for_byte(
    tmp_path: Path, queue: Queue, clock: ManualClock
) -> None:
    body = bytes(range(32, 127)) * 9000 + b"\r\n"
    await queue.enqueue(new("q1", "b@two.test", body=body))
    await queue.close()
    again = await another(tmp_path, clock)
    [claimed] = await again.claim(everything)
    content = await again.content(claimed.message)
    assert claimed.message.sender == parse("a@one.test")
    assert claimed.recipients[0].dsn == Dsn(frozenset({"FAILURE"}), "rfc822;x")
    assert content.head == HEAD
    whole = await asyncio.to_thread(content.read, 0, content.size)
    assert whole == HEAD + body
    crossing = await asyncio.to_thread(content.read, 262_100, 262_200)
    assert crossing == (HEAD + body)[262_100:262_200]
    await again.close()


async def test_the_file_syncs_fully_and_is_private(tmp_path: Path, queue: Queue) -> None:
    value = await queue._database.write(lambda c: c.exec_driver_sql("PRAGMA synchronous").scalar())
    assert value == 2
    assert (tmp_path / "queue" / "queue.db").stat().st_mode & 0o077 == 0


async def test_f155_the_names_of_a_new_queue_are_synced(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, real = set(), os.fsync

    def watched(descriptor: int) -> None:
        synced.add(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    await (await another(tmp_path, clock)).close()
    assert {tmp_path, tmp_path / "queue"} <= synced


async def test_a_queue_id_enters_once(queue: Queue) -> None:
    await queue.enqueue(new("q1", "b@two.test"))
    with pytest.raises(ConflictError):
        await queue.enqueue(new("q1", "c@two.test"))
    assert len((await queue.administration.show(None, "q1")).recipients) == 1


async def test_a_refused_member_of_a_group_harms_nobody(queue: Queue) -> None:
    answers = await asyncio.gather(
        *(queue.enqueue(new(f"q{n % 20}", "b@two.test")) for n in range(40)), return_exceptions=True
    )
    assert sum(isinstance(answer, ConflictError) for answer in answers) == 20
    assert len(await queue.administration.list(None)) == 20


async def test_two_workers_never_take_the_same_recipient(tmp_path: Path, queue: Queue, clock: ManualClock) -> None:
    other = await another(tmp_path, clock)
    await asyncio.gather(*(queue.enqueue(new(f"q{n}", f"b@d{n}.test")) for n in range(60)))
    taken = await asyncio.gather(*(worker.claim(everything) for worker in (queue, other) for _ in range(3)))
    ids = [item.id for claimed in taken for job in claimed for item in job.recipients]
    assert len(ids) == 60
    assert len(set(ids)) == 60
    await other.close()


async def test_a_dead_workers_lease_runs_out_and_a_living_ones_does_not(
    tmp_path: Path, queue: Queue, clock: ManualClock
) -> None:
    dead = await another(tmp_path, clock)
    await queue.enqueue(new("q1", "b@two.test"))
    assert len(await dead.claim(everything)) == 1
    clock.advance(40)
    await dead.renew()
    clock.advance(40)
    await queue.renew()
    assert await queue.claim(everything) == []
    clock.advance(30)
    await queue.renew()
    assert len(await queue.claim(everything)) == 1
    # What the dead worker still reports is no longer its to report.
    late = await dead.apply([Result(1, ResultKind.DELIVERED, accepted())], judge)
    assert late == []
    await dead.close()


async def test_a_worker_that_ends_in_order_gives_everything_back_at_once(queue: Queue) -> None:
    await queue.enqueue(new("q1", "b@two.test"))
    await queue.claim(everything)
    assert await queue.give_back() == 1
    assert len(await queue.claim(everything)) == 1


async def test_f163_a_clock_that_ran_ahead_delays_nothing(tmp_path: Path, queue: Queue, clock: ManualClock) -> None:
    clock.advance(3 * 86400)
    await queue.enqueue(new("q1", "b@two.test"))
    await queue.enqueue(new("q2", "b@two.test", leased=True))
    clock.at -= 3 * 86400
    assert await queue.claim(everything) == []
    assert await queue.pull_back(86400) == 1
    other = await another(tmp_path, clock)
    await other.renew()
    assert len(await other.claim(everything)) == 2
    await other.close()


async def test_what_a_front_delivers_itself_is_left_to_it_until_its_lease_is_over(
    tmp_path: Path, queue: Queue, clock: ManualClock
) -> None:
    runner = await another(tmp_path, clock)
    ids = await queue.enqueue(new("q1", "b@two.test", leased=True))
    assert await runner.claim(everything) == []
    await queue.apply([Result(ids[0], ResultKind.DELIVERED, accepted())], judge)
    assert await queue.administration.list(None) == []
    await queue.enqueue(new("q2", "b@two.test", leased=True))
    clock.advance(601)
    await runner.renew()
    assert len(await runner.claim(everything)) == 1
    await runner.close()


async def test_h141_a_full_destination_does_not_hide_the_others(queue: Queue, clock: ManualClock) -> None:
    await asyncio.gather(*(queue.enqueue(new(f"dead{n:04}", "x@dead.test")) for n in range(600)))
    clock.advance(1)
    await queue.enqueue(new("well", "x@well.test"))

    def two_each(page: Sequence[Candidate]) -> Choice:
        mine: dict[str, list[int]] = {}
        for item in page:
            mine.setdefault(item.domain, []).append(item.id)
        full = frozenset(domain for domain, ids in mine.items() if len(ids) > 2)
        return Choice(tuple((id_,) for ids in mine.values() for id_ in ids[:2]), full)

    taken = await queue.claim(two_each)
    assert sorted(job.recipients[0].address.domain for job in taken) == ["dead.test", "dead.test", "well.test"]


async def test_results_end_a_message_only_when_all_is_told(queue: Queue) -> None:
    first, second, third = await queue.enqueue(new("q1", "b@two.test", "c@two.test", "d@two.test"))
    await queue.claim(everything)
    settled = await queue.apply(
        [
            Result(first, ResultKind.DELIVERED, accepted()),
            Result(second, ResultKind.DEFERRED, deferred("later", "greylisted"), "mx.two.test", "451 later"),
            Result(third, ResultKind.FAILED, deferred("gone", "gone")),
        ],
        judge,
    )
    assert [item.outcome.reason for item in settled] == ["delivered", "deferred", "failed"]
    shown = await queue.administration.show(None, "q1")
    assert [item.state for item in shown.recipients] == ["delivered", "waiting", "failed"]
    assert [item.attempts for item in shown.recipients] == [1, 1, 1]
    [debt] = await queue.debts()
    assert (debt.owed, [item.id for item in debt.recipients]) == (Owed.FAILED, [third])
    report = NewMessage("q2", None, BytesContent(HEAD), (NewRecipient(parse("a@one.test")),))
    await queue.settle(debt, report)
    assert await queue.debts() == []
    await queue.administration.retry(None, "q1")
    await queue.claim(everything)
    await queue.apply([Result(second, ResultKind.DELIVERED, accepted())], judge)
    assert [item.queue_id for item in await queue.administration.list(None)] == ["q2"]


async def test_f147_a_debt_is_paid_once(tmp_path: Path, queue: Queue, clock: ManualClock) -> None:
    other = await another(tmp_path, clock)
    [first] = await queue.enqueue(new("q1", "b@two.test"))
    await queue.claim(everything)
    await queue.apply([Result(first, ResultKind.FAILED, deferred("gone", "gone"))], judge)
    [mine], [theirs] = await queue.debts(), await other.debts()

    def report(queue_id: str) -> NewMessage:
        return NewMessage(queue_id, None, BytesContent(HEAD), (NewRecipient(parse("a@one.test")),))

    await queue.settle(mine, report("r1"))
    with pytest.raises(ConflictError):
        await other.settle(theirs, report("r2"))
    assert [item.queue_id for item in await queue.administration.list(None)] == ["r1"]
    await other.close()


async def test_f147_a_report_that_cannot_enter_leaves_the_debt(queue: Queue) -> None:
    [first] = await queue.enqueue(new("q1", "b@two.test"))
    await queue.claim(everything)
    await queue.apply([Result(first, ResultKind.FAILED, deferred("gone", "gone"))], judge)
    [debt] = await queue.debts()
    with pytest.raises(ConflictError):
        await queue.settle(debt, NewMessage("q1", None, BytesContent(HEAD), (NewRecipient(parse("a@one.test")),)))
    assert len(await queue.debts()) == 1


async def test_h141_one_answer_puts_off_all_that_is_due_for_a_dead_domain(queue: Queue, clock: ManualClock) -> None:
    await asyncio.gather(*(queue.enqueue(new(f"q{n}", "x@dead.test", "y@well.test")) for n in range(30)))
    clock.advance(60)
    status = deferred("no host answers", "unreachable", "4.4.1")
    backlog = Backlog("dead.test", clock.at + 300, status, "", expired=clock.at - 1e6, late=clock.at - 1e5)
    assert await queue.put_off(backlog, judge) == []
    due = await queue.claim(everything)
    assert {item.address.domain for job in due for item in job.recipients} == {"well.test"}
    shown = await queue.administration.show(None, "q0")
    assert shown.recipients[0].last_status == "451 4.4.1 no host answers"
    assert shown.recipients[0].attempts == 1


async def test_a_backlog_takes_old_messages_through_the_rule(queue: Queue, clock: ManualClock) -> None:
    await queue.enqueue(new("old", "x@dead.test"))
    clock.advance(86400)
    await queue.enqueue(new("young", "x@dead.test"))
    status = deferred("no host answers", "unreachable", "4.4.1")
    backlog = Backlog("dead.test", clock.at + 300, status, "", expired=clock.at - 5 * 86400, late=clock.at - 4 * 3600)
    [judged] = await queue.put_off(backlog, judge)
    assert judged.message.queue_id == "old"
    assert (await queue.administration.show(None, "young")).recipients[0].attempts == 1


async def test_h141_a_backlog_of_old_messages_is_judged_a_few_at_a_time(
    queue: Queue, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them is some statements: all at once they held the database for seconds."""
    monkeypatch.setattr("delivery.queue.backlog.JUDGED", 2)
    for number in range(5):
        await queue.enqueue(new(f"old{number}", "x@dead.test", "y@well.test"))
    clock.advance(86400)
    await queue.enqueue(new("young", "x@dead.test"))
    status = deferred("no host answers", "unreachable", "4.4.1")
    backlog = Backlog("dead.test", clock.at + 300, status, "", expired=clock.at - 5 * 86400, late=clock.at - 4 * 3600)
    part, after = await queue._database.write(lambda c: backlogs.put_off(c, backlog, judge, now=clock.at))
    assert (len(part), after > 0) == (2, True)
    assert sorted(item.message.queue_id for item in await queue.put_off(backlog, judge)) == ["old2", "old3", "old4"]
    assert (await queue.administration.show(None, "young")).recipients[0].attempts == 1
    assert await queue.put_off(backlog, judge) == []


async def test_h141_a_long_backlog_is_put_off_part_by_part(
    queue: Queue, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement over 50,000 rows held up everybody's mail for seconds."""
    monkeypatch.setattr("delivery.queue.backlog.MOVED", 3)
    for number in range(8):
        await queue.enqueue(new(f"d{number}", "x@dead.test"))
    writes = []
    real = queue._database.write

    async def counted(*arguments: Any) -> Any:
        writes.append(1)
        return await real(*arguments)

    queue._database.write = counted  # type: ignore[method-assign]  # watched
    status = deferred("no host answers", "unreachable", "4.4.1")
    backlog = Backlog("dead.test", clock.at + 900, status, "", expired=clock.at - 1e6, late=clock.at - 1e6)
    assert await queue.put_off(backlog, judge) == []
    assert len(writes) == 3
    assert await queue.next_due() == clock.now() + 900


async def test_holding_keeps_a_message_back_until_it_is_released(queue: Queue) -> None:
    await queue.enqueue(new("q1", "b@two.test"))
    await queue.administration.hold(None, "q1")
    assert (await queue.administration.show(None, "q1")).held
    assert await queue.claim(everything) == []
    assert await queue.next_due() is None
    await queue.administration.release(None, "q1")
    assert len(await queue.claim(everything)) == 1


async def test_dropping_removes_without_a_bounce_even_under_a_running_delivery(queue: Queue) -> None:
    ids = await queue.enqueue(new("q1", "b@two.test"))
    await queue.claim(everything)
    await queue.administration.drop(None, "q1")
    assert await queue.apply([Result(ids[0], ResultKind.FAILED, deferred("gone", "gone"))], judge) == []
    assert await queue.debts() == []
    assert await queue._database.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM queue_chunk").scalar()) == 0


@pytest.mark.parametrize("action", ["show", "retry", "hold", "release", "drop"])
async def test_p8_another_communes_message_is_absent(queue: Queue, action: str) -> None:
    await queue.enqueue(new("q1", "b@two.test", org="o1"))
    for queue_id in ("q1", "nothing-like-it"):
        with pytest.raises(NotFoundError) as caught:
            await getattr(queue.administration, action)("o2", queue_id)
        assert caught.value.public == "no such message in the queue"
    assert await queue.administration.list("o2") == []
    assert [item.queue_id for item in await queue.administration.list("o1")] == ["q1"]


async def test_p8_of_a_shared_message_each_commune_handles_its_own_recipients(queue: Queue) -> None:
    items = (NewRecipient(parse("b@two.test"), "o1"), NewRecipient(parse("c@three.test"), "o2"))
    await queue.enqueue(NewMessage("q1", None, BytesContent(HEAD), items))
    shown = await queue.administration.show("o1", "q1")
    assert [str(item.address) for item in shown.recipients] == ["b@two.test"]
    await queue.administration.drop("o1", "q1")
    shown = await queue.administration.show("o2", "q1")
    assert [str(item.address) for item in shown.recipients] == ["c@three.test"]


async def granted(queue: Queue, recipients: int) -> bool:
    rules = Rules(recipients=10, new_recipients=1000, hijack=1000)
    found = await queue.charge("acc", [f"{number}@two.test" for number in range(recipients)], rules)
    return found.verdict is Verdict.GRANTED


async def test_the_daily_limit_slides_over_24_hours_and_counts_nothing_when_refused(
    tmp_path: Path, queue: Queue, clock: ManualClock
) -> None:
    assert await granted(queue, 6)
    assert not await granted(queue, 5)
    clock.advance(3600)
    assert await granted(queue, 4)
    again = await another(tmp_path, clock)
    assert await again.sent_recently("acc") == 10
    await again.close()
    clock.advance(23 * 3600)
    assert await queue.sent_recently("acc") == 4
    assert await granted(queue, 6)


async def test_what_an_account_sent_elsewhere_is_known_within_two_seconds_and_the_charge_is_exact(
    tmp_path: Path, queue: Queue, clock: ManualClock
) -> None:
    other = await another(tmp_path, clock)
    assert await granted(queue, 4)
    assert await granted(other, 3)
    assert await queue.sent_recently("acc") == 4
    assert not await granted(queue, 4)
    clock.advance(KNOWN_FOR)
    assert await queue.sent_recently("acc") == 7
    await queue.refund("acc", 4)
    assert await queue.sent_recently("acc") == 3
    await other.close()


async def test_a_refused_operation_that_is_alone_in_its_group_leaves_nothing(queue: Queue) -> None:
    """It has no savepoint of its own: the transaction goes back."""

    def half(connection: Connection) -> None:
        enqueue(connection, new("half", "b@two.test"), now=0.0, owner="", until=0.0)
        raise NotFoundError("no", code="no")

    def bug(connection: Connection) -> None:
        enqueue(connection, new("bug", "b@two.test"), now=0.0, owner="", until=0.0)
        raise ZeroDivisionError

    with pytest.raises(NotFoundError):
        await queue._database.write(half)
    with pytest.raises(TemporaryError):
        await queue._database.write(bug)
    await queue.enqueue(new("good", "b@two.test"))
    with pytest.raises(ConflictError):
        await queue.enqueue(new("good", "b@two.test"))
    assert [item.queue_id for item in await queue.administration.list(None)] == ["good"]


async def test_a_small_message_comes_with_its_claim_and_a_large_one_is_read(queue: Queue) -> None:
    large = b"x" * SMALL + b"\r\n"
    await queue.enqueue(new("small", "b@two.test"))
    await queue.enqueue(new("large", "b@three.test", body=large))
    claimed = {item.message.queue_id: item for item in await queue.claim(everything)}
    content = claimed["small"].content
    assert content is not None
    assert (content.head, content.read(0, content.size)) == (HEAD, HEAD + b"bonjour\r\n")
    assert claimed["large"].content is None
    read = await queue.content(claimed["large"].message)
    assert read.read(0, read.size) == HEAD + large


async def test_f163_what_a_clock_that_ran_ahead_counted_blocks_nobody_for_years(
    queue: Queue, clock: ManualClock
) -> None:
    clock.advance(10 * 365 * 86400)
    assert await granted(queue, 10)
    clock.advance(-10 * 365 * 86400)
    assert await queue.sent_recently("acc") == 0
    assert await granted(queue, 10)


async def test_f157_a_message_that_lost_a_piece_is_an_error_and_no_endless_read(tmp_path: Path, queue: Queue) -> None:
    await queue.enqueue(new("q1", "b@two.test", body=b"x" * 600_000 + b"\r\n"))
    (claimed,) = await queue.claim(everything)
    content = await queue.content(claimed.message)
    with sqlite3.connect(tmp_path / "queue" / "queue.db") as other:
        other.execute("UPDATE queue_chunk SET data = x'2020' WHERE number = 2")
    other.close()
    with pytest.raises(StorageError, match="damaged"):
        await asyncio.wait_for(asyncio.to_thread(content.read, 0, content.size), 5)


async def test_f156_a_locked_database_is_a_temporary_refusal_that_keeps_nothing(
    tmp_path: Path, queue: Queue, clock: ManualClock
) -> None:
    hasty = await another(tmp_path, clock, busy=0.2)
    blocker = sqlite3.connect(tmp_path / "queue" / "queue.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(TemporaryError):
        await hasty.enqueue(new("q1", "b@two.test"))
    blocker.execute("ROLLBACK")
    blocker.close()
    assert await queue.administration.list(None) == []
    await hasty.enqueue(new("q1", "b@two.test"))
    await hasty.close()


async def test_f157_a_damaged_file_is_named_clearly(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue" / "queue.db").write_bytes(b"not a database at all" * 500)
    with pytest.raises(StorageError, match=r"queue\.db is damaged"):
        await another(tmp_path, clock)


async def test_f157_a_newer_schema_is_refused_before_it_is_touched(
    tmp_path: Path, queue: Queue, clock: ManualClock
) -> None:
    await queue._database.write(lambda c: c.exec_driver_sql("UPDATE queue_about SET value = '99'"))
    with pytest.raises(StorageError, match="version 99"):
        await another(tmp_path, clock)


async def test_f149_a_full_disk_is_a_storage_error_and_the_queue_recovers(queue: Queue) -> None:
    await queue._database.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 200"))
    with pytest.raises(StorageError):
        await queue.enqueue(new("big", "b@two.test", body=b"x" * 2_000_000))
    await queue.enqueue(new("small", "b@two.test"))
    assert [item.queue_id for item in await queue.administration.list(None)] == ["small"]


async def test_a_cancelled_caller_waits_for_the_write_that_still_reads_its_bytes(queue: Queue) -> None:
    begun, gate = threading.Event(), threading.Event()

    class Slow(BytesContent):
        def read(self, start: int, stop: int) -> bytes:
            begun.set()
            assert gate.wait(10)
            return super().read(start, stop)

    message = NewMessage("q1", None, Slow(HEAD), (NewRecipient(parse("b@two.test")),))
    task = asyncio.create_task(queue.enqueue(message))
    await asyncio.to_thread(begun.wait, 10)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [item.queue_id for item in await queue.administration.list(None)] == ["q1"]


async def test_the_room_of_delivered_messages_goes_back_to_the_disk(queue: Queue) -> None:
    await queue.enqueue(new("big", "b@two.test", body=b"x" * 3_000_000))
    await queue.administration.drop(None, "big")
    for _ in range(3):
        await queue.tidy()
    count = await queue._database.read(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar())
    assert count is not None
    assert count < 100


async def test_a_bug_in_one_operation_fails_that_one_only(queue: Queue) -> None:
    def bug(connection: Connection) -> None:
        connection.exec_driver_sql("INSERT INTO queue_about VALUES ('bug', '1')")
        raise ZeroDivisionError

    answers = await asyncio.gather(
        queue._database.write(bug), queue.enqueue(new("q1", "b@two.test")), return_exceptions=True
    )
    assert isinstance(answers[0], TemporaryError)
    assert answers[1] == [1]
    about = await queue._database.read(lambda c: c.exec_driver_sql("SELECT key FROM queue_about").scalars().all())
    assert about == ["version"]
