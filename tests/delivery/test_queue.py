"""The queue alone: durability, leases, fairness of claims, results, debts."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from core.address import parse
from core.clock import ManualClock
from core.envelope import Dsn, Schedule
from core.errors import ConflictError, StorageError
from core.sqlite import backup
from core.status import accepted, deferred
from delivery.queue import database
from delivery.queue.allowance import Rules
from delivery.queue.claims import SMALL
from delivery.queue.postgres import CommitUnknownError
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.queue.schema import Owed
from delivery.types import Result, ResultKind
from message.content import BytesContent
from tests.delivery.queue_alone import HEAD, another, everything, judge, new, watch

T = TypeVar("T")


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
    for _ in range(4):
        await watch(queue, clock, 30)
        await dead.renew()
    await watch(queue, clock, 45)
    assert await queue.claim(everything) == []
    await watch(queue, clock, 30)
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
    await watch(other, clock, 615)
    assert len(await other.claim(everything)) == 2
    await other.close()


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 20 * 86400.0])
async def test_f163_a_clock_that_jumps_takes_no_lease_from_a_worker_that_lives_and_prolongs_none(
    tmp_path: Path, queue: Queue, clock: ManualClock, jump: float
) -> None:
    """A jump ahead made every lease look over until its holder renewed it: what was being sent was sent twice."""
    alive, silent = await another(tmp_path, clock), await another(tmp_path, clock)
    for worker, domain in ((alive, "one"), (silent, "two")):
        await queue.enqueue(new(domain, f"b@{domain}.test"))
        assert len(await worker.claim(everything)) == 1
    await watch(queue, clock, 15)
    clock.at += jump
    await watch(queue, clock, 15)
    assert await queue.claim(everything) == []
    for _ in range(3):
        await alive.renew()
        await watch(queue, clock, 15)
    assert [job.message.queue_id for job in await queue.claim(everything)] == ["two"]
    await alive.close()
    await silent.close()


async def test_f163_a_machine_that_stood_still_takes_no_lease_from_one_that_stood_still_with_it(
    tmp_path: Path, queue: Queue, clock: ManualClock
) -> None:
    other = await another(tmp_path, clock)
    await queue.enqueue(new("q1", "b@two.test"))
    assert len(await other.claim(everything)) == 1
    await watch(queue, clock, 15)
    clock.advance(3600)
    await queue.renew()  # the first that runs again
    await other.renew()
    await watch(queue, clock, 45)
    assert await queue.claim(everything) == []
    await other.close()


async def test_f163_what_waits_waits_no_longer_when_the_clock_goes_back(
    tmp_path: Path, queue: Queue, clock: ManualClock
) -> None:
    """By an hour, while nobody ran: it waited for that hour, too."""
    await queue.enqueue(
        new("now", "b@two.test"),
    )
    await queue.enqueue(new("later", "b@two.test", wait=7200.0))
    wished = Schedule(release_at=clock.now() + 7200, hold="until;2026-11-22T15:43:36Z")
    await queue.enqueue(replace(new("wished", "b@two.test"), schedule=wished))
    await queue.pull_back(86400)
    clock.advance(600)
    clock.at -= 3600
    other = await another(tmp_path, clock)
    assert await other.claim(everything) == []
    await other.pull_back(86400)
    await queue.pull_back(86400)  # who looks afterwards brings nothing forward once more
    assert [job.message.queue_id for job in await other.claim(everything)] == ["now"]
    clock.advance(6590)
    assert await other.claim(everything) == []
    clock.advance(20)
    assert [job.message.queue_id for job in await other.claim(everything)] == ["later"]
    clock.advance(3600)
    assert [job.message.queue_id for job in await other.claim(everything)] == ["wished"]
    await other.close()


async def test_f163_seconds_that_a_sender_counted_are_counted_anew_when_the_clock_goes_back(
    queue: Queue, clock: ManualClock
) -> None:
    """They were counted by the clock that ran ahead; those of a message that came before that clock did stay."""
    start = clock.now()
    held = Schedule(release_at=start + 8000, hold="for;8000")
    await queue.enqueue(replace(new("before", "b@two.test"), schedule=held))
    await queue.pull_back(86400)
    clock.at += 3600
    await queue.pull_back(86400)
    limited = Schedule(release_at=clock.now() + 600, hold="for;600", deliver_by=clock.now() + 900, by_mode="R")
    await queue.enqueue(replace(new("ahead", "b@two.test"), schedule=limited))
    clock.advance(60)
    clock.at -= 3600
    await queue.pull_back(86400)
    shown = {item.queue_id: item for item in await queue.administration.list(None)}
    assert shown["ahead"].schedule.deliver_by == start + 900
    for name, due in (("ahead", start + 600), ("before", start + 8000)):
        assert shown[name].schedule.release_at == due
        assert [item.next_attempt for item in shown[name].recipients] == [due]


async def test_f163_what_left_its_sender_and_was_put_off_waits_for_its_hour_and_not_for_the_next_attempt(
    queue: Queue, clock: ManualClock
) -> None:
    """HOLDUNTIL came and a server was busy; then the clock that ran ahead by three hours was set right."""
    hour = clock.now() + 3600
    await queue.enqueue(replace(new("q1", "b@two.test", wait=3600 + 14400.0),
                                schedule=Schedule(release_at=hour, hold="until;")))  # fmt: skip
    clock.advance(3601)
    await queue.pull_back(86400)
    for back, due in ((600, hour + 13800), (10800, hour + 3000), (7200, hour)):
        clock.at -= back
        await queue.pull_back(86400)
        assert await queue.next_due() == due
    clock.at = hour + 1
    assert len(await queue.claim(everything)) == 1


async def test_f158_a_claim_of_unknown_end_is_undone_though_all_was_renewed_before_that_was_known(
    queue: Queue, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The renewal changed what told it apart: it was renewed for ever, and no job had it."""
    await queue.enqueue(new("q1", "b@two.test"))
    write = queue._database.write

    async def cut(act: Callable[[Connection], T], *, durable: bool = True) -> T:
        value = await write(act, durable=durable)
        monkeypatch.setattr(queue._database, "write", write)
        clock.advance(15)
        await queue.renew()
        raise CommitUnknownError("1", value, OSError("cut"))

    monkeypatch.setattr(queue._database, "write", cut)
    with pytest.raises(CommitUnknownError):
        await queue.claim(everything)
    assert await queue.claim(everything) == []
    clock.advance(15)
    await queue.renew()
    assert len(await queue.claim(everything)) == 1


