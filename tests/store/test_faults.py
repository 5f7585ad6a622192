"""Processes killed at chosen system calls, several at once, a full disk, failing syncs (faults 144-164).

A smoke of the torture: what was acknowledged is there, once, whole; the rest may be there once.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import apsw
import pytest

from core.clock import SystemClock
from core.errors import StorageError
from core.status import accepted
from delivery.queue.queue import Queue
from delivery.types import Result, ResultKind
from message.content import BytesContent
from store.service import THREADS, MaildirStore, initialise
from store.store import Mailbox
from store.types import AccountRef, Flag, Placement, Recycled, Uid
from tests.delivery.queue_alone import everything, judge, new
from tests.fakes.mail import content, mail
from tests.store.helpers import (
    MAIRIE,
    VOISIN,
    FailingDisk,
    all_rows,
    cur,
    deliver,
    fail_commits,
    inbox_of,
    read,
    refs_in_tmp,
    with_floors_raised,
)

pytestmark = pytest.mark.faults
ROOT = Path(__file__).resolve().parents[2]
BURST = [sys.executable, str(ROOT / "tests/store/burst.py")]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def burst(data: Path, seed: int, count: int, *wrapper: str) -> str:
    """Run the burst to its end or death; what it said."""
    command = [*wrapper, *BURST, str(data), str(seed), str(count)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=100, check=False)
    return done.stdout


def acknowledged(said: str) -> set[tuple[str, int]]:
    lines = (line.split() for line in said.splitlines())
    return {(words[1], int(words[2])) for words in lines if words[0] == "ok"}


async def found(store: MaildirStore, ref: AccountRef) -> Counter[int]:
    """How often each message is in the account, over all folders; every body must be whole."""
    counts: Counter[int] = Counter()
    account = await store.account(ref)
    for folder in await account.folders():
        mailbox = await account.mailbox(folder.name)
        uids = [row.uid for row in await all_rows(mailbox)]
        assert uids == sorted(set(uids))
        for uid in uids:
            counts[await number_of(mailbox, uid)] += 1
    return counts


async def number_of(mailbox: Mailbox, uid: Uid) -> int:
    data = await read(mailbox, uid)
    number = int(data.split(b"corps-")[1].split()[0])
    assert data == mail(number, body=f"corps-{number}"), "a message is not whole"
    return number


@contextlib.asynccontextmanager
async def opened(data: Path) -> AsyncIterator[MaildirStore]:
    store = MaildirStore(data)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    initialise(tmp_path / "data")
    return tmp_path / "data"


STRACE = ["strace", "-f", "-q", "--seccomp-bpf", "-o", "/dev/null", "-e"]


# `when` counts in each thread by itself, and several share the syncs.
async def nothing_lost(store: MaildirStore, said: str) -> None:
    for ref in (MAIRIE, VOISIN):
        counts = await found(store, ref)
        wanted = {number for local, number in acknowledged(said) if local == ref.local}
        assert wanted <= counts.keys()
        # a killed move may leave one message twice; a killed delivery may be there once
        assert sum(counts.values()) - len(counts) <= 1
        assert len(counts.keys() - wanted) <= 1
    assert await store.verify(None) == []


KILLS = [("linkat", 7), ("linkat", 12), ("fsync", 3), ("fdatasync", 1), ("pwrite64", 80), ("pwrite64", 240)]


@pytest.mark.parametrize(("call", "count"), KILLS)
async def test_f144_a_kill_at_a_system_call_loses_nothing_acknowledged(disk: Path, call: str, count: int) -> None:
    said = burst(disk, 100, 12, *STRACE, f"inject={call}:signal=KILL:when={count}")
    assert "done" not in said
    async with opened(disk) as store:
        await nothing_lost(store, said)


async def test_f145_a_redelivery_after_a_kill_makes_no_duplicate(disk: Path) -> None:
    burst(disk, 1, 12, *STRACE, "inject=linkat:signal=KILL:when=8")
    said = burst(disk, 1, 12)  # everything again, as a queue would
    async with opened(disk) as store:
        for ref in (MAIRIE, VOISIN):
            assert await found(store, ref) == Counter(range(1, 13))
    assert len(acknowledged(said)) == 24


async def test_f164_processes_at_once_on_the_same_mailboxes(disk: Path) -> None:
    """SQLite alone would keep the rows in order. Without the account's lock they meet each other's words, which are
    then taken for those of a dead writer: the one that is killed leaves two at most, in either mailbox."""
    commands = [[*BURST, str(disk), str(1000 * seed), "15"] for seed in (1, 2, 3)]
    running = [subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) for command in commands]
    killed = running[2]
    assert killed.stdout is not None
    lines = [killed.stdout.readline() for _ in range(20)]
    killed.kill()
    said = "".join(lines) + killed.stdout.read()  # communicate() passes over what readline() has read ahead
    killed.stdout.close()
    killed.wait(60)
    said += "".join(process.communicate(timeout=60)[0] for process in running[:2])
    async with opened(disk) as store:
        await nothing_lost(store, said)
    assert len(acknowledged(said)) >= 60
    assert said.count("store-recovery") <= 2
    assert "trust=rows" not in said


# -- failing disks -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(mount: Path, megabytes: int) -> Iterator[Path]:
    """A file system of that size, with a store. Mounting needs root, which the machine of the tests gives."""
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(mount)], check=True)
    try:
        initialise(mount / "data")
        yield mount / "data"
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "small", 6) as data:
        yield data


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "roomy", 160) as data:
        yield data


def fill(path: Path) -> None:
    """A file that takes all the space there is."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    with contextlib.suppress(OSError):
        while True:
            os.write(fd, b"x" * 4096)
    os.close(fd)


