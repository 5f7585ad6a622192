"""What is done before a file's octets are on the disk, and what is not: a name, above all (design.md section 5)."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import StorageError
from store import light
from store.service import MaildirStore
from tests.fakes.mail import content
from tests.store.helpers import MAIRIE, cur, deliver
from tests.store.slow_disk import SlowDisk, at_the_gate, begun, is_locked, lock_file, rows


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


async def test_p1_a_file_gets_its_name_once_it_is_synced(
    store: MaildirStore, data: Path, disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(light, "SOON", 60.0)
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
