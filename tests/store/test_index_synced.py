"""After deliveries the index alone waits for the disk: its WAL is synced as it lies there (`store.flusher`)."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs

from core.clock import ManualClock
from store import index
from store.entry import Entry
from store.flusher import FLUSH_TOGETHER
from store.fsops import FileSystem
from store.service import MaildirStore
from store.types import Flag
from tests.store.helpers import MAIRIE, all_rows, cur, deliver, inbox_of

DIRECTORY = "domains/mairie.test/maire"


class WatchedDisk(FileSystem):
    """Whose octets were synced, by inode; the first such sync after `fails` was set is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.synced: list[int] = []
        self.fails = False
        self.gate, self.waiting = threading.Event(), threading.Event()
        self.gate.set()

    def sync_data(self, fd: int) -> None:
        if self.fails:
            self.fails = False
            self.failed_syncs += 1
            raise OSError(5, "Input/output error")
        self.waiting.set()
        self.gate.wait(20)
        super().sync_data(fd)
        self.synced.append(self.status(fd).st_ino)


@pytest.fixture
def disk() -> WatchedDisk:
    return WatchedDisk()


@pytest.fixture
async def store(data: Path, clock: ManualClock, disk: WatchedDisk) -> AsyncIterator[MaildirStore]:
    store = MaildirStore(data, clock=clock, fs=disk)
    await store.open()
    await deliver(store, MAIRIE, 1)  # the floors are raised: the next one is light
    await store.flush()
    disk.synced.clear()
    yield store
    disk.gate.set()
    await store.close()


def opened(store: MaildirStore) -> Entry:
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    return entry


def wal(data: Path) -> int:
    return (data / DIRECTORY / "index.db-wal").stat().st_ino


