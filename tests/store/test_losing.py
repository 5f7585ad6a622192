"""Index files are deleted while they are used and opened, some or all, by hand: nobody is refused anything for it, and
what two processes write is seen by both (promise P5).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import chain, combinations
from pathlib import Path

import pytest

from core.clock import ManualClock
from store.index import SHARED_FILES, TICK, Index
from store.types import Column, Flag, SortCriterion, SortKey
from tests.store.helpers import MAIRIE, WHOLE, all_rows, deliver, inbox_of
from tests.store.picture import opened

ACCOUNT = "domains/mairie.test/maire"
SOME = list(chain.from_iterable(combinations(SHARED_FILES, count) for count in (1, 2, 3)))
SECONDS = 2.5


@pytest.mark.parametrize("names", SOME, ids=[" ".join(name.removeprefix("index.") for name in some) for some in SOME])
async def test_f157_some_of_the_files_of_an_open_index_are_deleted(
    data: Path, clock: ManualClock, names: tuple[str, ...]
) -> None:
    """Cause: SQLite went on with a WAL that nobody else sees; whoever opened the index anew met none, and orders and
    searches were refused until a restart."""
    stores = [await opened(data, clock), await opened(data, clock)]
    for number in range(3):
        await deliver(stores[0], MAIRIE, number)
    inboxes = [await inbox_of(store) for store in stores]
    for name in names:
        (data / ACCOUNT / name).unlink()
    everyone, seen = [1, 2, 3], list[int]()
    for turn in range(2):
        for store, inbox in zip(stores, inboxes, strict=True):
            everyone.append((await deliver(store, MAIRIE, 10 + len(everyone))).uid)
            for other in inboxes:
                assert [row.uid for row in await all_rows(other)] == everyone
                assert (await other.snapshot()).messages == len(everyone)
                reverse = [SortCriterion(SortKey.SUBJECT, reverse=bool(turn))]
                assert sorted(await other.sort(everyone, reverse)) == everyone
                assert list(await other.search_field(WHOLE, "SUBJECT", "Demande")) == everyone
                assert list(await other.search_text(WHOLE, "Bonjour", body_only=False)) == everyone
            await inbox.store_flags(((everyone[-1], everyone[-1]),), add=Flag.SEEN)
            seen.append(everyone[-1])
            assert [row.uid for row in await all_rows(inboxes[0], Column.NONE) if row.flags] == seen
    assert await stores[0].verify(None) == []
    for store in stores:
        await store.close()


async def test_what_is_known_to_be_there_costs_a_look_at_the_directory_alone(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opened(data, clock)
    await deliver(store, MAIRIE, 1)
    handle = (await store._open_accounts.use(MAIRIE)).handle
    looks, real = 0, Index._files

    def counted(self: Index) -> tuple[tuple[int, int] | None, ...]:
        nonlocal looks
        looks += 1
        return real(self)

    monkeypatch.setattr(Index, "_files", counted)
    for _ in range(3):
        assert handle.is_current()
    assert looks == 3  # so soon after a change another could give the directory the same time
    clock.advance(2 * TICK)
    assert handle.is_current()
    looks = 0
    assert handle.is_current()
    assert looks == 0
    time = (data / ACCOUNT).stat().st_mtime_ns
    (data / ACCOUNT / SHARED_FILES[1]).unlink()
    os.utime(data / ACCOUNT, ns=(time, time))  # as whoever copies a directory over ours sets it
    assert not handle.is_current()
    await store.close()


def test_f157_index_files_are_deleted_again_and_again_under_two_processes(data: Path) -> None:
    """Cause: they went while an account was opened, one by one, and it was refused."""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    program = Path(__file__).parent / "losing.py"
    running = [
        subprocess.Popen(
            [sys.executable, str(program), str(data), str(seed), str(SECONDS)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for seed in (1_000, 50_000)
    ]
    told: list[str] = []
    try:
        assert [each.stdout.readline() for each in running if each.stdout] == ["ready\n"] * 2
        end, turn = time.monotonic() + SECONDS, 0
        while time.monotonic() < end:
            for name in sorted(path.name for path in (data / ACCOUNT).glob("index*"))[turn % 4 :]:
                (data / ACCOUNT / name).unlink(missing_ok=True)
                time.sleep(0.002 * (turn % 3))
            turn += 1
            time.sleep(0.25)
        for each in running:
            told += each.communicate(timeout=60)[0].splitlines()
    finally:
        for each in running:
            each.kill()
            each.wait()
            if each.stdout:
                each.stdout.close()
    assert [line for line in told if line.startswith("refused")] == []
    done = [line.split() for line in told if line.startswith("done")]
    assert len(done) == 2, "\n".join(told[-40:])
    assert all(rounds == delivered for _, rounds, delivered in done)
    assert len(os.listdir(data / ACCOUNT / "cur")) == sum(int(delivered) for _, _, delivered in done)