async def _fill_with_mail(store: MaildirStore) -> None:
    for number in range(2000):
        whole = BytesContent(mail(number, size=4096 if number % 7 else 60_000))
        async with await store.stage(b"", whole, first=MAIRIE) as staged:
            await staged.deliver(MAIRIE, Placement())


async def test_f149_a_full_disk_refuses_exactly_and_recovers_by_itself(small: Path) -> None:
    async with opened(small) as store:
        await deliver(store, MAIRIE, 1)
        inbox = await inbox_of(store)
        filler = small / "filler"
        fill(filler)
        big = BytesContent(mail(2, size=200_000))
        with pytest.raises(StorageError) as refused:
            async with await store.stage(b"", big, first=MAIRIE) as staged:
                await staged.deliver(MAIRIE, Placement())
        assert refused.value.code == "storage-full"
        spool = store.spool(limit=9_000_000, declared=5_000_000)
        with pytest.raises(StorageError) as refused:
            await spool.write(b"x" * 300_000)
        assert refused.value.code == "storage-full"
        await spool.close()
        assert await read(inbox, 1) == mail(1)
        assert (await inbox.snapshot()).messages == 1
        assert refs_in_tmp(small) == 0
        filler.unlink()
        appended = await deliver(store, MAIRIE, 3)
        assert appended.uid == 2
        assert await store.verify(None) == []


async def test_f149_a_disk_that_mail_has_filled_lets_mail_be_removed(small: Path) -> None:
    """Cause: mail took the last block, and a removal, which writes a line and rows first, was refused like it."""
    async with opened(small) as store:
        inbox = await inbox_of(store)
        with pytest.raises(StorageError) as refused:
            await _fill_with_mail(store)
        assert refused.value.code == "storage-full"
        spool = store.spool(limit=9_000_000, declared=5_000_000)
        with pytest.raises(StorageError):
            await spool.write(b"x" * 300_000)
        await spool.close()
        account = await store.account(MAIRIE)
        before = (await inbox.snapshot()).messages
        assert len((await inbox.move([(1, 20)], "Trash")).pairs) == 20
        await account.create("Archives")
        assert len((await inbox.copy([(21, 30)], "Archives")).pairs) == 10
        await account.rename("Archives", "Anciens")
        await account.delete("Anciens")
        await inbox.expunge([(21, 2000)], only_deleted=False)
        assert before > 60
        assert (await inbox.snapshot()).messages == 0
        await store.flush()
        await deliver(store, MAIRIE, 5000)
        assert await store.verify(None) == []


async def test_f149_what_others_put_into_a_folder_is_taken_in_on_a_disk_that_mail_has_filled(small: Path) -> None:
    """Cause: its copy was refused like new mail, and with it the look at the folder and each change after it."""
    async with opened(small) as store:
        inbox = await inbox_of(store)
        with pytest.raises(StorageError):
            await _fill_with_mail(store)
        before = (await inbox.snapshot()).messages
        folder = small / "domains/mairie.test/maire"
        (folder / "new/1790000000.M1P2.autre").write_bytes(mail(3000))
        (folder / "cur/1790000000.M1P3.autre:2,S").write_bytes(mail(3001))
        assert (await inbox.snapshot()).messages == before + 2
        await inbox.expunge([(1, 20)], only_deleted=False)
        assert (await inbox.snapshot()).messages == before + 2 - 20
        assert await store.verify(None) == []


