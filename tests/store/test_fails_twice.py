"""A disk that fails an operation and then its undo: refused, told in the log, read on, made right by who comes next.

What was refused may be there afterwards, once (docs/reliability.md); nothing else may."""

from __future__ import annotations

import asyncio
import errno
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.clock import ManualClock
from core.errors import StorageError, UnreadableError
from message.content import BytesContent
from store.fsops import FileSystem
from store.lockfile import State
from store.service import MaildirStore
from store.types import Flag, Placement, Uid
from tests.fakes.mail import content, mail
from tests.store.helpers import MAIRIE, all_rows, cur, deliver, fail_commits, inbox_of, read

LONG = 100_000  # octets: written and placed by a worker thread
Refused = Callable[[MaildirStore], Awaitable[object]]


class TwiceFailing(FileSystem):
    """While `broken` no name in a folder can be made durable, and none taken away."""

    broken = False

    def sync(self, fd: int) -> None:
        if self.broken and stat.S_ISDIR(self.status(fd).st_mode):
            raise OSError(5, "Input/output error")
        super().sync(fd)

    def unlink(self, directory: int, name: str) -> None:
        if self.broken:
            raise OSError(5, "Input/output error")
        super().unlink(directory, name)


async def _deliver(store: MaildirStore, size: int = 0) -> object:
    async with await store.stage(b"", content(2, size=size), first=MAIRIE) as staged:
        return await staged.deliver(MAIRIE, Placement(delivery_id="q2"))


async def _deliver_long(store: MaildirStore) -> object:
    return await _deliver(store, LONG)


async def _append(store: MaildirStore) -> object:
    return await (await store.account(MAIRIE)).append([(BytesContent(mail(2)), Placement())])


async def _copy(store: MaildirStore) -> object:
    return await (await inbox_of(store)).copy(((1, 1),), "INBOX")


@pytest.fixture
def disk() -> TwiceFailing:
    return TwiceFailing()


@pytest.fixture
async def store(data: Path, clock: ManualClock, disk: TwiceFailing) -> AsyncIterator[MaildirStore]:
    store = MaildirStore(data, clock=clock, fs=disk)
    await store.open()
    await _append_first(store)
    yield store
    disk.broken = False
    await store.close()


async def _append_first(store: MaildirStore) -> None:
    await (await store.account(MAIRIE)).append([(BytesContent(mail(1)), Placement())])


@pytest.mark.parametrize("work", [_deliver, _deliver_long, _append, _copy])
async def test_p2_what_fails_twice_is_refused_told_and_found_by_whoever_writes_next(
    store: MaildirStore, data: Path, clock: ManualClock, disk: TwiceFailing, work: Refused
) -> None:
    inbox = await inbox_of(store)
    for first in (True, False):  # the sender comes again: the disk is no better, and nobody writes before he has looked
        disk.broken = True
        with capture_logs() as logs, pytest.raises(StorageError) as refused:
            await work(store)
        assert refused.value.code == "storage"
        told = {entry["event"]: entry for entry in logs if entry["log_level"] == "error"}
        assert set(told) == ({"store-undo-failed", "store-batch-failed"} if first else {"store-batch-failed"})
        assert told.get("store-undo-failed", {}).get("account", MAIRIE.id) == MAIRIE.id
        entry = store._open_accounts.opened(MAIRIE)
        assert entry is not None
        word = entry.handle.lock.read()
        assert word is not None
        assert word.state is State.BUSY  # whoever writes next looks
        assert await read(inbox, 1) == mail(1)
        assert [row.uid for row in await all_rows(inbox)] == [1]
    disk.broken = False
    again = MaildirStore(data, clock=clock)  # another process: it makes index and files agree before it verifies
    await again.open()
    assert await again.verify(None) == []
    rows = await all_rows(await inbox_of(again))
    assert len(rows) == len(cur(data, MAIRIE)) == len({row.uid for row in rows}) <= 3
    await again.close()
    await work(store)
    rows = await all_rows(inbox)
    assert len(rows) == len(cur(data, MAIRIE)) <= 4
    if work in (_deliver, _deliver_long):  # a delivery that stayed is recognised when it is told again (fault 145)
        assert len(rows) == 2
    assert await store.verify(None) == []


