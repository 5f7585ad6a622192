"""What is done behind the answers, on a disk that fails or is full: nothing is given up for what is not kept yet."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

from core.clock import ManualClock
from core.errors import StorageError
from store import journal
from store.flush import flush
from store.fsops import FileSystem
from store.service import MaildirStore
from store.store import Mailbox
from store.types import Flag, Uid
from tests.fakes.mail import mail
from tests.store.helpers import MAIRIE, all_rows, cur, deliver, fail_commits, inbox_of, read
from tests.store.picture import delete, opened


@pytest.mark.parametrize("moved", [False, True], ids=["EXPUNGE", "MOVE"])
async def test_f149_what_a_refused_removal_named_is_there_though_its_batch_was_to_unlink(
    store: MaildirStore, data: Path, moved: bool
) -> None:
    """Cause: a flush in one batch with a removal unlinked its files before the commit, which failed: who was refused
    had lost the message, a moved one under both names."""
    for number in (1, 2):
        await deliver(store, MAIRIE, number)
    await store.flush()
    inbox, entry = await inbox_of(store), store._open_accounts.opened(MAIRIE)
    assert entry is not None
    heal = fail_commits(store)
    removal = inbox.move([(1, 1)], "Trash") if moved else inbox.expunge([(1, 1)], only_deleted=False)
    removing = asyncio.ensure_future(removal)
    flushing = asyncio.ensure_future(entry.writer.submit(flush, durable=True))
    answers = await asyncio.gather(removing, flushing, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StorageError, StorageError]
    heal()
    assert [await read(inbox, Uid(uid)) for uid in (1, 2)] == [mail(1), mail(2)]
    assert await store.verify(None) == []
    assert (await inbox.expunge([(1, 1)], only_deleted=False)).vanished == (1,)
    await store.flush()
    assert len(cur(data, MAIRIE)) == 1


async def test_f149_a_refused_flag_is_in_no_name_after_a_power_loss(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name that a flush in its batch gave is durable by then; that it was taken back must be, too."""
    await deliver(store, MAIRIE, 1)
    await store.flush()
    inbox, entry = await inbox_of(store), store._open_accounts.opened(MAIRIE)
    assert entry is not None
    handle = entry.handle
    synced = list[list[str]]()
    sync = handle.fs.sync

    def noted(fd: int) -> None:
        sync(fd)
        with contextlib.suppress(NotADirectoryError):
            synced.append([name for name in handle.fs.names(fd) if ",U=1," in name])

    monkeypatch.setattr(handle.fs, "sync", noted)
    heal = fail_commits(store)
    storing = asyncio.ensure_future(inbox.store_flags([(1, 1)], add=Flag.FLAGGED))
    flushing = asyncio.ensure_future(entry.writer.submit(flush, durable=True))
    answers = await asyncio.gather(storing, flushing, return_exceptions=True)
    heal()
    assert [type(answer) for answer in answers] == [StorageError, StorageError]
    names = [found[0] for found in synced if found]
    assert [name.endswith(":2,F") for name in names] == [True, False]
    assert [row.flags for row in await all_rows(inbox)] == [Flag(0)]


class FullForNames(FileSystem):
    """No room for a line that tells how far names go."""

    full = False

    def write(self, fd: int, data: bytes, offset: int) -> None:
        if self.full and b" N " in data:
            super().write(fd, data[:5], offset)
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(fd, data, offset)


async def test_f149_a_full_disk_keeps_flags_from_no_name_and_files_from_no_unlinking(
    data: Path, clock: ManualClock
) -> None:
    """Cause: the journal's line of how far names go failed, and all that was flushed with it: nothing was freed."""
    disk = FullForNames()
    store = await opened(data, clock, fs=disk)
    for number in (1, 2):
        await deliver(store, MAIRIE, number)
    inbox = await inbox_of(store)
    disk.full = True
    await inbox.store_flags([(1, 1)], add=Flag.SEEN)
    await inbox.expunge([(2, 2)], only_deleted=False)
    await store.flush()
    [left] = cur(data, MAIRIE)
    assert left.name.endswith(":2,S")
    disk.full = False
    await inbox.store_flags([(1, 1)], add=Flag.FLAGGED)
    await store.flush()
    await store.rebuild(None)
    assert [row.flags for row in await all_rows(inbox)] == [Flag.SEEN | Flag.FLAGGED]
    assert await store.verify(None) == []
    await store.close()


class FullForKeywords(FileSystem):
    """No room for what a journal tells of keywords, nor for another journal."""

    full = False

    def write(self, fd: int, data: bytes, offset: int) -> None:
        if self.full and (b" K " in data or b" T " in data):
            super().write(fd, data[:5], offset)
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(fd, data, offset)


class FullWhenSynced(FileSystem):
    full = False

    def sync_data(self, fd: int) -> None:
        if self.full:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        super().sync_data(fd)


