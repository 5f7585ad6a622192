"""Batches on the event loop end with an answer for everybody, however they end (`store.light`, promise P2)."""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import patch

import apsw
import pytest

from core.clock import ManualClock
from core.errors import NotFoundError, StorageError
from store import index, lockfile
from store.catalog import FolderRow
from store.delivery import QUICK, _quick
from store.fsops import FileSystem
from store.records import Record
from store.service import MaildirStore
from store.spool import SpooledContent
from store.stage import SMALL
from store.transaction import NeedsThreadError, Transaction
from store.types import Flag, Hint, Placement
from tests.store.helpers import MAIRIE, VOISIN, all_rows, cur, deliver, inbox_of

HELD = 40  # seconds that an index somebody else holds is waited for


class OddDisk(FileSystem):
    """Syncs of directories wait at the gate when it is shut; removals fail while `stuck`."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.waiting = threading.Event(), threading.Event()
        self.gate.set()
        self.stuck = self.failing = False

    def sync(self, fd: int) -> None:
        if self.failing and stat.S_ISDIR(self.status(fd).st_mode):
            self.failing = False  # the kernel tells it once
            raise OSError(5, "Input/output error")
        if stat.S_ISDIR(self.status(fd).st_mode) and not self.gate.is_set():
            self.waiting.set()
            self.gate.wait(60)
        super().sync(fd)

    def unlink(self, directory: int, name: str) -> None:
        if self.stuck:
            raise OSError(5, "Input/output error")
        super().unlink(directory, name)


@pytest.fixture
def disk() -> OddDisk:
    return OddDisk()


@pytest.fixture
async def store(
    data: Path, clock: ManualClock, disk: OddDisk, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MaildirStore]:
    monkeypatch.setattr(index, "BUSY_MS", HELD * 1000)
    store = MaildirStore(data, clock=clock, fs=disk)
    await store.open()
    await deliver(store, MAIRIE, 1)  # the floors are raised: the next one is light
    yield store
    disk.gate.set()
    await store.close()


async def test_what_fails_and_cannot_be_undone_is_answered_too(store: MaildirStore, data: Path, disk: OddDisk) -> None:
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    entry.handle.writer.run("CREATE TEMP TRIGGER t BEFORE INSERT ON messages BEGIN SELECT raise(abort, 'x'); END")
    disk.stuck = True
    async with asyncio.timeout(20):
        with pytest.raises(StorageError):
            await deliver(store, MAIRIE, 2)
    disk.stuck = False
    entry.handle.writer.run("DROP TRIGGER t")
    async with asyncio.timeout(20):
        await deliver(store, MAIRIE, 3)
    rows = await all_rows(await inbox_of(store))
    assert len(rows) == len(cur(data, MAIRIE)) >= 2


@pytest.mark.parametrize("behind", [False, True], ids=["alone", "behind another"])
async def test_the_end_of_the_loop_does_not_leave_a_batch_without_answers(
    store: MaildirStore, disk: OddDisk, *, behind: bool
) -> None:
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    disk.gate.clear()
    begun, end = threading.Event(), threading.Event()

    def other(_transaction: Transaction) -> None:
        begun.set()
        end.wait(20)

    tasks = [asyncio.create_task(entry.writer.submit(other))] if behind else []
    async with asyncio.timeout(20):
        while behind and not begun.is_set():
            await asyncio.sleep(0.001)
        delivering = asyncio.create_task(deliver(store, MAIRIE, 2))
        while behind and not entry.writer._queue:
            await asyncio.sleep(0.001)
        end.set()
        while not disk.waiting.is_set():
            await asyncio.sleep(0.001)
    running = entry.writer._running
    assert isinstance(running, asyncio.Task) is behind
    for task in (*tasks, running, delivering):  # as asyncio.run does with tasks
        if isinstance(task, asyncio.Task):
            task.cancel()
    await asyncio.sleep(0)
    disk.gate.set()
    ended, _ = await asyncio.wait((delivering,), timeout=20)
    assert ended
    assert delivering.cancelled()
    assert len(await all_rows(await inbox_of(store))) == 2


async def test_what_comes_while_one_is_made_visible_alone_shares_a_batch(
    store: MaildirStore, disk: OddDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    told: list[Hint] = []  # one for each batch with mail; the flusher's, which come when they like, tell nothing
    monkeypatch.setattr(entry.writer, "_publish", told.extend)
    disk.gate.clear()
    first = asyncio.create_task(deliver(store, MAIRIE, 2))
    async with asyncio.timeout(20):
        while not disk.waiting.is_set():
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(deliver(store, MAIRIE, number)) for number in range(3, 8)]
        while len(entry.writer._queue) < len(others):
            await asyncio.sleep(0.001)
        idle = asyncio.create_task(entry.writer.idle())
        disk.gate.set()
        assert (await first).uid == 2
        # Their files are synced side by side: who is ready first is first in the batch.
        assert sorted([item.uid for item in await asyncio.gather(*others)]) == [*range(3, 8)]
        await idle
    assert len(told) == 2
    await deliver(store, MAIRIE, 8)
    assert len(told) == 3


async def test_a_sync_that_failed_is_final_although_the_batch_goes_to_a_thread(
    store: MaildirStore, data: Path, disk: OddDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise P3: the folder's sync had begun and failed; done again in a thread, the next one went well and would have
    been trusted."""
    insert = Transaction.insert

    def once(self: Transaction, row: FolderRow, record: Record) -> None:
        monkeypatch.setattr(Transaction, "insert", insert)
        raise NeedsThreadError

    monkeypatch.setattr(Transaction, "insert", once)
    disk.failing = True
    with pytest.raises(StorageError):
        await deliver(store, MAIRIE, 2)
    assert not disk.failing
    assert len(await all_rows(await inbox_of(store))) == len(cur(data, MAIRIE)) == 1
    await deliver(store, MAIRIE, 3)
    assert len(await all_rows(await inbox_of(store))) == 2