async def _fill_with_waiting(waits: Queue) -> None:
    for number in range(200):
        await waits.enqueue(new(f"q{number}", "x@away.test", body=mail(number, size=1_000_000)))


async def test_f149_mail_that_waits_in_the_queue_leaves_room_for_removals_and_results(roomy: Path) -> None:
    """Cause: mail for the mailboxes left it, and mail for elsewhere took the last block of the same disk."""
    waits = Queue(roomy.parent / "queue/queue.db", roomy.parent / "run", clock=SystemClock())
    await waits.open()
    async with opened(roomy) as store:
        inbox = await inbox_of(store)
        await deliver(store, MAIRIE, 1)
        with pytest.raises(StorageError) as refused:
            await _fill_with_waiting(waits)
        assert refused.value.code == "queue-full"
        await inbox.expunge([(1, 1)], only_deleted=False)
        assert (await inbox.snapshot()).messages == 0
    [first, *_] = await waits.claim(everything)
    done = Result(first.recipients[0].id, ResultKind.DELIVERED, accepted("taken", "delivered"))
    assert [item.message.queue_id for item in await waits.apply([done], judge)] == [first.message.queue_id]
    await waits.close()


@pytest.mark.parametrize("countdown", [1, 2])
async def test_f152_a_failed_sync_is_final_and_nothing_is_acknowledged(data: Path, countdown: int) -> None:
    disk = FailingDisk()
    store = MaildirStore(data, fs=disk)
    await store.open()
    await deliver(store, MAIRIE, 1)
    disk.countdown = countdown
    with pytest.raises(StorageError):
        await deliver(store, MAIRIE, 2)
    assert store.failed_syncs == 1
    assert len(cur(data, MAIRIE)) == 1
    assert refs_in_tmp(data) == 0
    assert (await deliver(store, MAIRIE, 3)).uid == 2
    inbox = await inbox_of(store)
    disk.countdown = 1
    with pytest.raises(StorageError):
        await inbox.expunge([(1, 1)], only_deleted=False)  # the journal's sync
    assert len(await all_rows(inbox)) == 2
    assert await store.verify(None) == []
    rows = await all_rows(inbox)
    assert await store.rebuild(None) == 2  # the removal that was refused is in no journal
    assert [row.email_id for row in await all_rows(inbox)] == [row.email_id for row in rows]
    await store.close()


@pytest.mark.parametrize("countdown", [1, 2, 3])
async def test_f152_a_move_that_fails_late_keeps_the_message_where_it_was(data: Path, countdown: int) -> None:
    """The syncs of a move: the new names, the removal in the journal; then the commit."""
    disk = FailingDisk()
    store, inbox = await with_floors_raised(disk, data)
    heal = fail_commits(store) if countdown == 3 else lambda: None
    disk.countdown = countdown % 3
    with pytest.raises(StorageError):
        await inbox.move([(1, 1)], "Trash")
    heal()
    await store.flush()
    for _ in range(2):
        assert [row.uid for row in await all_rows(inbox)] == [1]
        assert len(await all_rows(await inbox_of(store, name="Trash"))) == 1
        assert await read(inbox, 1) == mail(1)
        await store.rebuild(None)
    await store.close()


async def test_f149_a_folder_change_that_cannot_be_committed_did_not_happen(store: MaildirStore, data: Path) -> None:
    account = await store.account(MAIRIE)
    await account.create("A/B")
    await account.append([(content(1), Placement("A"))])
    before = list(await account.folders())
    heal = fail_commits(store)
    for change in (account.delete("A"), account.rename("A", "Z"), account.create("Neuf/Dossier")):
        with pytest.raises(StorageError):
            await change
    heal()
    assert [folder.id for folder in await account.folders()] == [folder.id for folder in before]
    await store.rebuild(None)
    assert [folder.name for folder in await account.folders()] == [folder.name for folder in before]
    assert await read(await account.mailbox("A"), 1) == mail(1)
    assert [path.name for path in (data / "recycle/acc1").iterdir()] == ["beffroi-account"]


