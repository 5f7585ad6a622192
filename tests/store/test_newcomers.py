"""The file that tells what is recent: its records, its lock, its loss (RFC 3501 2.3.2)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.clock import ManualClock
from store import catalog, newcomers
from store.catalog import Brief
from store.fsops import FileSystem
from store.index import RECENT_FILE
from store.records import recent
from store.service import MaildirStore
from tests.store.helpers import MAIRIE, deliver, inbox_of
from tests.store.picture import opened

FOLDER = Brief(number=3, uidvalidity=1700000000, uidnext=11, messages=10)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_what_is_taken_once_is_taken(root: int) -> None:
    fs = FileSystem()
    assert newcomers.take(fs, root, FOLDER, 11) == 1
    assert newcomers.take(fs, root, FOLDER, 11) == 11
    assert newcomers.take(fs, root, FOLDER, 15) == 11
    assert newcomers.take(fs, root, FOLDER, 12) == 15  # who has seen less takes nothing back
    assert newcomers.peek(fs, root, FOLDER) == 15
    assert newcomers.every(fs, root, [(3, 1700000000), (3, 1), (99, 1700000000)]) == [15, 1, 1]


def test_the_record_of_another_uidvalidity_tells_nothing(root: int) -> None:
    fs = FileSystem()
    newcomers.take(fs, root, FOLDER, 11)
    assert newcomers.peek(fs, root, FOLDER._replace(uidvalidity=1700000001)) == 1


def test_a_file_that_is_made_calls_nothing_recent_that_is_there(root: int) -> None:
    fs = FileSystem()
    assert not newcomers.known(fs, root)
    newcomers.begin(fs, root, [FOLDER])
    assert newcomers.known(fs, root)
    assert (newcomers.peek(fs, root, FOLDER), newcomers.peek(fs, root, FOLDER._replace(number=4))) == (11, 1)


@pytest.mark.parametrize("damage", [b"", b"\0" * 32, b"\xff" * 32, b"\1"])
def test_whatever_a_power_loss_left_there_is_no_error(root: int, tmp_path: Path, damage: bytes) -> None:
    fs = FileSystem()
    (tmp_path / RECENT_FILE).write_bytes(damage)
    assert newcomers.take(fs, root, FOLDER, 11) == 1
    assert newcomers.take(fs, root, FOLDER, 11) == 11


def test_a_lock_that_is_held_is_not_waited_for(root: int, tmp_path: Path) -> None:
    """Two sessions may then both find it recent, which RFC 3501 2.3.2 prefers to none."""
    fs = FileSystem()
    newcomers.take(fs, root, FOLDER, 5)
    with (tmp_path / RECENT_FILE).open("r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert newcomers.take(fs, root, FOLDER, 11) == 5
    assert newcomers.take(fs, root, FOLDER, 11) == 5


async def test_recent_messages_are_counted_alike_whatever_way_is_the_shortest(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the extent, by the gaps, from below and from above."""
    for number in range(12):
        await deliver(store, MAIRIE, number)
    inbox = await inbox_of(store)
    await inbox.expunge([(2, 2), (7, 8)], only_deleted=False)
    handle = (await store._open_accounts.use(MAIRIE)).handle
    left = [1, 3, 4, 5, 6, 9, 10, 11, 12]
    for forgetful in (False, True):
        if forgetful:  # as after a rebuild: the gaps do not account for every UID
            handle.writer.run("DELETE FROM expunged")
        (folder,) = [each for each in catalog.everything(handle.reader) if each.id == inbox.folder_id]
        for few in (0, 1000):
            monkeypatch.setattr("store.records._FEW", few)
            for first in range(1, 15):
                assert recent(handle.reader, folder, first) == sum(uid >= first for uid in left), (first, few)


async def counted(store: MaildirStore) -> list[int]:
    account = await store.account(MAIRIE)
    inbox = await account.mailbox("INBOX")
    found = await account.recent([each for each in await account.folders() if each.id == inbox.folder_id])
    return [*found, (await inbox.snapshot()).recent]


@pytest.mark.parametrize("lost", ["index.db*", RECENT_FILE])
async def test_any_index_file_that_is_lost_makes_nothing_recent_that_was_there(
    data: Path, clock: ManualClock, lost: str
) -> None:
    """Promise P5, each file alone."""
    store = await opened(data, clock)
    for number in range(3):
        await deliver(store, MAIRIE, number)
    account = await store.account(MAIRIE)
    for name in ("A", "B"):
        await account.create(name)
    await account.delete("A")
    assert (await (await inbox_of(store)).snapshot(take_recent=True)).recent == 3
    await store.close()
    for path in (data / "domains/mairie.test/maire").glob(lost):
        path.unlink()
    store = await opened(data, clock)
    assert await counted(store) == [0, 0]
    await deliver(store, MAIRIE, 4)
    assert await counted(store) == [1, 1]
    await store.close()


async def test_the_file_that_is_lost_while_the_account_is_open_is_made_again(store: MaildirStore, data: Path) -> None:
    for number in range(3):
        await deliver(store, MAIRIE, number)
    assert await counted(store) == [3, 3]
    (data / "domains/mairie.test/maire" / RECENT_FILE).unlink()
    assert await counted(store) == [0, 0]
    await deliver(store, MAIRIE, 4)
    assert await counted(store) == [1, 1]


def test_a_file_that_was_made_and_not_written_is_not_begun(root: int, tmp_path: Path) -> None:
    """A full disk, or a kill between the two."""
    fs = FileSystem()
    (tmp_path / RECENT_FILE).touch()
    assert not newcomers.known(fs, root)
    newcomers.begin(fs, root, [FOLDER])
    assert newcomers.peek(fs, root, FOLDER) == 11
