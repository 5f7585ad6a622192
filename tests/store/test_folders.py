"""Folders: made, renamed with children, deleted, subscribed; and all of it again after the index is gone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.config import Limits
from core.errors import ConflictError, InvalidError, NotFoundError, QuotaError, StorageError
from store.service import MaildirStore
from store.store import AccountStore
from store.types import AccountRef, Flag, Folder, Placement
from tests.fakes.mail import content, mail
from tests.store.helpers import MAIRIE, VOISIN, all_rows, deliver, inbox_of, read

STANDARD = ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"]


async def _names(account: AccountStore) -> list[str]:
    return [folder.name for folder in await account.folders()]


async def test_a_new_account_has_the_standard_folders(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    folders = await account.folders()
    assert [folder.name for folder in folders] == STANDARD
    assert [folder.special_use for folder in folders[1:]] == [f"\\{name}" for name in STANDARD[1:]]
    assert len({folder.id for folder in folders}) == len({folder.uidvalidity for folder in folders}) == 6
    assert all(folder.subscribed and folder.uidnext == 1 for folder in folders)


async def test_create_makes_missing_parents(store: MaildirStore, data: Path) -> None:
    account = await store.account(MAIRIE)
    folder = await account.create("Urbanisme/Permis/2026.1")
    assert (folder.name, folder.messages, folder.uidnext) == ("Urbanisme/Permis/2026.1", 0, 1)
    assert "Urbanisme/Permis" in await _names(account)
    assert (data / "domains/mairie.test/maire/.Urbanisme.Permis.2026%2E1/cur").is_dir()
    with pytest.raises(ConflictError):
        await account.create("Urbanisme/Permis")
    with pytest.raises(ConflictError):
        await account.create("inbox")
    with pytest.raises(InvalidError):
        await account.create("a/../b")
    assert await account.folder("a/../b") is None
    with pytest.raises(InvalidError):
        await account.create("Faux", special_use="\\Nawak")


async def test_rename_takes_children_messages_and_ids_along(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    await account.create("A/B/C")
    await account.append([(content(1), Placement("A/B", flags=Flag.SEEN))])
    child = await account.mailbox("A/B")
    before = {folder.name: folder.id for folder in await account.folders()}
    await account.rename("A", "Dossiers/Zone")
    after = {folder.name: folder.id for folder in await account.folders()}
    assert "A" not in after
    assert after["Dossiers/Zone/B/C"] == before["A/B/C"]
    assert await read(child, 1) == mail(1)  # a session that had it selected goes on
    assert (await all_rows(await account.mailbox("Dossiers/Zone/B")))[0].flags == Flag.SEEN


@pytest.mark.parametrize("old", ["A", "INBOX"])
async def test_a_subscription_comes_along_and_the_levels_above_get_none(store: MaildirStore, old: str) -> None:
    account = await store.account(MAIRIE)
    if old != "INBOX":
        await account.create(old)
    await account.rename(old, "Dossiers/Zone/B")
    assert [name for name in await account.subscriptions() if name not in STANDARD] == ["Dossiers/Zone/B"]


async def test_rename_refuses_what_cannot_be(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    await account.create("A/B")
    with pytest.raises(NotFoundError):
        await account.rename("Inconnu", "X")
    with pytest.raises(ConflictError):
        await account.rename("A", "Sent")
    with pytest.raises(InvalidError):
        await account.rename("A", "A/B/C")
    with pytest.raises(InvalidError):
        await account.rename("A", "inbox")


async def test_h104_rename_of_inbox_leaves_an_empty_inbox(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    await asyncio.gather(account.rename("INBOX", "Vieux"), deliver(store, MAIRIE, 2))
    rows = await all_rows(inbox) + await all_rows(await account.mailbox("Vieux"))
    assert {row.envelope for row in rows} != set()
    assert len(rows) == 2
    assert (await inbox.snapshot()).folder.name == "INBOX"


async def test_delete_keeps_children_and_subscription_and_fills_the_bin(store: MaildirStore, data: Path) -> None:
    account = await store.account(MAIRIE)
    await account.create("A/B")
    await account.append([(content(1), Placement("A"))])
    mailbox = await account.mailbox("A")
    await account.delete("A")
    assert "A" not in await _names(account)
    assert "A/B" in await _names(account)
    assert "A" in await account.subscriptions()
    assert (await mailbox.changes(0, 1)).gone
    with pytest.raises(NotFoundError):
        await mailbox.snapshot()
    assert await account.usage() == (0, 0)
    (binned,) = (data / "recycle/acc1").glob("folder.*")
    assert len(list((binned / "cur").iterdir())) == 1
    assert json.loads((binned / "beffroi-folder").read_text())["name"] == "A"
    with pytest.raises(InvalidError):
        await account.delete("Inbox")
    with pytest.raises(NotFoundError):
        await account.delete("A")


async def test_a_name_made_again_is_another_folder(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    first = await account.create("Dossier")
    await account.delete("Dossier")
    second = await account.create("Dossier")
    assert second.uidvalidity > first.uidvalidity
    assert second.id != first.id
    assert (await account.subscriptions()).count("Dossier") == 1


async def test_subscriptions_need_a_folder_to_begin_and_none_to_end(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    await account.subscribe("Junk", False)
    assert "Junk" not in await account.subscriptions()
    with pytest.raises(NotFoundError):
        await account.subscribe("Inconnu", True)
    await account.create("A")
    await account.delete("A")
    await account.subscribe("A", False)
    assert "A" not in await account.subscriptions()


async def test_h098_the_number_of_folders_is_bounded(data: Path, clock: ManualClock) -> None:
    store = MaildirStore(data, clock=clock, limits=Limits(folders=7))
    await store.open()
    account = await store.account(MAIRIE)
    await account.create("A")
    with pytest.raises(QuotaError):
        await account.create("B")
    assert "B" not in await _names(account)
    await store.close()


async def test_f159_the_same_folders_come_back_without_an_index(data: Path, clock: ManualClock) -> None:
    store = MaildirStore(data, clock=clock)
    await store.open()
    account = await store.account(MAIRIE)
    await account.create("Élus/Séance du 3")
    await account.create("é" * 80, special_use="\\All")
    await account.create("A/B")
    await account.rename("A", "Z" * 210)
    await account.subscribe("Élus", False)
    await account.delete("Junk")
    before, names = await account.folders(), await account.subscriptions()
    await store.close()
    for path in (data / "domains").rglob("*index*"):
        path.unlink()
    again = MaildirStore(data, clock=clock)
    await again.open()
    account = await again.account(MAIRIE)
    assert list(await account.folders()) == list(before)
    assert sorted(await account.subscriptions()) == sorted(names)
    await again.close()


async def test_a_rename_cut_off_in_the_middle_is_completed(data: Path, clock: ManualClock) -> None:
    store = MaildirStore(data, clock=clock)
    await store.open()
    account = await store.account(MAIRIE)
    await account.create("A/B")
    ids = {folder.id for folder in await account.folders()}
    await store.close()
    root = data / "domains/mairie.test/maire"
    moves = [[".A", ".Z", "Z"], [".A.B", ".Z.B", "Z/B"]]
    (root / "beffroi-intent").write_text(json.dumps({"moves": moves}))
    (root / ".A").rename(root / ".Z")
    (root / "beffroi.lock").unlink()
    store = MaildirStore(data, clock=clock)
    await store.open()
    account = await store.account(MAIRIE)
    assert {"Z", "Z/B"} <= set(await _names(account))
    assert {folder.id for folder in await account.folders()} == ids
    assert not (root / "beffroi-intent").exists()
    await store.close()


async def test_a_removed_account_goes_to_the_bin_and_its_address_starts_anew(store: MaildirStore, data: Path) -> None:
    await deliver(store, MAIRIE, 1)
    await store.remove_account(MAIRIE)
    assert not (data / "domains/mairie.test/maire").exists()
    (binned,) = (data / "recycle/acc1").glob("account.*")
    assert len(list((binned / "cur").iterdir())) == 1
    await store.remove_account(MAIRIE)
    successor = AccountRef("acc9", "org1", "mairie.test", "maire")
    assert await (await store.account(successor)).usage() == (0, 0)


async def test_p8_a_directory_of_another_account_is_never_served(store: MaildirStore) -> None:
    await deliver(store, MAIRIE, 1)
    with pytest.raises(StorageError):
        await store.account(AccountRef("intrus", "org1", "mairie.test", "maire"))
    assert await (await store.account(MAIRIE)).usage() == (len(mail(1)), 1)


FRENCH = {"Brouillons": "\\Drafts", "Indésirables": "\\Junk"}


async def test_new_accounts_have_the_folders_of_the_installation_and_old_ones_keep_theirs(
    data: Path, clock: ManualClock
) -> None:
    store = MaildirStore(data, clock=clock)
    await store.open()
    await store.account(MAIRIE)
    await store.close()
    store = MaildirStore(data, clock=clock, standard=FRENCH)
    await store.open()
    try:
        assert [folder.name for folder in await (await store.account(MAIRIE)).folders()] == STANDARD
        named = await store.account(VOISIN)
        assert {folder.name: folder.special_use for folder in await named.folders()} == {"INBOX": ""} | FRENCH
        for name in ("Junk", "Indésirables"):  # by the house's word or its own name: the same folder
            await named.append([(content(), Placement(name))])
        assert (await folder_named(named, "Indésirables")).messages == 2
        await named.rename("Indésirables", "Divers")  # the use stays with the folder
        await named.append([(content(), Placement("Junk"))])
        assert (await folder_named(named, "Divers")).messages == 3
        await named.delete("Divers")
        await named.append([(content(), Placement("Junk"))])
        assert (await folder_named(named, "Indésirables")).special_use == "\\Junk"
    finally:
        await store.close()


async def folder_named(account: AccountStore, name: str) -> Folder:
    folder = await account.folder(name)
    assert folder is not None
    return folder
