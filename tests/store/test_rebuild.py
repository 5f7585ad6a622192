"""Promise P5: every index file can be deleted, be old, be broken, be another's; clients notice nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from core.clock import ManualClock
from store import catalog, journal, records
from store.fsops import Call, FileSystem
from store.lockfile import AccountLock, State, Word
from store.names import FileName
from store.service import MaildirStore
from store.types import Flag
from tests.fakes.mail import mail
from tests.store.helpers import AUTRE, MAIRIE, all_rows, cur, deliver, inbox_of
from tests.store.picture import delete, fill, index_files, numbers, opened, picture


def index_only(data: Path) -> list[str]:
    """The names that are not index files must not contain the word."""
    return [
        path.name
        for path in index_files(data)
        if not path.name.startswith(("index.db", "index-text.db", "index.recent"))
    ]


def corrupt(data: Path) -> None:
    for path in index_files(data):
        if path.name == "index.db":
            octets = bytearray(path.read_bytes())
            octets[100 : len(octets)] = b"\xa5" * (len(octets) - 100)
            path.write_bytes(octets)


def truncate(data: Path) -> None:
    for path in index_files(data):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(data: Path) -> None:
    for path in index_files(data):
        path.write_bytes(b"")


def another_version(data: Path) -> None:
    for path in index_files(data):
        if path.name == "index.db":
            connection = apsw.Connection(str(path))
            connection.execute("PRAGMA user_version=99")
            connection.close()


def symlink(data: Path) -> None:
    for path in index_files(data):
        path.unlink()
    (data / "domains/mairie.test/maire/index.db").symlink_to(data / "store.beffroi")


@pytest.mark.parametrize("damage", [delete, corrupt, truncate, empty, another_version, symlink])
async def test_f157_f159_an_index_that_is_lost_or_damaged_is_made_again(
    data: Path, clock: ManualClock, damage: Callable[[Path], None]
) -> None:
    store = await opened(data, clock)
    await fill(store)
    before, counts = await picture(store), await numbers(store)
    await store.close()
    assert index_only(data) == []
    damage(data)
    store = await opened(data, clock)
    assert await picture(store) == before
    assert await numbers(store) == counts  # a clean stop wrote exact floors
    assert await store.verify(None) == []
    await store.close()


async def test_a_rebuild_that_commits_in_between_comes_to_the_same(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.scan.COMMIT_EVERY", 2)
    monkeypatch.setattr("store.scan.ADDED_AT_ONCE", 2)
    store = await opened(data, clock)
    await fill(store)
    before = await picture(store)
    await store.rebuild(None)
    assert await picture(store) == before
    assert await store.verify(None) == []
    await store.close()


async def test_p4_numbers_never_go_back_after_a_kill_with_a_lost_index(data: Path, clock: ManualClock) -> None:
    store = await opened(data, clock)
    await fill(store)
    await store.flush()
    before, counts = await picture(store), await numbers(store)
    delete(data)  # no clean stop: the floors are all that is known
    again = await opened(data, clock)
    assert await picture(again) == before
    after = await numbers(again)
    assert all(
        after[folder][0] >= uidnext and after[folder][1] >= modseq for folder, (uidnext, modseq) in counts.items()
    )
    inbox = await inbox_of(again)
    snapshot = await inbox.snapshot()
    changes = await inbox.changes(1, snapshot.uidnext)
    assert {row.uid for row in changes.messages} == {1, 2, 3}
    sent = await inbox_of(again, name="Sent")
    old = await sent.changes(1, 6)
    assert old.vanished == (2, 3, 4)
    appended = await deliver(again, MAIRIE, 77)
    assert appended.uid >= counts[appended.folder_id][0]
    assert appended.modseq > counts[appended.folder_id][1]
    await again.close()
    await store.close()


async def test_f159_an_index_older_than_the_files(data: Path, clock: ManualClock, tmp_path: Path) -> None:
    store = await opened(data, clock)
    await fill(store)
    await store.close()
    root = data / "domains/mairie.test/maire"
    shutil.copy(root / "index.db", tmp_path / "old.db")
    shutil.copy(root / "index.db-wal", tmp_path / "old.db-wal")
    store = await opened(data, clock)
    inbox = await inbox_of(store)
    await deliver(store, MAIRIE, 20)
    await inbox.expunge([(2, 2)], only_deleted=False)
    await inbox.store_flags([(3, 3)], add=Flag.FLAGGED)
    before, counts = await picture(store), await numbers(store)
    await store.close()
    delete(data)
    shutil.copy(tmp_path / "old.db", root / "index.db")
    shutil.copy(tmp_path / "old.db-wal", root / "index.db-wal")
    store = await opened(data, clock)
    assert await picture(store) == before
    after = await numbers(store)
    assert all(
        after[folder][0] >= uidnext and after[folder][1] >= modseq for folder, (uidnext, modseq) in counts.items()
    )
    assert await store.verify(None) == []
    await store.close()


async def test_f159_a_client_that_knows_more_than_an_old_index_is_told_everything(
    data: Path, clock: ManualClock, tmp_path: Path
) -> None:
    store = await opened(data, clock)
    await fill(store)
    await store.close()
    root = data / "domains/mairie.test/maire"
    shutil.copy(root / "index.db", tmp_path / "old.db")
    store = await opened(data, clock)
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 1)], add=Flag.FLAGGED)
    seen = await inbox.snapshot()  # the client believes that 1 is flagged
    await inbox.store_flags([(1, 1)], remove=Flag.FLAGGED)
    await inbox.store_flags([(3, 3)], add=Flag.FLAGGED)
    await inbox.expunge([(2, 2)], only_deleted=False)
    await store.close()
    delete(data)
    shutil.copy(tmp_path / "old.db", root / "index.db")
    store = await opened(data, clock)
    changes = await (await inbox_of(store)).changes(seen.modseq, seen.uidnext)
    assert {row.uid for row in changes.messages} == {1, 3}
    assert changes.vanished == (2,)
    assert changes.modseq > seen.modseq
    await store.close()


async def test_f144_a_removal_in_the_journal_alone_is_completed(data: Path, clock: ManualClock) -> None:
    """Killed between the journal's sync and the commit."""
    store = await opened(data, clock, boot="here")
    await deliver(store, MAIRIE, 1)
    await deliver(store, MAIRIE, 2)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    row = catalog.by_name(entry.handle.reader, "INBOX")
    generation = entry.handle.reader.value("SELECT generation FROM state")
    assert row is not None
    journal.append(FileSystem(), entry.handle.root, [journal.removal([1])])
    entry.handle.lock.write(Word("here", generation, State.BUSY, (str(row.number),)))
    again = await opened(data, clock, boot="here")
    assert [message.uid for message in await all_rows(await inbox_of(again))] == [2]
    assert await (await again.account(MAIRIE)).usage() == (len(mail(2)), 1)
    await again.flush()
    assert len(cur(data, MAIRIE)) == 1
    await again.close()
    await store.close()