class HalfRenamed(FileSystem):
    """`left` more names are changed, then the disk is read-only. While `odd` messages with \\Seen cannot be opened."""

    left = -1
    odd = False

    def open_to_read(self, directory: int, name: str) -> int:
        if self.odd and name.endswith(":2,S"):
            raise OSError(errno.EIO, "Input/output error")
        return super().open_to_read(directory, name)

    def rename(self, source: int, name: str, target: int, new: str) -> None:
        if self.left == 0:
            raise OSError(errno.EROFS, "Read-only file system")
        self.left -= 1
        super().rename(source, name, target, new)


async def test_f170_messages_are_read_whose_names_got_letters_before_the_disk_was_read_only(
    data: Path, clock: ManualClock
) -> None:
    """Cause: the flush could not take the letters back, the index told the old names, and no look could be kept."""
    disk = HalfRenamed()
    store = MaildirStore(data, clock=clock, fs=disk)
    await store.open()
    for number in (1, 2, 3):
        await deliver(store, MAIRIE, number)
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 3)], add=Flag.SEEN)
    heal, disk.left = fail_commits(store), 2
    await store._open_accounts.flusher.flush_all()
    assert sum(path.name.endswith(":2,S") for path in cur(data, MAIRIE)) == 2
    assert [await read(inbox, Uid(uid)) for uid in (1, 2, 3)] == [mail(1), mail(2), mail(3)]
    disk.odd = True
    with pytest.raises(UnreadableError):
        await read(inbox, Uid(1))
    disk.odd = False
    heal()
    disk.left = -1
    await store.flush()
    assert [row.flags for row in await all_rows(inbox)] == [Flag.SEEN] * 3
    assert await store.verify(None) == []
    await store.close()


class Uncuttable(FileSystem):
    """While `broken` a journal can neither be synced nor shortened, as over a bad sector; all else works, but for the
    way back of a directory that was renamed to `.Z`."""

    broken = False

    def sync_data(self, fd: int) -> None:
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        super().sync_data(fd)

    def truncate(self, fd: int, size: int) -> None:
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        super().truncate(fd, size)

    def rename(self, source: int, name: str, target: int, new: str) -> None:
        if name == ".Z":
            raise OSError(errno.EIO, "Input/output error")
        super().rename(source, name, target, new)


@pytest.fixture
async def three(data: Path, clock: ManualClock) -> AsyncIterator[MaildirStore]:
    """Messages in INBOX."""
    store = MaildirStore(data, clock=clock, fs=Uncuttable())
    await store.open()
    for number in (1, 2, 3):
        await deliver(store, MAIRIE, number)
    yield store
    await store.close()


async def _texts(store: MaildirStore) -> set[bytes]:
    """All that the account holds."""
    boxes = [await inbox_of(store, name=folder.name) for folder in await (await store.account(MAIRIE)).folders()]
    return {await read(box, row.uid) for box in boxes for row in await all_rows(box)}


@pytest.mark.parametrize("how", ["RENAME INBOX", "CREATE and MOVE"])
async def test_p1_what_a_move_brought_to_a_new_folder_is_not_lost_with_it(three: MaildirStore, how: str) -> None:
    """Cause: the journal kept the line that removed the messages, which kept their new names, and then the folder that
    they were in was taken back, and swept."""
    account, disk = await three.account(MAIRIE), three._fs
    assert isinstance(disk, Uncuttable)
    disk.broken = True
    with capture_logs() as logs:
        asked: list[Awaitable[object]] = []
        if how == "RENAME INBOX":
            asked = [account.rename("INBOX", "Old")]
        else:
            asked = [account.create("New"), (await inbox_of(three)).move([(1, 2)], "New")]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StorageError}
    disk.broken = False
    await deliver(three, MAIRIE, 4)  # the next writer looks where the failed one was
    await three.flush()
    assert await _texts(three) == {mail(number) for number in (1, 2, 3, 4)}
    assert await three.verify(None) == []
    assert "store-undo-failed" in [line["event"] for line in logs]


async def test_p1_a_journal_that_is_not_where_it_was_is_not_cut(three: MaildirStore) -> None:
    """Its folder could not be given its name back."""
    account = await three.account(MAIRIE)
    await account.create("D")
    await account.append([(content(4), Placement("D"))])
    heal = fail_commits(three)
    asked = (await account.mailbox("D")).move([(1, 1)], "INBOX"), account.rename("D", "Z")
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StorageError}
    heal()
    await deliver(three, MAIRIE, 5)
    await three.flush()
    assert await _texts(three) == {mail(number) for number in (1, 2, 3, 4, 5)}
    assert await three.verify(None) == []