async def test_a_small_message_that_cannot_be_read_is_the_stores_error(store: MaildirStore, disk: OddDisk) -> None:
    unreadable = SpooledContent(disk, 1_000_000, 10, b"")  # no such descriptor
    with pytest.raises(StorageError):
        await store.stage(b"", unreadable, first=MAIRIE)


async def test_p7_an_index_that_somebody_else_holds_delays_its_own_account_alone(
    store: MaildirStore, data: Path
) -> None:
    """Fault 156: an operator looks into an index with another program and leaves a transaction open."""
    await deliver(store, VOISIN, 1)
    operator = apsw.Connection(str(data / "domains/mairie.test/maire/index.db"))
    operator.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(deliver(store, MAIRIE, 2))
    try:
        async with asyncio.timeout(HELD / 2):  # a loop that waits with it comes to nothing else for as long as it does
            for number in range(2, 5):
                await deliver(store, VOISIN, number)
                await (await inbox_of(store, VOISIN)).store_flags([(1, 1)], add=Flag(number % 2))
        assert not waiting.done()
    finally:
        operator.execute("ROLLBACK")
        operator.close()
    await waiting
    assert len(await all_rows(await inbox_of(store))) == 2


async def test_p7_a_refused_operation_does_not_wait_for_such_an_index_either(store: MaildirStore, data: Path) -> None:
    """What fails alone in its batch begins again, and must not do so on the loop."""
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    operator = apsw.Connection(str(data / "domains/mairie.test/maire/index.db"))
    begin, tries = Transaction._begin, []

    def begun(transaction: Transaction) -> None:
        tries.append(transaction._light)
        if len(tries) == 2:
            operator.execute("BEGIN IMMEDIATE")
            asyncio.get_running_loop().call_later(0.3, operator.execute, "ROLLBACK")
        begin(transaction)

    with patch.object(Transaction, "_begin", begun), pytest.raises(NotFoundError):
        await deliver(store, MAIRIE, 2, Placement("No such folder"))
    operator.close()
    assert tries[:3] == [True, True, False]
    await deliver(store, MAIRIE, 3)
    assert len(await all_rows(await inbox_of(store))) == 2


