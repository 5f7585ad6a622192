"""REPLACE (RFC 8508) and what else puts a message in the place of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import NotFoundError, QuotaError, StorageError
from store.fsops import Call, FileSystem
from store.service import MaildirStore
from store.types import AccountRef, Flag, Placement, Uid
from tests.fakes.mail import content, mail
from tests.store.helpers import MAIRIE, FailingDisk, all_rows, cur, fail_commits, inbox_of, read, refs_in_tmp


async def _drafts(store: MaildirStore, *numbers: int) -> None:
    await (await store.account(MAIRIE)).append([(content(number), Placement("Drafts")) for number in numbers])


async def test_a_draft_saved_again_takes_the_old_one_s_place(store: MaildirStore, data: Path) -> None:
    await _drafts(store, 1, 2)
    drafts = await inbox_of(store, name="Drafts")
    before = await drafts.snapshot()
    placement = Placement("Drafts", flags=Flag.DRAFT, keywords=("$A",), internal_date=1e9)
    appended = await drafts.replace(Uid(1), content(9), placement)
    assert (appended.uid, appended.uidvalidity) == (3, before.uidvalidity)
    assert [row.uid for row in await all_rows(drafts)] == [2, 3]
    row = (await all_rows(drafts))[1]
    assert (row.flags, row.keywords, row.internal_date) == (Flag.DRAFT, ("$A",), 1_000_000_000)
    assert await read(drafts, 3) == mail(9)
    changes = await drafts.changes(before.modseq, before.uidnext)
    assert (changes.vanished, [row.uid for row in changes.messages]) == ((1,), [3])
    assert (await (await store.account(MAIRIE)).usage()) == (len(mail(2)) + len(mail(9)), 2)
    await store.flush()
    assert len(cur(data, MAIRIE, ".Drafts")) == 2
    assert await store.verify(None) == []


async def test_a_sent_draft_leaves_its_folder_in_the_same_commit(store: MaildirStore) -> None:
    await _drafts(store, 1)
    drafts, sent = await inbox_of(store, name="Drafts"), await inbox_of(store, name="Sent")
    seen: list[tuple[str, int]] = []
    stop = (await store.account(MAIRIE)).listen(lambda hint: seen.append((hint.folder_id, hint.modseq)))
    appended = await drafts.replace(Uid(1), content(2), Placement("Sent", flags=Flag.SEEN))
    stop()
    assert (appended.folder_id, appended.uid) == (sent.folder_id, 1)
    assert await all_rows(drafts) == []
    assert await read(sent, 1) == mail(2)
    assert {folder for folder, _ in seen} == {drafts.folder_id, sent.folder_id}


async def test_what_is_gone_is_not_replaced_and_nothing_is_appended(store: MaildirStore, data: Path) -> None:
    await _drafts(store, 1, 2)
    drafts = await inbox_of(store, name="Drafts")
    await drafts.expunge([(1, 1)], only_deleted=False)
    for uid, folder in ((1, "Drafts"), (7, "Drafts"), (2, "Inconnu")):
        with pytest.raises(NotFoundError):
            await drafts.replace(Uid(uid), content(3), Placement(folder))
    await store.flush()
    assert [row.uid for row in await all_rows(drafts)] == [2]
    assert len(cur(data, MAIRIE, ".Drafts")) == 1
    assert refs_in_tmp(data) == 0


async def test_the_old_message_s_room_counts_as_free(store: MaildirStore) -> None:
    await _drafts(store, 1, 2)
    room = AccountRef("acc1", "org1", "mairie.test", "maire", quota=2 * len(mail(1)))
    drafts = await inbox_of(store, room, "Drafts")
    assert (await drafts.replace(Uid(1), content(3), Placement("Drafts"))).uid == 3
    with pytest.raises(QuotaError):
        await drafts.replace(Uid(2), content(4, size=5000), Placement("Drafts"))
    assert [row.uid for row in await all_rows(drafts)] == [2, 3]


@pytest.mark.parametrize("countdown", [1, 2, 3, 4])
async def test_f152_a_replacement_that_fails_keeps_the_old_message_alone(data: Path, countdown: int) -> None:
    """The syncs: the new file, its name, the removal in the journal; then the commit."""
    disk = FailingDisk()
    store = MaildirStore(data, fs=disk)
    await store.open()
    await _drafts(store, 1, 2)
    drafts = await inbox_of(store, name="Drafts")
    heal = fail_commits(store) if countdown == 4 else lambda: None
    disk.countdown = countdown % 4
    with pytest.raises(StorageError):
        await drafts.replace(Uid(1), content(3), Placement("Drafts"))
    heal()
    await store.flush()
    for _ in range(2):
        assert [await read(drafts, row.uid) for row in await all_rows(drafts)] == [mail(1), mail(2)]
        await store.rebuild(None)
    await store.close()


async def test_f155_the_new_name_is_synced_before_the_old_one_is_journalled_away(data: Path) -> None:
    calls: list[Call] = []
    store = MaildirStore(data, fs=FileSystem(calls.append))
    await store.open()
    await _drafts(store, 1)
    calls.clear()
    await (await inbox_of(store, name="Drafts")).replace(Uid(1), content(2), Placement("Sent"))
    told = [(call.name, call.path.rpartition("/maire/")[2]) for call in calls]
    link = next(at for at, (name, _) in enumerate(told) if name == "link")
    removal = next(at for at, (name, path) in enumerate(told) if name == "fdatasync" and path.startswith(".Drafts/"))
    assert ("fsync", ".Sent/cur") in told[link + 1 : removal]
    await store.close()


async def test_a_message_moved_into_its_own_folder_gets_a_new_uid(store: MaildirStore) -> None:
    await _drafts(store, 1, 2)
    drafts = await inbox_of(store, name="Drafts")
    assert (await drafts.move([(1, 1)], "Drafts")).pairs == ((1, 3),)
    assert [await read(drafts, row.uid) for row in await all_rows(drafts)] == [mail(2), mail(1)]
    await store.flush()
    assert await store.verify(None) == []
