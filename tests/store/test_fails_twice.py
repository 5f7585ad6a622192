"""A disk that fails an operation and then its undo: refused, told in the log, read on, made right by who comes next.

What was refused may be there afterwards, once (docs/reliability.md); nothing else may."""

from __future__ import annotations

import errno
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.clock import ManualClock
from core.errors import StorageError
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
    """`left` more names are changed, then the disk is read-only."""

    left = -1

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
    heal()
    disk.left = -1
    await store.flush()
    assert [row.flags for row in await all_rows(inbox)] == [Flag.SEEN] * 3
    assert await store.verify(None) == []
    await store.close()