async def test_f157_damage_met_while_reading_is_healed(store: MaildirStore) -> None:
    await deliver(store, MAIRIE, 1)
    await store.flush()
    inbox = await inbox_of(store)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None

    def damaged(sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        raise apsw.CorruptError("malformed")

    entry.handle.reader.all = damaged  # type: ignore[method-assign]  # a fault
    assert [row.uid for row in await all_rows(inbox)] == [1]
    assert await read(inbox, 1) == mail(1)


async def test_h110_a_flag_change_never_overwrites_a_copy_made_by_hand(store: MaildirStore, data: Path) -> None:
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    (path,) = cur(data, MAIRIE)
    path.with_name(path.name + "S").write_bytes(mail(9))
    await inbox.store_flags([(1, 1)], add=Flag.SEEN)
    await store.flush()
    bodies = [await read(inbox, row.uid) for row in await all_rows(inbox)]
    assert bodies == [mail(1), mail(9)]


async def test_f152_a_batch_fails_together_and_each_caller_is_told(data: Path) -> None:
    disk = FailingDisk()
    store = MaildirStore(data, fs=disk)
    await store.open()
    account = await store.account(MAIRIE)
    await account.append([(content(0), Placement())])
    staged = [await store.stage(b"", content(number), first=MAIRIE) for number in range(1, 9)]
    disk.countdown = 1
    answers = await asyncio.gather(*(item.deliver(MAIRIE, Placement()) for item in staged), return_exceptions=True)
    failed = [item for item in answers if isinstance(item, StorageError)]
    assert failed
    assert len(await all_rows(await inbox_of(store))) == 1 + len(answers) - len(failed)
    assert len(cur(data, MAIRIE)) == 1 + len(answers) - len(failed)
    for item in staged:
        async with item:
            pass
    await store.close()


async def test_f151_short_writes_are_completed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_write = os.pwrite
    store = MaildirStore(data)
    await store.open()
    monkeypatch.setattr(os, "pwrite", lambda fd, octets, offset: whole_write(fd, bytes(octets)[:700], offset))
    async with await store.stage(b"", BytesContent(mail(1, size=5000)), first=MAIRIE) as staged:
        await staged.deliver(MAIRIE, Placement())
    monkeypatch.undo()
    assert await read(await inbox_of(store), 1) == mail(1, size=5000)
    await store.close()


async def test_f156_a_writer_that_never_ends_costs_a_refusal_not_a_hang(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(store, MAIRIE, 1)
    monkeypatch.setattr("store.writer.PATIENCE", 0.2)
    staged = await store.stage(b"", content(2), first=MAIRIE)
    with (data / "domains/mairie.test/maire/beffroi.lock").open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StorageError) as refused:
            await staged.deliver(MAIRIE, Placement())
        assert refused.value.code == "storage-busy"
        assert await read(await inbox_of(store), 1) == mail(1)  # reading goes on
    async with staged:
        pass
    await deliver(store, MAIRIE, 3)
    assert (await (await store.account(MAIRIE)).usage())[1] == 2  # what was refused never came


CROWD = [AccountRef(f"A{number}", "O1", "foule.test", f"n{number}") for number in range(THREADS + 1)]


def keep(stack: ExitStack, data: Path, refs: Sequence[AccountRef]) -> None:
    """As a process does that was stopped in the middle of a write."""
    for ref in refs:
        file = stack.enter_context((data / "domains" / ref.domain / ref.local / "beffroi.lock").open("rb+"))
        fcntl.flock(file, fcntl.LOCK_EX)


async def refused_as_busy(work: Awaitable[object]) -> bool:
    with pytest.raises(StorageError) as refused:
        await work
    return refused.value.code == "storage-busy"


async def test_f156_more_locks_kept_than_there_are_threads_keep_nobody_else_from_his_mail(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.writer.IN_THREAD", 0.05)
    for ref in (MAIRIE, *CROWD):
        await deliver(store, ref, 1)
    inboxes = [await inbox_of(store, ref) for ref in CROWD]
    other = await inbox_of(store)
    with ExitStack() as stack:
        keep(stack, data, CROWD)
        waiting = [asyncio.create_task(inbox.store_flags([(1, 1)], add=Flag.SEEN)) for inbox in inboxes]
        async with asyncio.timeout(20):
            for flag in (Flag.SEEN, Flag.FLAGGED, Flag.ANSWERED):
                await other.store_flags([(1, 1)], add=flag)
        assert not any(task.done() for task in waiting)
    async with asyncio.timeout(20):
        await asyncio.gather(*waiting)  # let go in time: nobody was refused


async def test_f156_an_account_whose_lock_is_kept_is_not_opened_for_ever(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("IN_THREAD", 0.05), ("OPEN_AGAIN", 0.01), ("WAIT", 0.3)):
        monkeypatch.setattr(f"store.accounts.{name}", value)
    async with asyncio.timeout(20):
        store = MaildirStore(data)
        await store.open()
        for ref in CROWD:
            await deliver(store, ref, 1)
        await store.close()
        store = MaildirStore(data)
        await store.open()
        with ExitStack() as stack:
            keep(stack, data, CROWD)
            opening = [asyncio.create_task(refused_as_busy(inbox_of(store, ref))) for ref in CROWD]
            await deliver(store, MAIRIE, 1)
            assert all(await asyncio.gather(*opening))
        await inbox_of(store, CROWD[0])
        await store.close()


@pytest.mark.parametrize("what", ["remove", "give back", "adopt"])
async def test_f156_what_administrators_do_with_kept_accounts_takes_no_thread(
    data: Path, monkeypatch: pytest.MonkeyPatch, what: str, tmp_path: Path
) -> None:
    """Cause: each of them kept a worker thread for half a minute, and six of them all mail."""
    for name, value in (("IN_THREAD", 0.05), ("OPEN_AGAIN", 0.01), ("WAIT", 600.0), ("CLOSE_WAIT", 0.05)):
        monkeypatch.setattr(f"store.accounts.{name}", value)
    store = MaildirStore(data)
    await store.open()
    for ref in CROWD:
        await store.account(ref)
    for folder in ("cur", "new", "tmp"):
        (tmp_path / "theirs" / folder).mkdir(parents=True)
    administration = store.administration
    item = Recycled("x", "A", "O1", "n@foule.test", "", 0, 1, 1)
    work: dict[str, Callable[[AccountRef], Awaitable[object]]] = {
        "remove": store.remove_account,
        "give back": lambda ref: administration.give_back(ref, item),
        "adopt": lambda ref: administration.adopt(ref, tmp_path / "theirs", finish=True),
    }
    monkeypatch.setattr("store.recycle.entry", lambda *_: contextlib.nullcontext())
    async with asyncio.timeout(20):
        with ExitStack() as stack:
            keep(stack, data, CROWD)
            asked = [asyncio.create_task(refused_as_busy(work[what](ref))) for ref in CROWD]
            await asyncio.sleep(0.1)
            for number in range(3):
                await deliver(store, VOISIN, number)
            assert not any(task.done() for task in asked)
            for task in asked:
                task.cancel()
            await asyncio.wait(asked)
            monkeypatch.setattr("store.accounts.WAIT", 0.3)
            assert all(await asyncio.gather(*(refused_as_busy(work[what](ref)) for ref in CROWD)))
    await store.close()


async def test_f156_verify_and_rebuild_tell_of_kept_accounts_and_do_the_others(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("IN_THREAD", 0.05), ("OPEN_AGAIN", 0.01), ("WAIT", 0.3)):
        monkeypatch.setattr(f"store.accounts.{name}", value)
    store = MaildirStore(data)
    await store.open()
    for ref in (MAIRIE, VOISIN):
        await deliver(store, ref, 1)
    async with asyncio.timeout(20):
        with ExitStack() as stack:
            keep(stack, data, [MAIRIE])
            assert await store.verify(None) == ["maire@mairie.test: the mailbox is busy"]
            with pytest.raises(StorageError, match=r"^maire@mairie\.test: the mailbox is busy$"):
                await store.rebuild(None)
        assert await store.verify(None) == []
        assert await store.rebuild(None) == 2
    await store.close()


async def test_f156_an_account_that_is_kept_when_its_octets_are_to_be_counted_counts_later(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: whoever delivered to anybody of the organisation waited for it, half a minute for each."""
    monkeypatch.setattr("store.sums.KEPT", 0.0)
    store = MaildirStore(data)
    await store.open()
    await deliver(store, MAIRIE, 1)
    await store.close()
    (data / "domains/mairie.test/maire/beffroi.lock").write_bytes(b"")  # never published
    store = MaildirStore(data)
    await store.open()
    with ExitStack() as stack:
        keep(stack, data, [MAIRIE])
        async with asyncio.timeout(5):
            assert await store.administration.organisation_octets("org1") == 0
    store._open_accounts.sums._until = 0.0
    assert await store.administration.organisation_octets("org1") == len(mail(1))
    await store.close()