async def test_f149_a_full_disk_without_room_for_keywords_frees_what_was_expunged(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: the flush of a folder with more than 26 keywords failed with the lines that it writes first, and all that
    was to be unlinked, or to be written into names elsewhere, with it; a journal that had grown was the same."""
    disk = FullForKeywords()
    store = await opened(data, clock, fs=disk)
    inbox = await _with_many_keywords(store)
    monkeypatch.setattr(journal, "COMPACT_AT", 1)
    disk.full = True
    await inbox.store_flags([(1, 1)], add_keywords=["k29"])
    await inbox.expunge([(2, 2)], only_deleted=False)
    await (await inbox_of(store, name="Trash")).store_flags([(1, 1)], add=Flag.SEEN)
    with capture_logs() as logs:
        for _ in range(2):
            await store._open_accounts.flusher.flush_all()
    told = [(line["event"], line["code"]) for line in logs if line["event"].startswith("store-")]
    assert told == [("store-flush-failed", "storage-full")]
    assert [path.name[-3:] for path in cur(data, MAIRIE)] == [":2,"]
    assert [path.name[-3:] for path in cur(data, MAIRIE, ".Trash")] == ["2,S"]
    assert not list(data.rglob(".*.new"))
    assert store._open_accounts.flusher.has_work
    disk.full = False
    await store.flush()
    await store.close()
    delete(data)
    store = await opened(data, clock)
    assert [row.keywords for row in await all_rows(await inbox_of(store))] == [("k29",)]
    await store.close()


async def test_f149_a_stop_on_a_disk_without_room_for_keywords_is_no_clean_one(data: Path, clock: ManualClock) -> None:
    disk = FullForKeywords()
    store = await opened(data, clock, fs=disk)
    inbox = await _with_many_keywords(store)
    disk.full = True
    await inbox.store_flags([(1, 1)], add_keywords=["k29"])
    with capture_logs() as logs:
        await store.close()
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["store-close-failed"]
    disk.full = False
    store = await opened(data, clock, fs=disk)
    inbox = await inbox_of(store)
    assert (await all_rows(inbox))[0].keywords == ("k29",)
    await store.flush()
    assert b" K 1 " in (data / "domains/mairie.test/maire" / journal.JOURNAL).read_bytes()
    await store.close()


async def test_f149_a_line_that_is_tried_each_second_makes_no_journal_grow(data: Path, clock: ManualClock) -> None:
    """Disks that say only when they sync that they are full (a network's, quotas) kept each try."""
    disk = FullWhenSynced()
    store = await opened(data, clock, fs=disk)
    inbox = await _with_many_keywords(store)
    path = data / "domains/mairie.test/maire" / journal.JOURNAL
    before = path.read_bytes()
    await inbox.store_flags([(1, 1)], add_keywords=["k29"])
    disk.full = True
    await store._open_accounts.flusher.flush_all()
    assert path.read_bytes() == before
    disk.full = False
    await store.flush()
    assert b" K 1 " in path.read_bytes()
    await store.close()


async def _with_many_keywords(store: MaildirStore) -> Mailbox:
    """Two messages in INBOX, which has thirty keywords, and one in Trash."""
    for number in (1, 2, 3):
        await deliver(store, MAIRIE, number)
    inbox = await inbox_of(store)
    await inbox.move([(3, 3)], "Trash")
    await inbox.store_flags([(2, 2)], add_keywords=[f"k{number}" for number in range(30)])
    await store.flush()
    return inbox


@contextlib.contextmanager
def _lock_kept(root: Path) -> Iterator[None]:
    """As a process does that has much to do, or was stopped."""
    with (root / "beffroi.lock").open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _index_kept(root: Path) -> Iterator[None]:
    """As another program does."""
    operator = apsw.Connection(str(root / "index.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    operator.execute("BEGIN IMMEDIATE")
    yield
    operator.close()


@pytest.mark.parametrize("kept", [_lock_kept, _index_kept], ids=["the lock", "the index"])
@pytest.mark.parametrize("lasts", [False, True])
async def test_f156_an_account_that_somebody_keeps_is_flushed_later_and_told_once_it_lasts(
    store: MaildirStore,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    kept: Callable[[Path], contextlib.AbstractContextManager[None]],
    lasts: bool,
) -> None:
    """Each try was told as if the disk were away, at once, on a machine with much to do."""
    monkeypatch.setattr("store.writer.IN_THREAD", 0.05)
    monkeypatch.setattr("store.index.BUSY_MS", 50)
    monkeypatch.setattr("store.flusher.FLUSH_PATIENCE", 0.2)
    monkeypatch.setattr("store.flusher.BUSY_LASTS", 0.01 if lasts else 60)
    await deliver(store, MAIRIE, 1)
    await store.flush()
    await (await inbox_of(store)).store_flags([(1, 1)], add=Flag.SEEN)
    flusher = store._open_accounts.flusher
    with capture_logs() as logs:
        with kept(data / "domains/mairie.test/maire"):
            for _ in range(3):
                await flusher.flush_all()
            assert flusher.has_work
        await store.flush()
    told = [(line["event"], line["log_level"]) for line in logs if line["event"].startswith("store-")]
    assert told == ([("store-flush-failed", "warning"), ("store-flush-recovered", "info")] if lasts else [])
    assert [path.name[-3:] for path in cur(data, MAIRIE)] == ["2,S"]