async def test_f144_what_a_killed_writer_journalled_is_told_of_no_other_message(data: Path, clock: ManualClock) -> None:
    """Killed between the journal's sync and the link: a message that came under that UID later got the thread and the
    keywords of the other one as soon as the index was lost. What was linked keeps its UID and thread."""
    store = await opened(data, clock, boot="here")
    await deliver(store, MAIRIE, 1)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    row = catalog.by_name(entry.handle.reader, "INBOX")
    generation = entry.handle.reader.value("SELECT generation FROM state")
    assert row is not None
    linked, lost = row.uidnext, row.uidnext + 1
    data_of_linked = mail(7)
    name = FileName(1_790_000_009, "Mlinked", linked, len(data_of_linked), 0, 0)
    (data / "domains" / "mairie.test" / "maire" / "cur" / str(name)).write_bytes(data_of_linked)
    lines = [journal.thread(linked, "Tits.own"), journal.thread(lost, "Tother"), journal.keywords(lost, 1 << 30)]
    journal.append(FileSystem(), entry.handle.root, lines)
    entry.handle.lock.write(Word("here", generation, State.BUSY, (str(row.number),)))
    again = await opened(data, clock, boot="here")
    appended = await deliver(again, MAIRIE, 2)
    assert appended.uid == lost + 1
    before = await all_rows(await inbox_of(again))
    assert [(message.uid, message.thread_id) for message in before][1:2] == [(linked, "Tits.own")]
    assert await again.rebuild(None) == 3
    for old, new in zip(before, await all_rows(await inbox_of(again)), strict=True):
        assert (new.uid, new.thread_id, new.keywords) == (old.uid, old.thread_id, old.keywords)
    await again.close()
    await store.close()


