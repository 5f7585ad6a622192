"""A queue file that is locked, damaged, newer or on a full disk; an operation that fails beside others."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection

from core.address import parse
from core.clock import ManualClock
from core.errors import ConflictError, NotFoundError, StorageError, TemporaryError
from delivery.queue.entering import enqueue
from delivery.queue.leases import NONE
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from message.content import BytesContent
from tests.delivery.queue_alone import HEAD, another, everything, new


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


async def test_a_refused_operation_that_is_alone_in_its_group_leaves_nothing(queue: Queue) -> None:
    """It has no savepoint of its own: the transaction goes back."""

    def half(connection: Connection) -> None:
        enqueue(connection, new("half", "b@two.test"), now=0.0, lease=NONE)
        raise NotFoundError("no", code="no")

    def bug(connection: Connection) -> None:
        enqueue(connection, new("bug", "b@two.test"), now=0.0, lease=NONE)
        raise ZeroDivisionError

    with pytest.raises(NotFoundError):
        await queue._database.write(half)
    with pytest.raises(TemporaryError):
        await queue._database.write(bug)
    await queue.enqueue(new("good", "b@two.test"))
    with pytest.raises(ConflictError):
        await queue.enqueue(new("good", "b@two.test"))
    assert [item.queue_id for item in await queue.administration.list(None)] == ["good"]


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


REFUSED = """
import asyncio, sys
from pathlib import Path
from core.clock import ManualClock
from core.errors import StorageError
from delivery.commit import refusal
from tests.delivery.queue_alone import another, new

async def main():
    queue = await another(Path(sys.argv[1]), ManualClock())
    try:
        await queue.enqueue(new("q2", "b@two.test"))
    except StorageError as error:
        print(refusal(error), error.code, len(await queue.administration.list(None)))

asyncio.run(main())
"""


async def refused(place: Path, error: str) -> tuple[str, str]:
    """What a process says, and complains, for which every write of SQLite's fails."""
    fails = ("strace", "-f", "-q", "--seccomp-bpf", "-o", "/dev/null", "-e", f"inject=pwrite64,fallocate:error={error}")
    pipe = asyncio.subprocess.PIPE
    command = (*fails, sys.executable, "-c", REFUSED, str(place))
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    output, complaint = await asyncio.wait_for(process.communicate(), 60)
    return output.decode(), complaint.decode()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("ENOSPC", "452 4.3.1 insufficient system storage queue-full 1"),
        ("EDQUOT", "452 4.3.1 insufficient system storage queue-full 1"),
        ("EIO", "451 4.3.0 try again later queue-storage 1"),
    ],
)
async def test_f149_f150_no_room_and_no_quota_for_the_queues_database_are_told_as_a_full_disk(
    tmp_path: Path, queue: Queue, error: str, said: str
) -> None:
    """At the system calls of SQLite itself; it knows one of them by name. This process keeps the database open, so that
    the other's first write is that of its message. Who reads goes on."""
    await queue.enqueue(new("q1", "b@two.test"))
    output, _ = await refused(tmp_path, error)
    assert output.splitlines()[-1] == said
    assert [item.queue_id for item in await queue.administration.list(None)] == ["q1"]
    await queue.enqueue(new("q3", "b@two.test"))


@pytest.mark.parametrize(
    ("error", "said"), [("EDQUOT", "the queue's disk is full"), ("EIO", "cannot be opened: disk I/O error")]
)
async def test_f149_a_queue_that_cannot_be_opened_because_of_its_disk_is_not_called_damaged(
    tmp_path: Path, clock: ManualClock, error: str, said: str
) -> None:
    """Who reads "restore it or move it away" does, and mail is gone."""
    await (await another(tmp_path, clock)).close()
    _, complaint = await refused(tmp_path, error)
    assert said in complaint
    assert "move it away" not in complaint


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


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from core.clock import ManualClock
from tests.delivery.queue_alone import another, everything, new

async def main():
    queue = await another(Path(sys.argv[1]), ManualClock())
    await queue.enqueue(new("q1", "b@two.test"))
    assert len(await queue.claim(everything)) == 1  # a lease, of the commits that nobody syncs by themselves
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_f155_what_a_killed_worker_left_unsynced_is_durable_before_another_builds_on_it(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(tmp_path))
    assert await killed.wait() == -signal.SIGKILL
    wal = tmp_path / "queue" / "queue.db-wal"
    left = wal.stat().st_size
    assert left
    synced: list[tuple[Path, int]] = []
    real = os.fdatasync

    def watched(descriptor: int) -> None:
        real(descriptor)
        synced.append((Path(os.readlink(f"/proc/self/fd/{descriptor}")), os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fdatasync", watched)
    queue = await another(tmp_path, clock)
    assert synced == [(wal, left)]
    await queue.close()


async def test_f152_a_worker_does_not_start_on_what_could_not_be_synced(
    tmp_path: Path, queue: Queue, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, "lost")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(StorageError):
        await another(tmp_path, clock)
