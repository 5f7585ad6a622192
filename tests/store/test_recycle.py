"""The recycle bin: what lies there, who gets it back, and when it goes for good."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.config import Limits
from core.errors import ConflictError, NotFoundError, QuotaError
from store.service import MaildirStore
from store.types import AccountRef, Flag, Placement
from tests.fakes.mail import content, mail
from tests.store.helpers import AUTRE, MAIRIE, VOISIN, all_rows, by_hand, cur, deliver, inbox_of, read

SUCCESSOR = AccountRef("acc9", "org1", "mairie.test", "maire")
STRANGER = AccountRef("acc8", "org2", "mairie.test", "maire")
DAY = 86_400


@pytest.fixture
async def filled(store: MaildirStore) -> MaildirStore:
    """MAIRIE with mail of all kinds in a folder with a child, and in INBOX."""
    account = await store.account(MAIRIE)
    await account.create("Urbanisme/Permis")
    words = tuple(f"mot{number}" for number in range(30))
    await account.append(
        [
            (content(1), Placement("Urbanisme", Flag.SEEN, internal_date=1e9)),
            (content(2), Placement("Urbanisme", Flag.FLAGGED, words)),
            (content(3), Placement("Urbanisme/Permis")),
            (content(4), Placement()),
        ]
    )
    return store


def _long_quiet(directory: Path) -> None:
    os.utime(directory, (0, 0))


async def _bodies(store: MaildirStore, ref: AccountRef, name: str) -> list[bytes]:
    mailbox = await inbox_of(store, ref, name)
    return [await read(mailbox, row.uid) for row in await all_rows(mailbox)]


async def test_a_deleted_folder_comes_back_beside_the_others(filled: MaildirStore) -> None:
    account = await filled.account(MAIRIE)
    await (await account.mailbox("Urbanisme")).expunge([(1, 1)], only_deleted=False)
    await account.append([(content(5), Placement("Urbanisme", Flag.SEEN, internal_date=1e9))])
    await account.delete("Urbanisme")
    (item,) = await filled.administration.recycled("org1")
    assert (item.account_id, item.address, item.folder) == ("acc1", "maire@mairie.test", "Urbanisme")
    assert (item.messages, item.octets) == (2, len(mail(2)) + len(mail(5)))
    done = await filled.administration.restore(MAIRIE, [item])
    assert done.folder.startswith("Restauration 20")
    assert (done.folders, done.messages) == (1, 2)
    back = await inbox_of(filled, name=f"{done.folder}/Urbanisme")
    rows = await all_rows(back)
    assert [await read(back, row.uid) for row in rows] == [mail(2), mail(5)]
    assert [row.flags for row in rows] == [Flag.FLAGGED, Flag.SEEN]
    assert len(rows[0].keywords) == 30
    assert rows[1].internal_date == 1_000_000_000
    again = await filled.administration.restore(MAIRIE, [item])
    assert again.folder == f"{done.folder} (2)"
    assert await filled.verify(None) == []
    assert await filled.rebuild(None) == 6
    assert len((await all_rows(back))[0].keywords) == 30


async def test_a_restored_message_shares_its_inode_with_the_bin(filled: MaildirStore, data: Path) -> None:
    await (await filled.account(MAIRIE)).delete("Urbanisme")
    (item,) = await filled.administration.recycled()
    done = await filled.administration.restore(MAIRIE, [item])
    files = cur(data, MAIRIE, f".{done.folder.replace(' ', '%20')}.Urbanisme")
    assert [file.stat().st_nlink for file in files] == [2, 2]


async def test_a_removed_mailbox_comes_back_into_its_successor(filled: MaildirStore) -> None:
    await filled.remove_account(MAIRIE)
    await deliver(filled, SUCCESSOR, 7)
    (item,) = await filled.administration.recycled("org1")
    assert (item.folder, item.messages, item.address) == ("", 4, "maire@mairie.test")
    done = await filled.administration.restore(SUCCESSOR, [item])
    assert (done.folders, done.messages) == (3, 4)
    assert await _bodies(filled, SUCCESSOR, "INBOX") == [mail(7)]
    assert await _bodies(filled, SUCCESSOR, f"{done.folder}/INBOX") == [mail(4)]
    assert await _bodies(filled, SUCCESSOR, f"{done.folder}/Urbanisme/Permis") == [mail(3)]


async def test_p8_another_commune_gets_nothing_of_it(filled: MaildirStore) -> None:
    await filled.remove_account(MAIRIE)
    (item,) = await filled.administration.recycled()
    assert await filled.administration.recycled("org2") == []
    for step in (
        filled.administration.restore(STRANGER, [item]),
        filled.administration.restore(AUTRE, [item]),
        filled.administration.give_back(STRANGER, item),
    ):
        with pytest.raises(NotFoundError):
            await step


async def test_a_removed_mailbox_becomes_its_successor_with_its_uids(filled: MaildirStore) -> None:
    inbox = await inbox_of(filled, MAIRIE, "Urbanisme")
    before, rows = await inbox.snapshot(), await all_rows(inbox)
    await filled.remove_account(MAIRIE)
    await filled.account(SUCCESSOR)  # its first login
    (item,) = await filled.administration.recycled()
    await filled.administration.give_back(SUCCESSOR, item)
    back = await inbox_of(filled, SUCCESSOR, "Urbanisme")
    after = await back.snapshot()
    assert (after.uidvalidity, after.uidnext, after.messages) == (before.uidvalidity, before.uidnext, 2)
    assert [(r.uid, r.email_id, r.flags, r.keywords) for r in await all_rows(back)] == [
        (r.uid, r.email_id, r.flags, r.keywords) for r in rows
    ]
    assert after.modseq >= before.modseq
    assert await filled.administration.recycled() == []
    assert (await deliver(filled, SUCCESSOR, 8)).uid == 2
    assert await filled.verify(None) == []
    with pytest.raises(NotFoundError):
        await filled.administration.give_back(SUCCESSOR, item)


async def test_a_mailbox_with_mail_is_not_replaced_by_an_older_one(filled: MaildirStore) -> None:
    await filled.remove_account(MAIRIE)
    await deliver(filled, SUCCESSOR, 7)
    (item,) = await filled.administration.recycled()
    with pytest.raises(ConflictError):
        await filled.administration.give_back(SUCCESSOR, item)
    assert await _bodies(filled, SUCCESSOR, "INBOX") == [mail(7)]
    assert await filled.administration.recycled() == [item]


async def test_what_does_not_fit_the_quota_is_refused_before_anything_is_made(filled: MaildirStore) -> None:
    await (await filled.account(MAIRIE)).delete("Urbanisme")
    (item,) = await filled.administration.recycled()
    small = AccountRef("acc1", "org1", "mairie.test", "maire", quota=3 * len(mail(1)))
    with pytest.raises(QuotaError):
        await filled.administration.restore(small, [item])
    assert not [f.name for f in await (await filled.account(MAIRIE)).folders() if f.name.startswith("Rest")]


async def test_a_mailbox_comes_back_from_a_copy_of_the_data_directory(
    filled: MaildirStore, data: Path, tmp_path: Path
) -> None:
    await filled.flush()
    shutil.copytree(data, tmp_path / "sauvegarde", ignore=shutil.ignore_patterns("*index*", "run"))
    await (await inbox_of(filled)).expunge(None, only_deleted=False)
    done = await filled.administration.restore_copy(MAIRIE, tmp_path / "sauvegarde")
    assert (done.folders, done.messages) == (3, 4)
    assert await _bodies(filled, MAIRIE, f"{done.folder}/INBOX") == [mail(4)]
    only = await filled.administration.restore_copy(MAIRIE, tmp_path / "sauvegarde", "Urbanisme/Permis")
    assert (only.folders, only.messages) == (1, 1)
    for directory in (data / "domains/mairie.test/maire").glob(".Restauration*.Urbanisme.Permis"):
        assert [file.stat().st_nlink for file in (directory / "cur").iterdir()] == [1]
    with pytest.raises(NotFoundError):
        await filled.administration.restore_copy(VOISIN, tmp_path / "sauvegarde")
    with pytest.raises(NotFoundError):
        await filled.administration.restore_copy(MAIRIE, tmp_path / "nulle-part")


async def test_h109_links_in_a_copy_are_not_followed(filled: MaildirStore, data: Path, tmp_path: Path) -> None:
    await filled.flush()
    copy = tmp_path / "sauvegarde"
    shutil.copytree(data, copy, ignore=shutil.ignore_patterns("*index*", "run"))
    (planted,) = cur(copy, MAIRIE)
    planted.unlink()
    secret = tmp_path / "secret"
    secret.write_bytes(mail(4))
    planted.symlink_to(secret)
    done = await filled.administration.restore_copy(MAIRIE, copy)
    assert done.messages == 3
    shutil.rmtree(copy / "domains/mairie.test")
    (copy / "domains/mairie.test").symlink_to(data / "domains/mairie.test")
    with pytest.raises(NotFoundError):
        await filled.administration.restore_copy(MAIRIE, copy)


async def test_the_bin_is_emptied_after_its_time(data: Path, clock: ManualClock) -> None:
    store = MaildirStore(data, clock=clock, limits=Limits(recycle_days=10))
    await store.open()
    account = await store.account(MAIRIE)
    for number, name in enumerate(("A", "B"), 1):
        await account.create(name)
        await account.append([(content(number), Placement(name))])
    await account.delete("A")
    await deliver(store, VOISIN, 3)
    await store.remove_account(VOISIN)
    clock.advance(9 * DAY)
    await account.delete("B")
    assert await store.administration.purge() == 0
    clock.advance(2 * DAY)
    assert await store.administration.purge() == 2
    assert [item.folder for item in await store.administration.recycled()] == ["B"]
    bins = data / "recycle"
    assert [entry.name.split(".")[0] for entry in (bins / "acc1").iterdir() if entry.is_dir()] == ["folder"]
    clock.advance(20 * DAY)
    assert await store.administration.purge() == 1
    assert await store.administration.purge() == 0
    for name in ("acc1", "acc2"):
        _long_quiet(bins / name)
    await store.administration.purge()
    assert list(bins.iterdir()) == []
    await store.close()


async def test_f144_a_purge_that_was_cut_off_is_finished(store: MaildirStore, data: Path, clock: ManualClock) -> None:
    account = await store.account(MAIRIE)
    await account.create("A")
    await account.delete("A")
    (entry,) = (data / "recycle/acc1").glob("folder.*")
    entry.rename(entry.with_name(f".gone.{entry.name}"))
    assert await store.administration.recycled() == []
    await store.administration.purge()
    assert [path.name for path in (data / "recycle/acc1").iterdir()] == ["beffroi-account"]


async def test_a_folder_deleted_by_hand_inside_the_bin_is_not_offered(filled: MaildirStore, data: Path) -> None:
    await (await filled.account(MAIRIE)).delete("Urbanisme")
    (item,) = await filled.administration.recycled()
    shutil.rmtree(data / "recycle" / item.id)
    by_hand(data / "recycle")
    assert await filled.administration.recycled() == []
    with pytest.raises(NotFoundError):
        await filled.administration.restore(MAIRIE, [item])


async def test_folders_that_a_mail_program_deleted_from_below_come_back_under_their_names(
    filled: MaildirStore, clock: ManualClock
) -> None:
    """Cause: the child's making made what is above it, whose own mail then came back under an id. One that was deleted
    twice comes back twice."""
    account = await filled.account(MAIRIE)
    for number in (5, 6):
        for name in ("Urbanisme/Permis", "Urbanisme"):
            await account.delete(name)
            clock.advance(60)
        await account.create("Urbanisme/Permis")
        await account.append([(content(number), Placement("Urbanisme"))])
    items = await filled.administration.recycled()
    done = await filled.administration.restore(MAIRIE, items)
    assert await _bodies(filled, MAIRIE, f"{done.folder}/Urbanisme") == [mail(1), mail(2)]
    assert await _bodies(filled, MAIRIE, f"{done.folder}/Urbanisme (2)") == [mail(5)]
    assert await _bodies(filled, MAIRIE, f"{done.folder}/Urbanisme/Permis") == [mail(3)]
    names = {folder.name for folder in await account.folders() if folder.name.startswith(done.folder)}
    assert names == {done.folder, *(f"{done.folder}/{name}" for name in NAMES)}


NAMES = ("Urbanisme", "Urbanisme (2)", "Urbanisme/Permis", "Urbanisme/Permis (2)")
