"""What is done before a file's octets are on the disk, and what is not: a name, above all (design.md section 5)."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import StorageError
from store import light
from store.fsops import FileSystem
from store.service import MaildirStore
from store.types import Placement
from tests.fakes.mail import content
from tests.store.helpers import MAIRIE, all_rows, cur, deliver, inbox_of


class SlowDisk(FileSystem):
    """Syncs of files wait at the gate when it is shut; what is said of files, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.waiting = threading.Event(), threading.Event()
        self.gate.set()
        self.failing = False
        self.said: list[str] = []

    def sync(self, fd: int) -> None:
        if stat.S_ISREG(self.status(fd).st_mode) and not self.gate.is_set():
            self.waiting.set()
            self.gate.wait(60)
            self.said.append("synced")
            if self.failing:
                raise OSError(errno.EIO, "Input/output error")
        super().sync(fd)

    def link_open(self, fd: int, directory: int, name: str) -> None:
        self.said.append("linked")
        super().link_open(fd, directory, name)

    def close(self, fd: int) -> None:
        if not self.gate.is_set() and stat.S_ISREG(self.status(fd).st_mode):
            self.said.append("closed")
        super().close(fd)


@pytest.fixture
def disk() -> SlowDisk:
    return SlowDisk()


@pytest.fixture
async def store(data: Path, clock: ManualClock, disk: SlowDisk) -> AsyncIterator[MaildirStore]:
    store = MaildirStore(data, clock=clock, fs=disk)
    await store.open()
    await deliver(store, MAIRIE, 1)  # the floors are raised: the next one is light
    await store._open_accounts.flusher.flush_all()
    disk.said.clear()
    yield store
    disk.gate.set()
    await store.close()


async def begun(store: MaildirStore, disk: SlowDisk, number: int) -> asyncio.Task[None]:
    """A delivery whose file's sync is at the gate."""
    disk.gate.clear()
    disk.waiting.clear()

    async def work() -> None:
        async with await store.stage(b"", content(number), first=MAIRIE, synced=False) as staged:
            await staged.deliver(MAIRIE, Placement(delivery_id=f"early {number}"))

    task = asyncio.create_task(work())
    await at_the_gate(disk)
    return task


async def at_the_gate(disk: SlowDisk) -> None:
    async with asyncio.timeout(20):
        while not disk.waiting.is_set():
            await asyncio.sleep(0.001)


def lock_file(data: Path) -> Path:
    return data / "domains/mairie.test/maire/beffroi.lock"


def is_locked(data: Path) -> bool:
    other = os.open(lock_file(data), os.O_RDWR)
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(other)
    return False


async def rows(store: MaildirStore) -> int:
    return len(await all_rows(await inbox_of(store)))


async def test_p1_a_file_gets_its_name_once_it_is_synced(store: MaildirStore, data: Path, disk: SlowDisk) -> None:
    delivering = await begun(store, disk, 2)
    assert is_locked(data)
    assert len(cur(data, MAIRIE)) == await rows(store) == 1
    disk.gate.set()
    await delivering
    assert disk.said == ["synced", "linked"]
    assert len(cur(data, MAIRIE)) == await rows(store) == 2


async def test_while_the_disk_is_busy_for_us_the_lock_is_not_kept_through_the_files_sync(
    store: MaildirStore, data: Path, disk: SlowDisk
) -> None:
    """Another process waits for no sync but that of the folder."""
    disk.gate.clear()
    other = os.open(data, os.O_RDWR | os.O_TMPFILE)
    syncing = store._syncs.begin((other,))
    await at_the_gate(disk)
    delivering = await begun(store, disk, 2)
    assert not is_locked(data)
    disk.gate.set()
    await asyncio.gather(delivering, syncing)
    os.close(other)
    assert disk.said == ["synced", "synced", "linked"]
    assert await rows(store) == 2


async def test_p2_a_file_that_is_not_synced_leaves_nothing(store: MaildirStore, data: Path, disk: SlowDisk) -> None:
    word = lock_file(data).read_bytes()
    disk.failing = True
    delivering = await begun(store, disk, 2)
    disk.gate.set()
    with pytest.raises(StorageError):
        await delivering
    assert disk.said == ["synced"]
    assert lock_file(data).read_bytes() == word
    assert not is_locked(data)
    disk.failing = False
    await deliver(store, MAIRIE, 3)
    assert len(cur(data, MAIRIE)) == await rows(store) == 2


@pytest.mark.parametrize("busy", [False, True])
async def test_who_leaves_before_his_file_is_synced_leaves_nothing(
    store: MaildirStore, data: Path, disk: SlowDisk, *, busy: bool
) -> None:
    """And the descriptor stays open for as long as the disk uses it."""
    store._syncs.under_way += busy
    delivering = await begun(store, disk, 2)
    delivering.cancel()
    await asyncio.sleep(0.01)
    assert not delivering.done()
    assert disk.said == []
    disk.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await delivering
    store._syncs.under_way -= busy
    assert disk.said == ["synced"]
    assert not is_locked(data)
    await deliver(store, MAIRIE, 3)
    assert len(cur(data, MAIRIE)) == await rows(store) == 2


async def test_p1_a_thread_links_no_file_that_is_not_synced_either(
    store: MaildirStore, data: Path, disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom the loop gives it to because somebody keeps the lock for long."""
    monkeypatch.setattr(light, "SOON", 0.01)
    other = os.open(lock_file(data), os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    delivering = await begun(store, disk, 2)
    await asyncio.sleep(0.05)
    os.close(other)
    await asyncio.sleep(0.05)
    assert disk.said == []
    disk.gate.set()
    await delivering
    assert disk.said == ["synced", "linked"]
    assert await rows(store) == 2


async def test_what_waits_for_a_file_unused_is_closed_after_its_sync(store: MaildirStore, disk: SlowDisk) -> None:
    disk.gate.clear()
    staged = await store.stage(b"", content(2), first=MAIRIE, synced=False)
    leaving = asyncio.create_task(staged.__aexit__(None, None, None))
    await asyncio.sleep(0.01)
    assert not leaving.done()
    assert disk.said == []
    disk.gate.set()
    await leaving
    assert disk.said == ["synced"]