async def test_after_deliveries_a_long_wal_is_synced_without_a_thread_but_for_the_sync(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "CHECKPOINT_PAGES", 1)
    kept: list[tuple[int, bool]] = []
    keep = Transaction.keep

    def noted(transaction: Transaction) -> None:
        kept.append((transaction.db.value("PRAGMA synchronous"), threading.current_thread() is threading.main_thread()))
        keep(transaction)

    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    await store._open_accounts.flusher.flush_all()
    with patch.object(Transaction, "keep", noted), patch.object(entry.writer, "_run", side_effect=AssertionError):
        await deliver(store, MAIRIE, 2)
        await store._open_accounts.flusher.flush_all()
    assert kept[:2] == [(1, True), (2, False)]  # NORMAL on the loop, FULL beside it
    assert not entry.handle.dirty
    assert entry.handle.writer.value("PRAGMA synchronous") == 1


async def test_letters_that_wait_are_written_in_a_thread(store: MaildirStore, data: Path) -> None:
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    await store._open_accounts.flusher.flush_all()
    begin, tries = Transaction._begin, []

    def begun(transaction: Transaction) -> None:
        tries.append(transaction._light)
        begin(transaction)

    await (await inbox_of(store)).store_flags([(1, 1)], add=Flag.SEEN)
    with patch.object(Transaction, "_begin", begun):
        await store._open_accounts.flusher.flush_all()
    assert tries[:3] == [True, True, False]
    assert [str(name).endswith(":2,S") for name in cur(data, MAIRIE)] == [True]


async def test_a_commit_that_the_disk_refuses_is_the_flushers_to_tell_and_to_repeat(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "CHECKPOINT_PAGES", 1)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    await store._open_accounts.flusher.flush_all()
    await deliver(store, MAIRIE, 2)
    with patch.object(Transaction, "keep", side_effect=apsw.FullError("disk is full")):
        await store._open_accounts.flusher.flush_all()
    assert entry.handle.dirty
    assert not entry.handle.writer.in_transaction
    await store._open_accounts.flusher.flush_everything()
    await deliver(store, MAIRIE, 3)
    assert len(await all_rows(await inbox_of(store))) == 3


@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves"])
async def test_a_lock_that_another_process_has_for_a_moment_needs_no_thread(
    store: MaildirStore, data: Path, *, leaves: bool
) -> None:
    """One in twenty-five deliveries of two busy processes went through a thread, at twice the CPU."""
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    await store._open_accounts.flusher.flush_all()
    other = os.open(data / "domains/mairie.test/maire/beffroi.lock", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    with patch.object(entry.writer, "_run", side_effect=AssertionError):
        delivering = asyncio.create_task(deliver(store, MAIRIE, 2))
        async with asyncio.timeout(20):
            while entry.writer._running is None:
                await asyncio.sleep(0.001)
        if leaves:
            delivering.cancel()
            await asyncio.wait((delivering,), timeout=20)
            assert delivering.cancelled()
        os.close(other)
        if not leaves:
            assert (await delivering).uid == 2
    await deliver(store, MAIRIE, 3)
    assert len(await all_rows(await inbox_of(store))) == (2 if leaves else 3)
    assert len(cur(data, MAIRIE)) == (2 if leaves else 3)


async def test_who_waits_for_a_lock_that_he_had_just_now_does_not_leave_it_to_himself(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: who looks whether somebody waits found himself. Of two processes that delivered without a pause neither
    had the lock for half of the time."""
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    monkeypatch.setattr(lockfile, "COURTESY", 60.0)
    await store._open_accounts.flusher.flush_all()
    other = os.open(data / "domains/mairie.test/maire/beffroi.lock", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    with patch.object(entry.writer, "_run", side_effect=AssertionError):
        delivering = asyncio.create_task(deliver(store, MAIRIE, 2))
        async with asyncio.timeout(20):
            while entry.writer._running is None:
                await asyncio.sleep(0.001)
        os.close(other)
        assert (await delivering).uid == 2


def test_h042_a_header_that_may_take_long_is_not_scanned_on_the_loop() -> None:
    odd = b"From: " + b"[\\" * QUICK + b"\r\n\r\ntext\r\n"
    assert len(odd) <= SMALL
    assert not _quick(odd)
    assert _quick(b"From: a@b.fr\r\n\r\n" + b"x" * (SMALL - 40))
    assert _quick(b"x" * QUICK)
