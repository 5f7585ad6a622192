"""Many messages copied: a thread gives files their new names while the rows are made; all of it or nothing."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from core.errors import NotFoundError, StorageError
from store import copy, fsops, transaction
from store.fsops import FileSystem
from store.service import MaildirStore
from store.types import Flag
from tests.fakes.mail import mail
from tests.store.helpers import MAIRIE, all_rows, cur, deliver, inbox_of, read
from tests.store.picture import delete


class Links(FileSystem):
    """Tells which threads link; those with numbers in `refused` fail with `code`."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []
        self.refused, self.code = range(0), 0

    def link(self, source: int, name: str, target: int, new: str) -> None:
        self.threads.append(threading.current_thread().name)
        if len(self.threads) in self.refused:
            raise OSError(self.code, "no")
        super().link(source, name, target, new)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Links:
    monkeypatch.setattr(transaction, "APART", 4)
    return Links()


async def _opened(data: Path, disk: Links, count: int = 5) -> MaildirStore:
    store = MaildirStore(data, fs=disk)
    await store.open()
    for number in range(1, count + 1):
        await deliver(store, MAIRIE, number)
    return store


async def test_few_names_are_made_where_the_rows_are_and_many_in_a_thread_apart(data: Path, disk: Links) -> None:
    store = await _opened(data, disk)
    inbox = await inbox_of(store)
    await inbox.copy([(1, 3)], "Sent")
    assert len(disk.threads) == 3
    assert not any(name.startswith("link") for name in disk.threads)
    await inbox.move([(1, 5)], "Sent")
    assert [name.startswith("link") for name in disk.threads[3:]] == [True] * 5
    sent = await inbox_of(store, name="Sent")
    assert [row.uid for row in await all_rows(sent)] == list(range(1, 9))
    assert await store.verify(None) == []
    await store.close()
    delete(data)
    store = MaildirStore(data)
    await store.open()
    assert [row.uid for row in await all_rows(await inbox_of(store, name="Sent"))] == list(range(1, 9))
    await store.close()


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, StorageError), (errno.ENOENT, NotFoundError)])
async def test_one_that_cannot_be_made_takes_all_back(
    data: Path, disk: Links, code: int, error: type[Exception]
) -> None:
    store = await _opened(data, disk)
    inbox, sent = await inbox_of(store), await inbox_of(store, name="Sent")
    before = await sent.snapshot()

    disk.code = code
    for change in (inbox.copy, inbox.move):
        disk.refused = range(len(disk.threads) + 4, 1000)  # the fourth, also when it is asked for again by itself
        with pytest.raises(error):
            await change([(1, 5)], "Sent")
    assert cur(data, MAIRIE, ".Sent") == []
    assert await all_rows(sent) == []
    assert len(await all_rows(inbox)) == 5
    disk.refused = range(0)
    assert len((await inbox.move([(1, 5)], "Sent")).pairs) == 5
    assert (await sent.snapshot()).modseq > before.modseq
    assert await store.verify(None) == []
    await store.close()


async def test_a_file_with_as_many_names_as_may_be_gets_one_of_its_own_and_the_rest_goes_on(
    data: Path, disk: Links
) -> None:
    store = await _opened(data, disk, 9)
    inbox = await inbox_of(store)
    disk.refused, disk.code = range(4, 6), errno.EMLINK  # the fourth, twice
    assert len((await inbox.copy([(1, 9)], "Sent")).pairs) == 9
    assert [path.stat().st_nlink for path in cur(data, MAIRIE, ".Sent")].count(1) == 1
    sent = await inbox_of(store, name="Sent")
    assert [row[7:] for row in await all_rows(sent)] == [row[7:] for row in await all_rows(inbox)]
    assert await read(sent, 4) == await read(inbox, 4)
    assert await store.verify(None) == []
    await store.close()


async def test_f149_one_that_gets_a_file_of_its_own_is_moved_on_a_disk_that_mail_has_filled(
    data: Path, disk: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: its file was taken for new mail's, which leaves room for moves."""
    store = await _opened(data, disk, 9)
    inbox = await inbox_of(store)
    monkeypatch.setattr(fsops, "KEPT_FREE", 1 << 60)
    monkeypatch.setattr(fsops, "KEPT_SHARE", 1)
    disk.refused, disk.code = range(4, 6), errno.EMLINK
    assert len((await inbox.move([(1, 9)], "Sent")).pairs) == 9
    with pytest.raises(StorageError) as refused:
        await deliver(store, MAIRIE, 10)
    assert refused.value.code == "storage-full"
    assert await store.verify(None) == []
    await store.close()


async def test_rows_that_cannot_be_made_take_the_names_back(data: Path, disk: Links) -> None:
    store = await _opened(data, disk)
    inbox = await inbox_of(store)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    entry.handle.writer.run(
        "CREATE TEMP TRIGGER t BEFORE INSERT ON messages WHEN new.key & 255 = 3 BEGIN SELECT raise(abort, 'x'); END"
    )
    with pytest.raises(StorageError):
        await inbox.copy([(1, 5)], "Sent")
    assert cur(data, MAIRIE, ".Sent") == []
    entry.handle.writer.run("DROP TRIGGER t")
    assert len((await inbox.copy([(1, 5)], "Sent")).pairs) == 5
    assert await store.verify(None) == []
    await store.close()


async def test_rows_of_many_are_made_by_several_statements_whatever_lies_between(
    data: Path, disk: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy, "TOGETHER", 2)
    store = await _opened(data, disk, 11)
    inbox, sent = await inbox_of(store), await inbox_of(store, name="Sent")
    await inbox.store_flags([(2, 2)], add_keywords=[f"k{number}" for number in range(64)])
    await inbox.store_flags([(4, 9)], add=Flag.FLAGGED, add_keywords=("k63",))
    await inbox.expunge([(3, 3), (10, 10)], only_deleted=False)
    before = {row.uid: row for row in await all_rows(inbox)}
    for change in (inbox.copy, inbox.move):
        copied = await change([(1, 11)], "Sent")
        assert [source for source, _ in copied.pairs] == list(before)
        made = {row.uid: row for row in await all_rows(sent)}
        for source, target in copied.pairs:
            was, row = before[source], made[target]
            assert (row.flags, sorted(row.keywords), row.email_id) == (was.flags, sorted(was.keywords), was.email_id)
            assert await read(sent, target) == mail(source)
    assert await store.verify(None) == []
    await store.close()
