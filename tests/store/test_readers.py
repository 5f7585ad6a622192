"""A rebuild that reads messages in other processes comes to what one process comes to, also when they die."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.clock import ManualClock
from core.config import Limits
from message import facts
from message.content import Content
from message.facts import Facts
from store import catching_up, readers, unscanned
from store.readers import Answer, Readers
from store.records import Prepared
from store.service import MaildirStore
from store.transaction import Transaction
from store.types import Column, Message, SortCriterion, SortKey
from tests.store.helpers import MAIRIE, WHOLE, all_rows, cur, deliver, inbox_of
from tests.store.picture import delete, opened

COUNT = 130


async def test_processes_read_ahead_and_may_die(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "LEAST", 10)
    monkeypatch.setattr(readers, "TOGETHER", 10)
    answers: list[bool] = []
    real = Readers.read

    def killing(self: Readers, directory: str, names: Sequence[str]) -> Iterator[Answer]:
        for count, (name, prepared) in enumerate(real(self, directory, names)):
            answers.append(prepared is not None)
            if count == 60 and self._pool is not None:
                for pid in list(self._pool._processes):
                    os.kill(pid, signal.SIGKILL)
            yield name, prepared

    monkeypatch.setattr(Readers, "read", killing)
    store = MaildirStore(data, clock=clock)
    await store.open()
    for number in range(COUNT):
        await deliver(store, MAIRIE, number)
    inbox = await inbox_of(store)
    before = [(row.uid, row.email_id, row.envelope, row.internal_date) for row in await all_rows(inbox)]
    os.truncate(cur(data, MAIRIE)[5], 3)  # not what its name says: adopted as another message
    with capture_logs() as logs:
        assert await store.rebuild(None) == COUNT
    assert [entry["event"] for entry in logs].count("store-reader-died") == 1
    after = [(row.uid, row.email_id, row.envelope, row.internal_date) for row in await all_rows(inbox)]
    assert len(set(before) - set(after)) == 1
    assert len(after) == COUNT
    assert answers[:61] == [True] * 61
    assert len(answers) == COUNT
    await store.close()


async def _unread(data: Path, clock: ManualClock) -> tuple[MaildirStore, Sequence[Message]]:
    """`COUNT` messages whose index was lost, and their rows before that."""
    store = await opened(data, clock)
    for number in range(COUNT):
        await deliver(store, MAIRIE, number)
    before = await all_rows(await inbox_of(store))
    await store.close()
    delete(data)
    store = await opened(data, clock)
    return store, before


async def test_who_waits_for_very_many_has_them_read_by_other_processes_for_as_long(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catching_up, "CHUNK", 40)
    monkeypatch.setattr(catching_up, "WORTH", 100)
    monkeypatch.setattr(catching_up, "TOGETHER", 10)
    store, before = await _unread(data, clock)
    inbox, takes, taken = await inbox_of(store), 0, set[int]()
    real = unscanned.take

    def take(transaction: Transaction, folder_id: str, read: Mapping[int, tuple[str, Prepared | None]]) -> list[int]:
        nonlocal takes
        left = real(transaction, folder_id, read)
        takes += 1
        taken.update(read.keys() - left)  # some by both who wait
        if takes == 2 and (helpers := store._open_accounts._helpers) is not None and helpers._pool is not None:
            for pid in list(helpers._pool._processes):  # they may die
                os.kill(pid, signal.SIGKILL)
        return left

    monkeypatch.setattr(unscanned, "take", take)
    files = {int(path.name.partition("U=")[2].partition(",")[0]): path for path in cur(data, MAIRIE)}
    files[3].unlink()
    files[4].rename(f"{files[4]}F")
    everyone = [uid for uid in range(1, COUNT + 1) if uid != 3]
    found = await asyncio.gather(
        inbox.sort(everyone, [SortCriterion(SortKey.SUBJECT)]), inbox.search_field(WHOLE, "SUBJECT", "Demande")
    )
    assert sorted(found[0]) == list(found[1]) == everyone
    assert 0 < len(taken) < len(everyone)
    assert store._open_accounts._helpers is None
    after = await all_rows(inbox)
    told = [(row.uid, row.email_id, row.thread_id, row.envelope, row.internal_date) for row in after]
    assert told == [
        (row.uid, row.email_id, row.thread_id, row.envelope, row.internal_date) for row in before if row.uid != 3
    ]
    assert await store.verify(None) == []
    await store.close()


def helping(store: MaildirStore) -> bool:
    return store._open_accounts._helpers is not None


async def test_who_is_told_one_after_the_other_has_them_read_a_little_ahead(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catching_up, "SOON", 30)
    monkeypatch.setattr(catching_up, "WORTH", 100)
    monkeypatch.setattr(catching_up, "TOGETHER", 10)
    store, before = await _unread(data, clock)
    inbox, helped = await inbox_of(store), False
    found = list[Message]()
    async for batch in inbox.rows(WHOLE, Column.ENVELOPE | Column.IDS):
        found += batch
        helped = helped or helping(store)
    assert helped
    assert not helping(store)
    assert [(row.uid, row.email_id, row.envelope) for row in found] == [
        (row.uid, row.email_id, row.envelope) for row in before
    ]
    delete(data)
    async for _ in inbox.rows(WHOLE, Column.ENVELOPE):  # who leaves lets them go
        break
    gc.collect()
    async with asyncio.timeout(10):
        while helping(store):
            await asyncio.sleep(0.01)
    await store.close()


async def test_who_comes_while_the_processes_of_another_are_dead_reads_alone(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opened(data, clock)
    accounts, real = store._open_accounts, Readers.start
    monkeypatch.setattr(Readers, "start", lambda _: None)
    async with accounts.helpers() as first:
        assert first is not None
        first._pool = ProcessPoolExecutor(1)
        monkeypatch.setattr(first._pool, "_broken", "killed")  # as its thread notes it
        monkeypatch.setattr(Readers, "start", real)
        with capture_logs() as logs:
            async with accounts.helpers() as second:
                assert second is None
        assert [entry["event"] for entry in logs] == ["store-helpers-missing"]
    assert not helping(store)
    await store.close()


async def test_one_process_of_the_machine_has_others_read_for_it_at_a_time(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: each front, of which there is one for each core, started a process for each core."""
    monkeypatch.setattr(Readers, "start", lambda _: None)
    fronts = [await opened(data, clock) for _ in range(2)]
    async with fronts[0]._open_accounts.helpers() as first, fronts[1]._open_accounts.helpers() as second:
        assert first is not None
        assert second is None
    await fronts[0]._open_accounts._settled()
    async with fronts[1]._open_accounts.helpers() as second, fronts[1]._open_accounts.helpers() as third:
        assert second is third is not None
        async with fronts[0]._open_accounts.helpers() as first:
            assert first is None
    for front in fronts:
        await front.close()


