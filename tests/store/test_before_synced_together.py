"""Others at the same account while a delivery's file is synced, and deliveries that need no name (design.md section
5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from core.clock import ManualClock
from core.errors import StorageError
from store import records
from store.service import MaildirStore
from store.types import Flag, Placement
from tests.fakes.mail import content
from tests.store.helpers import AUTRE, MAIRIE, VOISIN, all_rows, cur, deliver, inbox_of
from tests.store.slow_disk import SlowDisk, at_the_gate, begun, is_locked, lock_file, rows


@pytest.fixture
def disk() -> SlowDisk:
    return SlowDisk()


@pytest.fixture
async def store(data: Path, clock: ManualClock, disk: SlowDisk) -> AsyncIterator[MaildirStore]:
    store = MaildirStore(data, clock=clock, fs=disk)
    await store.open()
    for ref in (MAIRIE, VOISIN, AUTRE):
        await deliver(store, ref, 1)  # the floors are raised: the next one is light
    await store._open_accounts.flusher.flush_all()
    disk.said.clear()
    yield store
    disk.gate.set()
    assert store._syncs.under_way == 0
    await store.close()


async def test_p4_who_comes_meanwhile_waits_for_his_file_and_for_his_turn(
    store: MaildirStore, data: Path, disk: SlowDisk
) -> None:
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    first = await begun(store, disk, 2)
    others = [await begun(store, disk, number) for number in range(3, 8)]
    assert disk.said == []
    disk.gate.set()
    async with asyncio.timeout(20):
        await asyncio.gather(first, *others)
    assert sorted(disk.said) == ["linked"] * 6 + ["synced"] * 6
    assert [row.uid for row in await all_rows(await inbox_of(store))] == [1, 2, 3, 4, 5, 6, 7]
    assert len(cur(data, MAIRIE)) == 7
    assert entry.writer._running is None
    assert not is_locked(data)


async def test_p7_a_disk_that_hangs_with_one_file_keeps_the_account_from_nobody_else(
    store: MaildirStore, data: Path, disk: SlowDisk
) -> None:
    delivering = await begun(store, disk, 2)
    async with asyncio.timeout(20):
        while is_locked(data):
            await asyncio.sleep(0.01)
        await (await inbox_of(store)).store_flags([(1, 1)], add=Flag.SEEN)
    assert disk.said == []
    disk.gate.set()
    await delivering
    assert disk.said == ["synced", "linked"]
    assert await rows(store) == len(cur(data, MAIRIE)) == 2


async def test_p1_an_index_that_turns_out_to_be_damaged_meanwhile_is_made_again_and_the_file_linked_once_synced(
    store: MaildirStore, disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, known = [0], records.known_thread

    def damaged(*args: object) -> str | None:
        asked[0] += 1
        if asked[0] < 3:  # by the loop and by the thread
            raise apsw.CorruptError("database disk image is malformed")
        return known(*args)  # type: ignore[arg-type]  # what it is called with

    monkeypatch.setattr(records, "known_thread", damaged)
    delivering = await begun(store, disk, 2)
    await asyncio.sleep(0.05)
    assert asked == [1]
    assert disk.said == []
    disk.gate.set()
    await delivering
    assert disk.said == ["synced", "linked"]
    assert asked == [3]
    assert await rows(store) == 2


async def test_f145_a_delivery_that_is_told_again_makes_no_name_and_is_answered_once_its_file_is_let_go(
    store: MaildirStore, data: Path, disk: SlowDisk
) -> None:
    first = await begun(store, disk, 2)
    disk.gate.set()
    await first
    word = lock_file(data).read_bytes()[:40]
    disk.said.clear()
    again = await begun(store, disk, 2)
    disk.gate.set()
    await again
    assert disk.said == ["synced"]
    assert lock_file(data).read_bytes()[:40].split()[1] == word.split()[1]
    assert await rows(store) == len(cur(data, MAIRIE)) == 2
    disk.failing = True
    again = await begun(store, disk, 2)
    disk.gate.set()
    with pytest.raises(StorageError):
        await again
    disk.failing = False
    await deliver(store, MAIRIE, 3)
    assert await rows(store) == len(cur(data, MAIRIE)) == 3


@pytest.mark.parametrize("failing", [False, True])
async def test_p1_a_copy_for_another_commune_is_made_of_a_file_that_is_synced(
    store: MaildirStore, data: Path, disk: SlowDisk, *, failing: bool
) -> None:
    disk.gate.clear()

    async def both() -> list[object]:
        async with await store.stage(b"", content(2), first=MAIRIE, synced=False) as staged:
            return await asyncio.gather(
                *(staged.deliver(ref, Placement()) for ref in (MAIRIE, VOISIN, AUTRE)), return_exceptions=True
            )

    delivering = asyncio.create_task(both())
    await at_the_gate(disk)
    await asyncio.sleep(0.05)
    assert disk.said == []
    disk.failing = failing
    disk.gate.set()
    found = await delivering
    assert disk.said == (["synced"] if failing else ["synced", "linked", "linked", "linked"])
    assert [isinstance(one, StorageError) for one in found] == [failing] * 3
    assert {len(cur(data, ref)) for ref in (MAIRIE, VOISIN, AUTRE)} == {1 if failing else 2}


async def test_who_is_cancelled_while_he_leaves_an_unused_file_behind_is_cancelled(
    store: MaildirStore, disk: SlowDisk
) -> None:
    """A session that a worker ends went on instead, as if nobody had asked."""
    disk.gate.clear()

    async def refused() -> str:
        async with await store.stage(b"", content(2), first=MAIRIE, synced=False):
            return "it cost too much"

    leaving = asyncio.create_task(refused())
    await at_the_gate(disk)
    leaving.cancel()
    await asyncio.sleep(0.01)
    assert not leaving.done()
    assert disk.said == []
    disk.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert disk.said == ["synced"]
