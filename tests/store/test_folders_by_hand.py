"""Folders that hands made, renamed, copied or took away, while the suite serves and while it does not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import StorageError
from store import catalog, structure
from store.handle import Handle
from store.index import Connection
from store.lockfile import State, Word
from store.service import MaildirStore
from store.types import Flag, ModSeq, Placement
from tests.fakes.mail import content, mail
from tests.store.helpers import MAIRIE, all_rows, deliver, read
from tests.store.picture import delete, fill, opened

BELOW_NEW = ["new", "new/A", "new/A/0123456789abcdefghjk", "new/x", "new/y"]


async def names_of(store: MaildirStore) -> list[str]:
    return [folder.name for folder in await (await store.account(MAIRIE)).folders()]


@pytest.mark.parametrize("first", ["list", "select", "deliver", "status"])
async def test_h110_a_folder_renamed_by_hand_is_known_by_its_new_name_at_once(
    store: MaildirStore, data: Path, clock: ManualClock, first: str
) -> None:
    """Cause: it was refused until `store verify --repair`, and listed under its old name."""
    account = await store.account(MAIRIE)
    await deliver(store, MAIRIE, 1, Placement("Archive", Flag.FLAGGED))
    before = await account.folder("Archive")
    archive = await account.mailbox("Archive")
    rows = await all_rows(archive)
    assert before is not None
    root = data / "domains/mairie.test/maire"
    (root / ".Archive").rename(root / ".Alt")
    if first == "select":
        assert (await archive.snapshot()).messages == 1
    elif first == "deliver":
        await deliver(store, MAIRIE, 2)
    elif first == "status":
        assert await account.folder("Alt") is not None
    assert "Archive" not in await names_of(store)
    after = await account.folder("Alt")
    assert after is not None
    assert (after.id, after.uidvalidity, after.messages) == (before.id, before.uidvalidity, 1)
    found = await all_rows(await account.mailbox("Alt"))
    assert [(row.uid, row.flags, row.email_id) for row in found] == [(row.uid, row.flags, row.email_id) for row in rows]
    assert await read(await account.mailbox("Alt"), found[0].uid) == mail(1)
    assert await store.verify(None) == []


async def test_h110_folders_made_copied_and_removed_by_hand_are_known_at_once(store: MaildirStore, data: Path) -> None:
    account = await store.account(MAIRIE)
    for number in range(3):
        await deliver(store, MAIRIE, number, Placement("Archive"))
    await deliver(store, MAIRIE, 3, Placement("Junk"))
    await store.flush()
    gone = await account.mailbox("Junk")
    root = data / "domains/mairie.test/maire"
    shutil.copytree(root / ".Archive", root / ".Copie")
    shutil.rmtree(root / ".Junk")
    for name in ("cur", "new", "tmp"):
        (root / ".Neuf" / name).mkdir(parents=True)
    (root / ".Neuf/cur/foreign").write_bytes(mail(9))
    names = await names_of(store)
    assert {"Copie", "Neuf"} <= set(names)
    assert "Junk" not in names
    assert (await gone.changes(0, 1)).gone
    archive, copy = await account.folder("Archive"), await account.folder("Copie")
    assert archive is not None
    assert copy is not None
    assert (archive.messages, copy.messages, archive.id == copy.id) == (3, 3, False)
    assert (await (await account.mailbox("Neuf")).snapshot()).messages == 1
    assert await account.usage() == (3 * 2 * len(mail(1)) + len(mail(9)), 7)
    assert await store.verify(None) == []


async def test_h110_a_folder_below_new_is_a_folder_whoever_makes_it(data: Path, clock: ManualClock) -> None:
    """Cause: what is being made is called `.new.` and its id; all that began so was passed over, and removed when the
    account was looked at again."""
    store = await opened(data, clock)
    account = await store.account(MAIRIE)
    await account.create("new/x")
    await account.append([(content(1), Placement("new/x"))])
    await account.create("A/0123456789abcdefghjk")
    await account.rename("A", "new/A")
    root = data / "domains/mairie.test/maire"
    shutil.copytree(root / ".Archive", root / ".new.y")
    assert await below_new(store) == BELOW_NEW
    await store.close()
    for index in root.glob("index*"):
        index.unlink()
    store = await opened(data, clock)
    assert await below_new(store) == BELOW_NEW
    folder = await (await store.account(MAIRIE)).folder("new/x")
    assert folder is not None
    assert folder.messages == 1
    await store.close()


async def below_new(store: MaildirStore) -> list[str]:
    return sorted(name for name in await names_of(store) if name.startswith("new"))


async def test_h110_folders_changed_by_hand_while_nobody_served_are_known_at_the_next_start(
    data: Path, clock: ManualClock
) -> None:
    store = await opened(data, clock)
    await fill(store)
    await store.close()
    root = data / "domains/mairie.test/maire"
    (root / ".Archive").rename(root / ".Alt")
    store = await opened(data, clock)
    assert "folder 'Archive' has no directory" in (await store.verify(None))[0]
    assert "Alt" in await names_of(store)
    assert await store.verify(None) == []
    await store.close()


@pytest.mark.parametrize("how", [".INBOX", ".%41rchive", ".#copied"])
@pytest.mark.parametrize("lost", [False, True])
async def test_h110_a_directory_that_tells_another_folder_s_name_is_left_alone(
    data: Path, clock: ManualClock, how: str, *, lost: bool
) -> None:
    """Cause: the names of folders are unique in the index, which was thrown away as damaged, and made again, and so on:
    nobody could log in, and no mail came in."""
    store = await opened(data, clock)
    await fill(store)
    account = await store.account(MAIRIE)
    await account.create("L" * 240)
    expected = await names_of(store)
    await store.close()
    root = data / "domains/mairie.test/maire"
    if how == ".INBOX":
        (root / how / "cur").mkdir(parents=True)
    else:
        shutil.copytree(root / ".Archive" if "%" in how else next(root.glob(".#*")), root / how)
    if lost:
        delete(data)
    store = await opened(data, clock)
    for _ in range(2):
        assert await names_of(store) == expected
        await deliver(store, MAIRIE, 9, Placement("Archive"))
    assert any(repr(how) in fault for fault in await store.verify(None))
    assert {path.name for path in root.glob(".*") if path.name == how} == {how}
    await store.close()


async def test_h110_folders_are_compared_after_a_change_alone(
    store: MaildirStore, data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[bool | None] = []
    real = structure._compared

    def counted(handle: Handle, db: Connection, *, tried: bool) -> bool | None:
        compared.append(real(handle, db, tried=tried))
        return compared[-1]

    monkeypatch.setattr(structure, "_compared", counted)
    await deliver(store, MAIRIE, 1)  # it raises the floors, whose file lies beside the folders
    for _ in range(3):
        await names_of(store)
        clock.advance(1.0)
    assert compared
    compared.clear()
    for number in range(2, 5):
        await names_of(store)
        await deliver(store, MAIRIE, number)
    assert compared == []
    (data / "domains/mairie.test/maire/.Archive").rename(data / "domains/mairie.test/maire/.Alt")
    assert "Alt" in await names_of(store)


async def test_h110_a_folder_taken_away_by_hand_and_put_back_keeps_its_uids(
    store: MaildirStore, data: Path, clock: ManualClock
) -> None:
    """Cause: its messages got new UIDs, and programs loaded them all again."""
    account = await store.account(MAIRIE)
    for number in range(3):
        await deliver(store, MAIRIE, number, Placement("Archive", Flag.FLAGGED))
    before = await account.folder("Archive")
    assert before is not None
    rows = [row._replace(modseq=ModSeq(0)) for row in await all_rows(await account.mailbox("Archive"))]
    await store.flush()
    root = data / "domains/mairie.test/maire"
    (root / ".Archive").rename(data / "elsewhere")
    assert "Archive" not in await names_of(store)
    (data / "elsewhere").rename(root / ".Archive")
    assert "Archive" in await names_of(store)
    after = await account.folder("Archive")
    assert after is not None
    assert (after.id, after.uidvalidity, after.messages) == (before.id, before.uidvalidity, 3)
    assert after.uidnext >= before.uidnext
    assert after.highest_modseq > before.highest_modseq
    found = await all_rows(await account.mailbox("Archive"))
    assert [row._replace(modseq=ModSeq(0)) for row in found] == rows
    assert (await deliver(store, MAIRIE, 4, Placement("Archive"))).uid >= after.uidnext
    assert await store.verify(None) == []


async def test_h110_a_folder_removed_by_hand_while_a_writer_that_died_had_touched_it(
    data: Path, clock: ManualClock
) -> None:
    store = await opened(data, clock)
    await fill(store)
    await store.flush()
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    row = catalog.by_name(entry.handle.reader, "Archive")
    word = entry.handle.lock.read()
    assert row is not None
    assert word is not None
    entry.handle.lock.write(Word(word.boot, word.generation, State.BUSY, (str(row.number),)))
    shutil.rmtree(data / "domains/mairie.test/maire/.Archive")
    assert (await deliver(store, MAIRIE, 9)).uid
    assert "Archive" not in await names_of(store)
    await store.close()


@pytest.mark.parametrize("looked", [True, False], ids=["selected-first", "delivered-first"])
@pytest.mark.parametrize("moved", ["cur", ".Archive", ".Archive/cur", "../maire", "../../mairie.test"])
async def test_h110_a_directory_that_another_was_put_in_the_place_of_gets_no_mail(
    store: MaildirStore, data: Path, moved: str, looked: bool
) -> None:
    """Cause: its descriptor stayed open, and mail that was acknowledged lay in what had been moved away."""
    name = "Archive" if "Archive" in moved else "INBOX"
    await deliver(store, MAIRIE, 1, Placement(name))
    await store.flush()
    folder = await (await store.account(MAIRIE)).mailbox(name)
    assert (await folder.snapshot()).messages == 1
    assert await read(folder, 1) == mail(1)
    old = (data / "domains/mairie.test/maire" / moved).resolve()
    away = data / "away"
    old.rename(away)
    shutil.copytree(away, old)
    if looked:
        assert (await folder.snapshot()).messages == 1
    await deliver(store, MAIRIE, 2, Placement(name))
    rows = await all_rows(folder)
    assert [await read(folder, row.uid) for row in rows] == [mail(1), mail(2)]
    assert (await folder.snapshot()).messages == 2
    await store.flush()
    assert len(list(data.glob("domains/**/*,U=*"))) == 2
    assert len(list(away.rglob("*,U=*"))) == 1
    assert await store.verify(None) == []


async def test_h110_mail_waits_for_a_start_where_the_whole_store_was_exchanged(
    store: MaildirStore, data: Path, clock: ManualClock
) -> None:
    """Cause: what came meanwhile lay in the store that had been moved away."""
    await deliver(store, MAIRIE, 1)
    (data / "domains").rename(data / "domains.old")
    with pytest.raises(StorageError):
        await deliver(store, MAIRIE, 2)
    shutil.copytree(data / "domains.old", data / "domains")
    for _ in range(2):
        with pytest.raises(StorageError):
            await deliver(store, MAIRIE, 3)
    again = await opened(data, clock)
    await deliver(again, MAIRIE, 4)
    inbox = await (await again.account(MAIRIE)).mailbox("INBOX")
    assert [await read(inbox, row.uid) for row in await all_rows(inbox)] == [mail(1), mail(4)]
    assert len(list((data / "domains.old").rglob("*,U=*"))) == 1
    await again.close()


async def test_h110_mail_waits_while_cur_is_taken_away_by_hand(store: MaildirStore, data: Path) -> None:
    await deliver(store, MAIRIE, 1)
    cur, away = data / "domains/mairie.test/maire/cur", data / "away"
    cur.rename(away)
    with pytest.raises(StorageError):
        await deliver(store, MAIRIE, 2)
    assert len(list(away.iterdir())) == 1
    away.rename(cur)
    await deliver(store, MAIRIE, 3)
    inbox = await (await store.account(MAIRIE)).mailbox("INBOX")
    assert [await read(inbox, row.uid) for row in await all_rows(inbox)] == [mail(1), mail(3)]


@pytest.mark.parametrize("nanoseconds", [-3600 * 10**9, -2, 0])
async def test_h110_times_of_before_1970_keep_nobody_from_a_folder(
    store: MaildirStore, data: Path, nanoseconds: int
) -> None:
    """Cause: what stands for the folder's time told below zero that it could not be read, for ever, and at zero that
    nothing was known of it."""
    await deliver(store, MAIRIE, 1)
    inbox = await (await store.account(MAIRIE)).mailbox("INBOX")
    cur = data / "domains/mairie.test/maire/cur"
    os.utime(cur, ns=(nanoseconds, nanoseconds))
    assert (await inbox.snapshot()).messages == 1
    (cur / "1.hote:2,S").write_bytes(mail(2))
    assert (await inbox.snapshot()).messages == 2
    os.utime(cur, ns=(nanoseconds, nanoseconds))
    assert (await inbox.snapshot()).messages == 2
    await deliver(store, MAIRIE, 3)
    assert (await inbox.snapshot()).messages == 3


@pytest.mark.parametrize("name", ["INBOX", "Archive", "Très long " + "é" * 150], ids=["INBOX", "short", "long"])
@pytest.mark.parametrize("served", [True, False], ids=["while it serves", "while nobody served"])
async def test_h110_a_side_file_taken_away_by_hand_is_made_again(
    data: Path, clock: ManualClock, name: str, served: bool
) -> None:
    """Cause: nothing that it should tell could be written any more, mail neither, once a thousand had come; a folder
    with a long name was forgotten."""
    store = await opened(data, clock)
    account = await store.account(MAIRIE)
    if await account.folder(name) is None:
        await account.create(name)
    await deliver(store, MAIRIE, 1, Placement(name))
    folder = await account.mailbox(name)
    before = (await folder.snapshot()).folder
    [side] = [
        path
        for path in (data / "domains/mairie.test/maire").rglob("beffroi-folder")
        if before.id in path.read_text(encoding="utf-8")
    ]
    if not served:
        await store.close()
        (data / "domains/mairie.test/maire/beffroi.lock").write_bytes(b"")
    side.unlink()
    if not served:
        store = await opened(data, clock)
        folder = await (await store.account(MAIRIE)).mailbox(name)
    await folder.store_flags([(1, 1)], add_keywords=["neu"])
    after = (await folder.snapshot()).folder
    assert (after.id, after.uidvalidity, after.name, after.messages) == (before.id, before.uidvalidity, name, 1)
    assert side.exists()
    assert await store.verify(None) == []
    await store.rebuild(None)
    again = (await (await (await store.account(MAIRIE)).mailbox(name)).snapshot()).folder
    assert (again.id, again.uidvalidity, again.name) == (before.id, before.uidvalidity, name)
    assert again.uidnext >= after.uidnext
    await store.close()
