"""What a rebuild, and `verify --repair`, make again of directories that lost a part."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import MailError
from store.types import Placement
from tests.store.helpers import MAIRIE, all_rows, deliver
from tests.store.picture import delete, fill, opened, picture


@pytest.mark.parametrize("index", [True, False], ids=["with its index", "without"])
async def test_h110_a_copy_without_its_empty_directories_is_made_whole_by_a_rebuild(
    data: Path, clock: ManualClock, index: bool
) -> None:
    """Cause: no command brought it back. An INBOX without cur/ is refused, for fsck may have lost it; `rebuild` and
    `verify --repair` ended with "No such file or directory: 'tmp'"."""
    store = await opened(data, clock)
    await fill(store)
    account = await store.account(MAIRIE)
    await account.rename("INBOX", "Avant")
    before = await picture(store)
    await store.close()
    if not index:
        delete(data)
    root = data / "domains/mairie.test/maire"
    for parent, _, _ in os.walk(root, topdown=False):
        if not os.listdir(parent):
            os.rmdir(parent)
    assert not (root / "cur").exists()
    assert not (root / "tmp").exists()
    store = await opened(data, clock)
    with pytest.raises(MailError):
        await deliver(store, MAIRIE, 30)
    faults = await store.verify(None)
    if index:
        told = "has no cur/ (beffroi store rebuild makes it again, empty)"
        assert f"maire@mairie.test: folder 'INBOX' {told}" in faults
    await store.rebuild(None)
    assert await store.verify(None) == []
    assert await picture(store) == before
    await deliver(store, MAIRIE, 30)
    assert len(await all_rows(await (await store.account(MAIRIE)).mailbox("INBOX"))) == 1
    await store.close()


async def test_h110_such_a_copy_gets_new_numbers_all_the_same(data: Path, clock: ManualClock) -> None:
    store = await opened(data, clock)
    await fill(store)
    await store.close()
    delete(data)
    (data / "domains/mairie.test/maire/tmp").rmdir()
    store = await opened(data, clock)
    assert await store.administration.raise_numbers(None) == (1, [])
    assert await store.verify(None) == []
    await store.close()


@pytest.mark.parametrize("name", ["INBOX", "Sent"])
async def test_a_rebuild_takes_a_lost_side_file_from_the_index_it_replaces(
    data: Path, clock: ManualClock, name: str
) -> None:
    """Cause: the folder got a new UIDVALIDITY, so that mail programs fetched all of it again, though the index knew
    the old one."""
    store = await opened(data, clock)
    await fill(store)
    await deliver(store, MAIRIE, 31, Placement(name))
    before = await picture(store)
    (data / "domains/mairie.test/maire" / ("" if name == "INBOX" else f".{name}") / "beffroi-folder").unlink()
    await store.rebuild(None)
    assert await store.verify(None) == []
    assert await picture(store) == before
    await store.close()


async def test_verify_names_directories_whose_mail_no_client_sees(data: Path, clock: ManualClock) -> None:
    store = await opened(data, clock)
    await fill(store)
    root = data / "domains/mairie.test/maire"
    for directory in (".a..b", ".a%00b"):
        (root / directory / "cur").mkdir(parents=True)
        (root / directory / "cur/1.m:2,").write_bytes(b"Subject: seen by nobody\r\n\r\n")
    (root / ".Lien").symlink_to(root / ".Sent")
    (root / ".Rien").mkdir()
    (root / ".Fichier").touch()
    told = "tells no folder's name; no client sees its mail"
    assert await store.verify(None) == [
        "maire@mairie.test: directory '.Lien' is a symbolic link; it is left alone",
        f"maire@mairie.test: directory '.a%00b' {told}",
        f"maire@mairie.test: directory '.a..b' {told}",
    ]
    await store.close()


async def test_h110_a_rebuild_forgets_a_folder_of_which_hands_left_the_directory_alone(
    data: Path, clock: ManualClock
) -> None:
    """Cause: a look that came before could not open what is no folder any more, and the rebuild was refused."""
    store = await opened(data, clock)
    account = await store.account(MAIRIE)
    await account.create("Projets")
    await deliver(store, MAIRIE, 1)
    folder = data / "domains/mairie.test/maire/.Projets"
    shutil.rmtree(folder / "cur")
    (folder / "beffroi-folder").unlink()
    assert await store.rebuild(None) == 1
    assert "Projets" not in [each.name for each in await (await store.account(MAIRIE)).folders()]
    await store.close()
