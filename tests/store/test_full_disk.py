"""Disks that are full, fail or refuse a call: refused with nothing kept, and nobody else harmed (faults 149-153)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from core.errors import InvalidError, StorageError
from store.fsops import FileSystem
from store.lockfile import AccountLock, State, Word
from store.service import MaildirStore
from store.transaction import Transaction
from store.types import Flag, Placement, Uid
from store.writer import Writer
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
    with_floors_raised,
)


async def held_up(writer: Writer) -> tuple[threading.Event, asyncio.Task[bool]]:
    """A batch of its own that has begun and goes on at a sign: what is asked for meanwhile shares the next one."""
    begun, gate = threading.Event(), threading.Event()

    def wait(_: Transaction) -> bool:
        begun.set()
        return gate.wait(60)

    blocked = asyncio.create_task(writer.submit(wait))
    assert await asyncio.to_thread(begun.wait, 60)
    return gate, blocked


async def test_f149_a_foreign_file_survives_a_commit_that_fails(store: MaildirStore, data: Path) -> None:
    """Its original goes only when its copy is committed: else undoing the copy would lose the message."""
    inbox = await inbox_of(store)
    await inbox.snapshot()
    dropped = data / "domains/mairie.test/maire/new/1790000000.M1P2.autre"
    dropped.write_bytes(mail(1))
    heal = fail_commits(store)
    with pytest.raises(StorageError):
        await inbox.snapshot()
    heal()
    await deliver(store, MAIRIE, 2)  # the next writer looks where the failed one was
    rows = await all_rows(inbox)
    assert sorted([await read(inbox, row.uid) for row in rows]) == [mail(1), mail(2)]
    assert not dropped.exists()
    assert await store.verify(None) == []


async def test_f152_a_sync_that_fails_in_one_operation_fails_its_batch(data: Path) -> None:
    """A move syncs the directory that holds a delivery's name, too: both count as lost."""
    disk = FailingDisk()
    store, inbox = await with_floors_raised(disk, data)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    staged = await store.stage(b"", content(3), first=MAIRIE)
    gate, blocked = await held_up(entry.writer)
    delivery = asyncio.create_task(staged.deliver(MAIRIE, Placement("Trash")))
    await asyncio.sleep(0)
    moving = asyncio.create_task(inbox.move([(1, 1)], "Trash"))
    await asyncio.sleep(0)
    real, failed = disk.sync, False

    def sync(fd: int) -> None:
        nonlocal failed
        path = os.readlink(f"/proc/self/fd/{fd}")
        if path.endswith(".Trash/cur") and not failed:
            failed = True
            raise OSError(5, "Input/output error")
        FileSystem.sync(disk, fd)

    disk.sync = sync  # type: ignore[method-assign]  # a fault
    gate.set()
    await blocked
    answers = await asyncio.gather(delivery, moving, return_exceptions=True)
    disk.sync = real  # type: ignore[method-assign]  # healed
    assert failed
    assert [type(answer) for answer in answers] == [StorageError, StorageError]
    assert len(await all_rows(await inbox_of(store, name="Trash"))) == 1
    assert [row.uid for row in await all_rows(inbox)] == [1]
    async with staged:
        pass
    assert await store.verify(None) == []
    await store.close()