async def test_a_folder_that_has_another_name_by_now_is_read_by_who_waits(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catching_up, "CHUNK", 40)
    monkeypatch.setattr(catching_up, "WORTH", 60)
    monkeypatch.setattr(catching_up, "TOGETHER", 10)
    store = await opened(data, clock)
    for number in range(COUNT):
        await deliver(store, MAIRIE, number)
    await store.close()
    delete(data)
    store = await opened(data, clock)
    real, asked = Readers.begin, list[str]()

    def begin(self: Readers, directory: str, names: Sequence[str]) -> Future[list[Answer]]:
        asked.append(directory)
        return real(self, f"{directory}-renamed", names)

    monkeypatch.setattr(Readers, "begin", begin)
    with ThreadPoolExecutor(2) as pool:  # quicker begun than processes
        monkeypatch.setattr(Readers, "_started", lambda _: pool)
        await _sorted(store)
    assert asked
    await store.close()


async def _sorted(store: MaildirStore) -> None:
    everyone = list(range(1, COUNT + 1))
    found = await (await inbox_of(store)).sort(everyone, [SortCriterion(SortKey.SUBJECT)])
    assert sorted(found) == everyone


async def test_who_waits_for_a_process_that_stands_still_reads_himself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "PATIENCE", 0.01)
    async with asyncio.timeout(10):
        assert await Readers(Limits(), 1).ended(["one"], Future()) == [("one", None)]


async def test_a_process_that_was_stopped_is_waited_for_once_and_ended_all_the_same(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its errands took the whole patience, and its end was waited for without one."""
    before = set(multiprocessing.active_children())
    helpers = Readers(Limits(), 1)
    assert await helpers.ended(["one"], helpers.begin(str(data), ["one"])) == [("one", None)]
    [process] = set(multiprocessing.active_children()) - before
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr(readers, "PATIENCE", 0.05)
    errands = [helpers.begin(str(data), ["one"]) for _ in range(3)]
    for number, errand in enumerate(errands):
        assert await helpers.ended(["one"], errand) == [("one", None)]
        monkeypatch.setattr(readers, "PATIENCE", 60.0 + number)
    async with asyncio.timeout(10):
        assert await helpers.ended(["one"], helpers.begin(str(data), ["one"])) == [("one", None)]
        await asyncio.to_thread(helpers.close)
    assert not process.is_alive()


async def test_who_waits_while_the_processes_are_ended_reads_himself() -> None:
    errand: Future[list[Answer]] = Future()
    errand.cancel()
    assert await Readers(Limits(), 1).ended(["one"], errand) == [("one", None)]


def test_what_a_reader_stumbles_over_costs_that_message_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(content: Content, limits: Limits) -> Facts:
        if content.size == 3:
            raise RecursionError
        return real(content, limits)

    real = facts.gather
    monkeypatch.setattr(facts, "gather", gather)
    (data / "odd").write_bytes(b"one")
    (data / "fine").write_bytes(b"Subject: two\r\n\r\n")
    odd, fine = readers.read_some(str(data), ["odd", "fine"], Limits())
    assert odd == ("odd", None)
    assert fine[1] is not None


def test_ended_processes_are_not_started_again_by_who_still_waits(data: Path) -> None:
    ended = list[bool]()
    helpers = Readers(Limits(), 1, ended=lambda: ended.append(True))
    helpers.close()
    assert list(helpers.read(str(data), ["one"])) == [("one", None)]
    assert helpers._pool is None
    assert ended == [True]


def test_a_process_that_reads_for_another_ends_with_it(data: Path) -> None:
    """Cause: it waits in a queue whose other end it holds itself, and would wait for ever."""
    script = (
        "import os, signal\n"
        "from core.config import Limits\n"
        "from store.readers import Readers\n"
        "if __name__ == '__main__':\n"
        "    readers = Readers(Limits(), 1, behind=True)\n"
        "    readers.read_some = list(readers.read('/', ['nothing']))\n"
        "    print(*readers._pool._processes, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = data / "script.py"
    path.write_text(script)
    told = subprocess.run(
        [sys.executable, str(path)], env={"PYTHONPATH": os.getcwd()}, capture_output=True, text=True, timeout=60
    ).stdout
    pid = int(told)
    for _ in range(1000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("it is still there")