async def test_the_wal_is_synced_without_a_transaction_and_without_the_lock(
    store: MaildirStore, data: Path, disk: WatchedDisk
) -> None:
    """It took a transaction, a thread and the account's lock, a millisecond of CPU for each account that had mail."""
    entry = opened(store)
    await deliver(store, MAIRIE, 2)
    other = os.open(data / DIRECTORY / "beffroi.lock", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    try:
        with patch.object(entry.writer, "submit", side_effect=AssertionError):
            async with asyncio.timeout(20):
                await store.flush()
    finally:
        os.close(other)
    assert disk.synced == [wal(data)]
    assert not store._open_accounts.flusher.has_work
    await store.flush()  # nothing came since
    assert disk.synced == [wal(data)]


async def test_what_comes_while_the_wal_is_synced_is_synced_by_the_next_turn(
    store: MaildirStore, data: Path, disk: WatchedDisk
) -> None:
    await deliver(store, MAIRIE, 2)
    disk.waiting.clear()
    disk.gate.clear()
    flushing = asyncio.create_task(store._open_accounts.flusher.flush_all())
    async with asyncio.timeout(20):
        while not disk.waiting.is_set():
            await asyncio.sleep(0.001)
        await deliver(store, MAIRIE, 3)
        disk.gate.set()
        await flushing
    assert opened(store).handle.unsynced
    await store._open_accounts.flusher.flush_all()
    assert disk.synced == [wal(data)] * 2
    assert not opened(store).handle.waits


async def test_a_wal_that_has_grown_is_copied_into_the_database(
    store: MaildirStore, data: Path, disk: WatchedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "CHECKPOINT_PAGES", 60)
    database = data / DIRECTORY / "index.db"
    before = database.stat().st_size
    for number in range(2, 12):
        await deliver(store, MAIRIE, number)
    assert opened(store).handle.dirty
    await store.flush()
    assert disk.synced == []
    assert database.stat().st_size > before
    await deliver(store, MAIRIE, 12)
    assert not opened(store).handle.dirty  # it begins anew
    await store.flush()
    assert disk.synced == [wal(data)]
    assert len(await all_rows(await inbox_of(store))) == 12


async def test_a_wal_that_could_not_be_synced_is_told_and_committed_to_anew(
    store: MaildirStore, disk: WatchedDisk
) -> None:
    entry = opened(store)
    await deliver(store, MAIRIE, 2)
    disk.fails = True
    with capture_logs() as logs:
        await store._open_accounts.flusher.flush_all()
        assert entry.handle.dirty  # a sync that failed is not repeated and trusted (promise P3)
        await store._open_accounts.flusher.flush_all()
    told = [line["event"] for line in logs if line["event"].startswith("store-flush")]
    assert told == ["store-flush-failed", "store-flush-recovered"]
    assert disk.synced == []
    assert not entry.handle.waits


async def test_an_index_that_was_deleted_meanwhile_is_made_again(store: MaildirStore, data: Path) -> None:
    await deliver(store, MAIRIE, 2)
    for name in ("index.db", "index.db-wal", "index.db-shm"):
        (data / DIRECTORY / name).unlink()
    await store.flush()
    assert len(await all_rows(await inbox_of(store))) == 2


async def test_p5_flags_set_beside_deliveries_are_written_into_names(store: MaildirStore, data: Path) -> None:
    await deliver(store, MAIRIE, 2)
    await (await inbox_of(store)).store_flags([(1, 1)], add=Flag.SEEN)
    await deliver(store, MAIRIE, 3)
    await store.flush()
    assert sum(path.name.endswith(":2,S") for path in cur(data, MAIRIE)) == 1


async def _left_by_a_killed_process(data: Path, clock: ManualClock) -> None:
    """A flag that is in no name yet, and a file that is to be unlinked."""
    other = MaildirStore(data, clock=clock)
    await other.open()
    inbox = await inbox_of(other)
    await inbox.store_flags([(1, 1)], add=Flag.SEEN)
    await inbox.expunge([(2, 2)], only_deleted=False)
    handle = opened(other).handle
    handle.dirty = handle.touched = False  # closing it does no more than the kernel would
    await other.close()


async def test_p5_what_a_killed_process_left_is_brought_to_the_disk_after_the_next_delivery(
    store: MaildirStore, data: Path, clock: ManualClock
) -> None:
    """Cause: a delivery's turn of the flusher looked for nothing, and flags would have been lost with the index."""
    await deliver(store, MAIRIE, 2)
    await _left_by_a_killed_process(data, clock)
    await deliver(store, MAIRIE, 3)
    await store.flush()
    assert sorted(path.name.rpartition(",")[2] for path in cur(data, MAIRIE)) == ["", "S"]


async def test_p5_what_a_killed_process_left_is_brought_to_the_disk_by_who_opens_the_account(
    store: MaildirStore, data: Path, clock: ManualClock
) -> None:
    await deliver(store, MAIRIE, 2)
    await _left_by_a_killed_process(data, clock)
    reader = MaildirStore(data, clock=clock)
    await reader.open()
    await (await inbox_of(reader)).snapshot()
    await reader.flush()
    assert [path.name.rpartition(",")[2] for path in cur(data, MAIRIE)] == ["S"]
    await reader.close()


async def test_an_account_that_is_closed_meanwhile_is_left_to_its_closing(
    store: MaildirStore, disk: WatchedDisk
) -> None:
    """Its descriptors may be somebody else's by then."""
    accounts, flusher = store._open_accounts, store._open_accounts.flusher
    await deliver(store, MAIRIE, 2)
    async with AsyncExitStack() as turns:
        for _ in range(FLUSH_TOGETHER):
            await turns.enter_async_context(flusher._turns)
        flushing = asyncio.create_task(flusher.flush_all())
        await asyncio.sleep(0)
        entry = accounts._open.pop((MAIRIE.domain, MAIRIE.local))
    await flushing
    assert disk.synced == []
    accounts._open[MAIRIE.domain, MAIRIE.local] = entry