async def test_f163_a_clock_that_goes_forward_or_starts_anew_moves_nothing(
    queue: Queue, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.enqueue(new("q1", "b@two.test", wait=7200.0))
    await queue.pull_back(86400)
    due = await queue.next_due()
    assert due is not None
    for ahead, ticks, boot in ((1.0, 0.0, "one"), (-1.9, 0.0, "one"), (900.0, 0.0, "one"), (0.0, 9000.0, "two")):
        clock.at += ahead
        clock.ticks += ticks  # of another start of the machine: no jump
        monkeypatch.setattr("delivery.queue.queue.boot", lambda boot=boot: boot)
        await queue.pull_back(86400)
        assert await queue.next_due() == due
    clock.at -= 60.0  # of the 15 minutes that it went ahead
    await queue.pull_back(86400)
    assert await queue.next_due() == due - 60


async def test_f163_where_nobody_can_tell_one_start_of_the_machine_from_another(
    queue: Queue, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: without /proc the first look failed, and every one after it."""
    monkeypatch.setattr("delivery.queue.queue.boot", lambda: "")
    await queue.enqueue(new("q1", "b@two.test", wait=7200.0))
    await queue.pull_back(86400)
    due = await queue.next_due()
    assert due is not None
    clock.at -= 60.0
    await queue.pull_back(86400)
    assert await queue.next_due() == due - 60


async def test_what_a_front_delivers_itself_is_left_to_it_until_its_lease_is_over(
    tmp_path: Path, queue: Queue, clock: ManualClock
) -> None:
    runner = await another(tmp_path, clock)
    ids = await queue.enqueue(new("q1", "b@two.test", leased=True))
    assert await runner.claim(everything) == []
    await queue.apply([Result(ids[0], ResultKind.DELIVERED, accepted())], judge)
    assert await queue.administration.list(None) == []
    await queue.enqueue(new("q2", "b@two.test", leased=True))
    await watch(runner, clock, 585)
    assert await runner.claim(everything) == []
    await watch(runner, clock, 30)
    assert len(await runner.claim(everything)) == 1
    await runner.close()


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


async def test_the_room_of_delivered_messages_goes_back_to_the_disk(queue: Queue) -> None:
    await queue.enqueue(new("big", "b@two.test", body=b"x" * 3_000_000))
    await queue.administration.drop(None, "big")
    for _ in range(3):
        await queue.tidy()
    count = await queue._database.read(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar())
    assert count is not None
    assert count < 100


async def test_nothing_is_kept_in_a_file_that_has_no_name_any_more(queue: Queue, tmp_path: Path) -> None:
    """Another database was put in its place: what was said to be kept would have gone with the process."""
    file = tmp_path / "queue" / "queue.db"
    await queue.enqueue(new("q1", "b@two.test"))
    backup(file, file.with_name("backup.db"))
    await queue.enqueue(new("q2", "b@two.test"))
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink()
    file.with_name("backup.db").rename(file)
    await queue.enqueue(new("q3", "b@two.test"))
    assert [item.queue_id for item in await queue.administration.list(None)] == ["q1", "q3"]
    await queue.close()
    with closing(sqlite3.connect(file)) as opened:
        assert opened.execute("SELECT queue_id FROM queue_message ORDER BY 1").fetchall() == [("q1",), ("q3",)]


async def test_where_the_file_is_gone_nothing_is_taken(queue: Queue, tmp_path: Path) -> None:
    await queue.enqueue(new("q1", "b@two.test"))
    (tmp_path / "queue" / "queue.db").unlink()
    with pytest.raises(StorageError):
        await queue.enqueue(new("q2", "b@two.test"))
    assert not (tmp_path / "queue" / "queue.db").exists()


@pytest.mark.parametrize("reads", [0, 1])
async def test_where_the_file_is_gone_readers_say_so_and_make_none(queue: Queue, tmp_path: Path, reads: int) -> None:
    for _ in range(reads):
        await queue.next_due()
    (tmp_path / "queue" / "queue.db").unlink()
    with pytest.raises(StorageError):
        await queue.next_due()
    assert not (tmp_path / "queue" / "queue.db").exists()


async def test_a_lease_and_a_count_wait_for_no_disk_and_what_is_kept_does(queue: Queue) -> None:
    """Of a group that is committed together, one that is durable makes it all so."""

    def level(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA synchronous").scalar() or 0)

    normal, full = 1, 2
    kept = queue._database
    assert await kept.write(level, durable=False) == normal
    assert await kept.write(level) == full
    both = await asyncio.gather(*(kept.write(level, durable=number == 7) for number in range(20)))
    assert both[7] == full
    heard: list[bool] = []
    real = kept.write

    async def watched(run: Callable[[Connection], T], *, durable: bool = True) -> T:
        heard.append(durable)
        return await real(run, durable=durable)

    kept.write = watched  # type: ignore[method-assign]  # an observer
    await queue.charge("acc", ["x@two.test"], Rules(5, 5, 5))
    await queue.enqueue(new("q1", "b@two.test"))
    [claimed] = await queue.claim(everything)
    await queue.apply([Result(claimed.recipients[0].id, ResultKind.DELIVERED, accepted())], judge)
    assert heard == [False, True, False, False]


async def count(queue: Queue) -> None:
    await queue.charge("acc", ["x@two.test"], Rules(50, 50, 50))


async def nothing(queue: Queue) -> None:
    """A durable commit that changes no row: SQLite writes no page for it, and syncs nothing."""
    await queue.administration.unlock("nobody")


async def the_same(queue: Queue) -> None:
    """A durable commit of the value that is there: rows are counted as changed, and no page is written either."""
    await queue._database.write(lambda c: c.exec_driver_sql("UPDATE queue_about SET value = value"))


@pytest.mark.parametrize("others", [None, count, nothing, the_same])
async def test_a_commit_that_is_not_durable_is_so_a_moment_later(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: Callable[[Queue], Awaitable[None]] | None
) -> None:
    """Whatever follows it. SQLite syncs the WAL with a durable commit that puts something into it, with no other."""
    monkeypatch.setattr(database, "UNSYNCED", 0.05)
    kept = queue._database
    assert isinstance(kept, database.Database)
    wal = tmp_path / "queue" / "queue.db-wal"
    real, synced = kept._writing, list[bool]()

    @contextmanager
    def watched(*, durable: bool) -> Iterator[Connection]:
        before = wal.read_bytes()
        with real(durable=durable) as connection:
            yield connection
        synced.append(durable and wal.read_bytes() != before)

    monkeypatch.setattr(kept, "_writing", watched)
    await count(queue)
    assert kept._unsynced or True in synced
    async with asyncio.timeout(10):
        while kept._unsynced and True not in synced:
            if others is not None:
                await others(queue)
            await asyncio.sleep(0.001)
    assert True in synced


async def test_a_claim_of_nothing_costs_no_sync(queue: Queue) -> None:
    kept = queue._database
    assert isinstance(kept, database.Database)
    assert await queue.claim(everything) == []
    assert not kept._unsynced


async def test_a_sync_that_fails_is_tried_again_a_moment_later(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "UNSYNCED", 0.05)
    kept = queue._database
    assert isinstance(kept, database.Database)
    real, tries = kept._writing, list[float]()

    def failing(*, durable: bool) -> AbstractContextManager[Connection]:
        tries.append(time.monotonic())
        if len(tries) < 4:
            raise OSError("a fault")
        return real(durable=durable)

    await count(queue)
    monkeypatch.setattr(kept, "_writing", failing)
    async with asyncio.timeout(10):
        while kept._unsynced:
            await asyncio.sleep(0.001)
    assert len(tries) == 4
    assert all(later - former > 0.04 for former, later in pairwise(tries))


async def test_a_queue_that_is_closed_leaves_nothing_unsynced(queue: Queue) -> None:
    await count(queue)
    kept = queue._database
    assert isinstance(kept, database.Database)
    assert kept._unsynced
    await queue.close()
    assert not kept._unsynced