async def test_uids_of_a_rebuilt_mailbox_are_told_by_their_gaps(store: MaildirStore) -> None:
    """Its UIDNEXT is the floor, so that numbers nobody had follow the last message: a client that came back waited for
    every row to be read."""
    for number in range(1, 6):
        await deliver(store, MAIRIE, number)
    assert await store.rebuild(None) == 5
    inbox = await inbox_of(store)
    snapshot = await inbox.snapshot()
    assert snapshot.uidnext > 6
    assert list(await inbox.uids(snapshot)) == [1, 2, 3, 4, 5]
    await inbox.expunge([(2, 2)], only_deleted=False)
    assert list(await inbox.uids(await inbox.snapshot())) == [1, 3, 4, 5]
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    row = catalog.by_name(entry.handle.reader, "INBOX")
    assert row is not None
    assert records.gaps_to_read(entry.handle.reader, row) == 1
    await inbox.expunge([(5, 5)], only_deleted=False)
    assert list(await inbox.uids(await inbox.snapshot())) == [1, 3, 4]
    late = await deliver(store, MAIRIE, 6)
    assert list(await inbox.uids(await inbox.snapshot())) == [1, 3, 4, late.uid]


async def test_f155_a_move_syncs_the_new_names_before_it_journals_the_old_ones(data: Path, clock: ManualClock) -> None:
    calls: list[Call] = []
    store = await opened(data, clock, fs=FileSystem(calls.append))
    await deliver(store, MAIRIE, 1)
    calls.clear()
    await (await inbox_of(store)).move([(1, 1)], "Trash")
    told = [(call.name, call.path.rpartition("/maire/")[2]) for call in calls]
    link = next(at for at, (name, _) in enumerate(told) if name == "link")
    assert told[link + 1 :].index(("fsync", ".Trash/cur")) < told[link + 1 :].index(("fdatasync", journal.JOURNAL))
    await store.close()


async def test_f159_an_index_from_another_account(data: Path, clock: ManualClock) -> None:
    store = await opened(data, clock)
    await fill(store)
    await deliver(store, AUTRE, 1)
    before = await picture(store)
    await store.close()
    root, other = data / "domains/mairie.test/maire", data / "domains/autre.test/maire"
    delete_here = [path for path in root.iterdir() if "index" in path.name]
    for path in delete_here:
        path.unlink()
    for path in other.iterdir():
        if "index" in path.name:
            shutil.copy(path, root / path.name)
    store = await opened(data, clock)
    assert await picture(store) == before
    await store.close()


async def test_f155_after_a_power_loss_no_modseq_is_believed(data: Path, clock: ManualClock) -> None:
    store = await opened(data, clock, boot="before")
    await fill(store)
    await store.flush()
    before, counts = await picture(store), await numbers(store)
    again = await opened(data, clock, boot="after")
    assert await picture(again) == before
    after = await numbers(again)
    inbox = await (await again.account(MAIRIE)).folder("INBOX")
    assert inbox is not None
    assert after[inbox.id][1] > counts[inbox.id][1]
    assert after[inbox.id][0] > counts[inbox.id][0]
    await again.close()
    await store.close()


async def test_a_clean_stop_survives_a_reboot_exactly(data: Path, clock: ManualClock) -> None:
    store = await opened(data, clock, boot="before")
    await fill(store)
    counts = await numbers(store)
    await store.close()
    again = await opened(data, clock, boot="after")
    assert await numbers(again) == counts
    await again.close()


async def test_an_index_deleted_under_a_running_store(store: MaildirStore, data: Path) -> None:
    await fill(store)
    await store.flush()
    before = await picture(store)
    delete(data)
    assert await picture(store) == before
    delete(data)
    await deliver(store, MAIRIE, 30)
    rows = await all_rows(await inbox_of(store))
    assert len(rows) == 4
    assert rows[-1].uid > 3


async def test_a_lost_side_file_is_restored_from_the_index(data: Path, clock: ManualClock) -> None:
    store = await opened(data, clock)
    await fill(store)
    before = await picture(store)
    await store.close()
    root = data / "domains/mairie.test/maire"
    (root / ".Sent/beffroi-folder").unlink()
    (root / "beffroi.lock").unlink()
    store = await opened(data, clock)
    assert await picture(store) == before
    await store.close()


async def test_p2_flags_that_wait_while_the_index_goes_are_in_the_one_that_comes(
    store: MaildirStore, data: Path, clock: ManualClock
) -> None:
    """What is written into a file that nobody else can open any more is answered, and then gone."""
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    handle = (await store._open_accounts.use(MAIRIE)).handle
    lock = AccountLock(FileSystem(), handle.root)
    with lock.held():
        waiting = asyncio.create_task(inbox.store_flags([(1, 1)], add=Flag.FLAGGED))
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        handle.discard_files()
    lock.close()
    await waiting
    other = await opened(data, clock)
    assert (await all_rows(await inbox_of(other)))[0].flags & Flag.FLAGGED
    await other.close()