async def test_f152_what_was_refused_alone_is_synced_though_its_batch_fails_later(data: Path) -> None:
    """Cause: the sync of what it took back was left to the batch, which gave up at the first that failed: a power loss
    could bring back what was refused."""
    disk = FailingDisk()
    store = MaildirStore(data, fs=disk)
    await store.open()
    await deliver(store, MAIRIE, 1)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    (name,) = [path.name for path in cur(data, MAIRIE)]
    done: list[str] = []

    def linked(transaction: Transaction, folder: str, *, refused: bool) -> None:
        inbox, target = transaction.named("INBOX"), transaction.named(folder)
        assert inbox is not None
        assert target is not None
        transaction.link(transaction.cur(inbox), name, target, "essai")
        if refused:
            raise InvalidError("refused", code="refused")

    def sync(fd: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{fd}")).parent.name)
        if len(done) == 1:
            raise OSError(5, "Input/output error")
        FileSystem.sync(disk, fd)

    gate, blocked = await held_up(entry.writer)
    works = [partial(linked, folder="Trash", refused=True), partial(linked, folder="INBOX", refused=False)]
    tasks = [asyncio.create_task(entry.writer.submit(work)) for work in works]
    await asyncio.sleep(0)
    real, disk.sync = disk.sync, sync  # type: ignore[method-assign]  # a fault
    gate.set()
    await asyncio.gather(blocked, *tasks, return_exceptions=True)
    disk.sync = real  # type: ignore[method-assign]  # healed
    assert [type(task.exception()) for task in tasks] == [StorageError, StorageError]
    assert set(done[1:]) == {".Trash", "maire"}
    await store.close()


async def test_f151_a_lock_word_that_cannot_be_written_after_the_commit_is_no_refusal(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed is visible: to answer an error then would bring the message twice (promise P2)."""
    await deliver(store, MAIRIE, 1)
    write = AccountLock.write

    def failing(self: AccountLock, word: Word, *, sync: bool = False, published: bytes = b"") -> None:
        if word.state is State.IDLE:
            raise OSError(5, "Input/output error")
        write(self, word, sync=sync, published=published)

    monkeypatch.setattr(AccountLock, "write", failing)
    assert (await deliver(store, MAIRIE, 2)).uid == 2
    monkeypatch.undo()
    assert (await deliver(store, MAIRIE, 3)).uid == 3
    assert [row.uid for row in await all_rows(await inbox_of(store))] == [1, 2, 3]
    assert await store.verify(None) == []


async def test_f151_a_rename_that_failed_is_not_completed_by_the_next_recovery(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await store.account(MAIRIE)
    await account.create("A/B")
    real = FileSystem.rename

    def failing(self: FileSystem, source: int, name: str, target: int, new: str) -> None:
        if new == ".Z.B":
            raise OSError(5, "Input/output error")
        real(self, source, name, target, new)

    monkeypatch.setattr(FileSystem, "rename", failing)
    with pytest.raises(StorageError):
        await account.rename("A", "Z")
    monkeypatch.undo()
    await store.rebuild(None)
    names = [folder.name for folder in await account.folders()]
    assert "A/B" in names
    assert "Z/B" not in names


@pytest.mark.parametrize("countdown", range(1, 12))
async def test_f152_a_folder_change_whose_sync_fails_did_not_happen(data: Path, countdown: int) -> None:
    disk = FailingDisk()
    store = MaildirStore(data, fs=disk)
    await store.open()
    account = await store.account(MAIRIE)
    await account.create("A")
    await account.append([(content(1), Placement("A"))])
    changes: list[tuple[Callable[[], Awaitable[object]], str, bool]] = [
        (lambda: account.delete("A"), "A", True),
        (lambda: account.create("Neuf"), "Neuf", False),
    ]
    for change, name, before in changes:
        disk.countdown = countdown
        with contextlib.suppress(StorageError):
            await change()
            disk.countdown = 0
            continue
        disk.countdown = 0
        assert (name in [folder.name for folder in await account.folders()]) is before
        assert await store.verify(None) == []
        await store.rebuild(None)
        assert (name in [folder.name for folder in await account.folders()]) is before
        await change()
    await store.close()


async def test_f151_a_flag_letter_that_cannot_be_written_leaves_index_and_files_agreed(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        await deliver(store, MAIRIE, number)
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 3)], add=Flag.SEEN)
    real, failures = FileSystem.rename, [2]

    def failing(self: FileSystem, source: int, name: str, target: int, new: str) -> None:
        if ",U=2," in new and failures:
            failures.pop()
            raise OSError(5, "Input/output error")
        real(self, source, name, target, new)

    monkeypatch.setattr(FileSystem, "rename", failing)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    await store._open_accounts.flusher.flush_all()
    await entry.writer.idle()
    assert failures == []
    names = {path.name for path in cur(data, MAIRIE)}
    assert {name for (name,) in entry.handle.reader.all("SELECT name FROM messages")} == names
    await store.flush()
    assert all(path.name.endswith(":2,S") for path in cur(data, MAIRIE))


async def test_f153_a_domain_on_another_file_system_gets_a_file_of_its_own(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.account(VOISIN)
    entry = store._open_accounts.opened(VOISIN)
    assert entry is not None
    entry.handle.device += 1
    async with await store.stage(b"", content(1), first=MAIRIE) as staged:
        for ref in (MAIRIE, VOISIN):
            await staged.deliver(ref, Placement())
    (here,), (there,) = cur(data, MAIRIE), cur(data, VOISIN)
    assert here.stat().st_ino != there.stat().st_ino
    assert here.read_bytes() == there.read_bytes() == mail(1)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EEXIST, errno.ENOENT])
async def test_f153_a_link_that_fails_refuses_and_keeps_nothing(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    await deliver(store, MAIRIE, 1)
    before = cur(data, MAIRIE)

    def failing(*_: object) -> None:
        raise OSError(number, "no link")

    for name in ("link", "link_open"):
        monkeypatch.setattr(FileSystem, name, failing)
    with pytest.raises(StorageError) as caught:
        await deliver(store, MAIRIE, 2)
    monkeypatch.undo()
    assert caught.value.code == "storage"
    assert cur(data, MAIRIE) == before
    assert await store.verify(None) == []
    await deliver(store, MAIRIE, 2)
    assert [await read(await inbox_of(store), row.uid) for row in await all_rows(await inbox_of(store))] == [
        mail(1),
        mail(2),
    ]


async def deliver_long(store: MaildirStore) -> None:
    spool = store.spool(limit=1_000_000)
    try:
        await spool.write(b"Subject: x\r\n\r\n" + b"x" * 300_000)
        async with await store.stage(b"", spool.content(), first=MAIRIE) as staged:
            await staged.deliver(MAIRIE, Placement())
    finally:
        await spool.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["nameless", "scratch", "link_open", "reserve", "write"])
async def test_f150_no_inode_and_no_quota_are_told_as_a_full_disk(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    await deliver(store, MAIRIE, 1)

    def failing(*_: object) -> None:
        raise OSError(number, "full")

    monkeypatch.setattr(FileSystem, call, failing)
    with pytest.raises(StorageError) as caught:
        await deliver_long(store)
    inbox = await inbox_of(store)
    assert await read(inbox, 1) == mail(1)
    monkeypatch.undo()
    assert caught.value.code == "storage-full"
    assert len(cur(data, MAIRIE)) == 1
    assert (await deliver(store, MAIRIE, 2)).uid == 2


async def test_h041_the_declared_size_is_reserved_before_it_arrives(store: MaildirStore) -> None:
    """Many long messages at once are told early that the disk is too small for all of them."""
    reserved: list[tuple[int, int]] = []
    store._fs.reserve = lambda fd, start, size: reserved.append((start, size))  # type: ignore[method-assign]  # watched
    spool = store.spool(limit=60_000_000, declared=50_000_000)
    await spool.write(b"x" * 300_000)
    await spool.close()
    assert sum(size for _, size in reserved) == 50_000_000

    def full(fd: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    store._fs.reserve = full  # type: ignore[method-assign]  # watched
    spool = store.spool(limit=60_000_000, declared=50_000_000)
    with pytest.raises(StorageError) as caught:
        await spool.write(b"x" * 300_000)
    await spool.close()
    assert caught.value.code == "storage-full"


async def test_f153_what_a_failed_making_left_is_no_folder(data: Path) -> None:
    """A folder that could not be made, on a disk that did not let its remains be removed either: nobody takes them for
    a folder, and the next recovery sweeps them."""
    store = MaildirStore(data)
    await store.open()
    await inbox_of(store)
    account = data / "domains/mairie.test/maire"
    left = account / ".new.0123456789abcdefghjk"
    shutil.copytree(account / ".Sent", left)
    assert await store.verify(None) == []
    await store.close()
    (account / "index.db").unlink()
    again = MaildirStore(data)
    await again.open()
    await inbox_of(again)
    assert not left.exists()
    assert await again.verify(None) == []
    await again.close()


@pytest.mark.parametrize("moved", [False, True], ids=["EXPUNGE", "MOVE"])
@pytest.mark.parametrize("change", ["delete", "rename", "rename and create"])
async def test_f149_a_folder_renamed_or_deleted_in_a_batch_that_fails_has_its_name_and_mail_back(
    store: MaildirStore, change: str, moved: bool
) -> None:
    """Cause: the journal was looked for where it had been written, while the folder's directory lay elsewhere: its line
    could not be cut off, and nothing else was taken back."""
    account = await store.account(MAIRIE)
    await account.create("D")
    await account.append([(content(1), Placement("D"))])
    mailbox = await account.mailbox("D")
    before = [folder.name for folder in await account.folders()]
    heal = fail_commits(store)
    asked: list[Awaitable[object]] = [
        mailbox.move([(1, 1)], "INBOX") if moved else mailbox.expunge([(1, 1)], only_deleted=False),
        account.delete("D") if change == "delete" else account.rename("D", "Z"),
    ]
    if change == "rename and create":
        asked.append(account.create("D"))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StorageError}
    heal()
    await deliver(store, MAIRIE, 2)  # the next writer looks where the failed one was
    assert [folder.name for folder in await account.folders()] == before
    assert await read(await account.mailbox("D"), Uid(1)) == mail(1)
    assert len(await all_rows(await inbox_of(store))) == 1
    assert await store.verify(None) == []
