"""`mailbox recycled`, `mailbox restore`, `store recycle`: from a removal to the mail's return."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from beffroi.rooms import open_directory, open_store
from core.address import parse
from core.config import load
from directory.types import Account, Actor
from store.types import AccountRef, Placement
from tests.beffroi.commands import Done, forked, initialise
from tests.fakes.mail import content

pytestmark = pytest.mark.timeout(400)

ADDRESS = "maire@mairie.test"


async def _furnish(config: Path) -> None:
    """A commune whose mayor has two messages, one of them in a folder that is deleted."""
    settings, console = load(config), Actor.console()
    async with open_directory(settings) as directory, open_store(settings) as store:
        await directory.add_organisation(console, "Mairie")
        await directory.add_domain(console, "mairie.test", "Mairie")
        ref = AccountRef.of(await directory.add_account(console, parse(ADDRESS), password=None))
        account = await store.account(ref)
        await account.create("Dossier")
        await account.append([(content(1), Placement("Dossier")), (content(2), Placement())])
        await account.delete("Dossier")


async def _left_behind(config: Path) -> Account:
    """Out of the directory, with the mail still at its place, and a new mailbox there."""
    settings, console = load(config), Actor.console()
    async with open_directory(settings) as directory:
        await directory.remove_account(console, parse(ADDRESS))
        return await directory.add_account(console, parse(ADDRESS), password=None)


async def _audited(config: Path) -> dict[str, int]:
    """What is not the directory's, written down before it is tried; nothing of it left a line once."""
    async with open_directory(load(config)) as directory:
        return dict(Counter(entry.action for entry in await directory.audit(Actor.console()) if "." in entry.action))


def test_mail_comes_back_from_the_bin_and_from_a_backup(tmp_path: Path) -> None:
    config = initialise(tmp_path / "data")
    asyncio.run(_furnish(config))

    def run(*arguments: str) -> Done:
        return forked("--config", str(config), *arguments)

    (item,) = json.loads(run("mailbox", "recycled", ADDRESS, "--json").out)
    assert (item["address"], item["folder"], item["messages"]) == (ADDRESS, "Dossier", 1)
    done = json.loads(run("mailbox", "restore", ADDRESS, "--item", item["item"], "--json").out)
    assert (done["messages"], done["folder"][:14]) == (1, "Restauration 2")
    for absent in (("--item", "nowhere"), ("--in-place",)):  # no line in the audit, see below
        assert "in the recycle bin" in run("mailbox", "restore", ADDRESS, *absent).refusal
    shutil.copytree(tmp_path / "data/domains", tmp_path / "copy/domains", ignore=shutil.ignore_patterns("*index*"))
    copied = run("mailbox", "restore", ADDRESS, "--from", str(tmp_path / "copy"), "--folder", "INBOX")
    assert copied.out.startswith(f"{ADDRESS}: 1 messages restored to Restauration 2"), copied
    assert run("mailbox", "restore", ADDRESS, "--from", str(tmp_path / "nowhere")).refusal
    names = "INBOX, Archives, Brouillons, Corbeille, Envoyés, Indésirables, "
    wrong = run("mailbox", "restore", ADDRESS, "--from", str(tmp_path / "copy"), "--folder", "Dosier")
    assert wrong.refusal.startswith(f"the copy holds no folder Dosier; it has {names}"), wrong
    empty = run("mailbox", "restore", ADDRESS, "--from", str(tmp_path / "copy"), "--folder", "Corbeille")
    assert empty.out == f"{ADDRESS}: 0 messages restored\n"
    assert run("mailbox", "restore", ADDRESS, "--folder", "INBOX").refusal

    asyncio.run(_left_behind(config))
    told = run("store", "verify")
    assert told.code == 1
    assert f"beffroi store recycle {ADDRESS}" in told.out
    assert run("store", "recycle", ADDRESS).code == 0
    assert run("store", "recycle", ADDRESS).refusal
    back = json.loads(run("mailbox", "restore", ADDRESS, "--in-place", "--json").out)
    assert (back["folder"], back["messages"]) == ("", 3)
    shown = json.loads(run("mailbox", "show", ADDRESS, "--json").out)
    assert shown["messages"] == 3
    assert run("store", "verify").out == "no fault found\n"
    # --item, --from with the INBOX, and --in-place; what brought nothing back left no line
    assert asyncio.run(_audited(config)) == {"mailbox.restore": 3, "mailbox.recycle": 1}


@pytest.mark.parametrize("way", ["--repair", "--in-place"])
def test_f167_an_older_directory_has_a_mailbox_again_whose_mail_was_removed_with_it(tmp_path: Path, way: str) -> None:
    config = initialise(tmp_path / "data")
    asyncio.run(_furnish(config))
    database = tmp_path / "data/directory.db"

    def run(*arguments: str) -> Done:
        return forked("--config", str(config), *arguments)

    older = database.read_bytes()
    assert run("mailbox", "remove", ADDRESS).code == 0
    assert run("store", "verify").out == "no fault found\n"
    database.write_bytes(older)
    told = run("store", "verify")
    assert (told.code, told.out) == (
        1,
        f"{ADDRESS}: its mail lies in the recycle bin, so nobody can use it; beffroi mailbox restore {ADDRESS} "
        "--in-place brings it back\n",
    )
    if way == "--repair":
        assert run("store", "verify", "--repair").out == "no fault found\n"
    else:
        assert run("mailbox", "restore", ADDRESS, "--in-place").code == 0
    assert asyncio.run(_audited(config)) == {"mailbox.restore": 1}
    assert json.loads(run("mailbox", "show", ADDRESS, "--json").out)["messages"] == 1
    assert run("store", "verify").out == "no fault found\n"


def test_a_removed_mailbox_comes_back_by_the_commands_that_restore_tells(tmp_path: Path) -> None:
    """ "no such mailbox" was all that was said of it."""
    config = initialise(tmp_path / "data")
    asyncio.run(_furnish(config))

    def run(*arguments: str) -> Done:
        return forked("--config", str(config), *arguments)

    assert run("mailbox", "remove", ADDRESS).code == 0
    told = run("mailbox", "restore", "Maire@mairie.test", "--json")
    assert json.loads(told.err)["code"] == "mailbox-removed"
    add, back = f"beffroi mailbox add {ADDRESS}", f"beffroi mailbox restore {ADDRESS} --in-place"
    refusal = run("mailbox", "restore", ADDRESS).refusal
    assert refusal.startswith("no such mailbox: it was removed")
    assert add in refusal
    assert back in refusal
    assert run("mailbox", "restore", "autre@mairie.test").refusal == "no such mailbox"
    assert run(*add.split()[1:]).code == 0
    assert run(*back.split()[1:]).out == f"{ADDRESS}: 1 messages restored\n"  # the deleted folder stays in the bin


def test_rebuild_tells_what_it_left_alone(tmp_path: Path) -> None:
    config = initialise(tmp_path / "data")
    asyncio.run(_furnish(config))
    (tmp_path / "data/domains/mairie.test/maire/new/lien").symlink_to(tmp_path)
    done = forked("--config", str(config), "store", "rebuild", "--json")
    line = f"{ADDRESS} INBOX: file 'new/lien' is a symbolic link; it is left alone, and no client sees it: take it away"
    assert json.loads(done.out) == {"messages": 1, "left": [line]}
    assert f"beffroi: warning: {line}" in done.err


def test_f167_what_cannot_be_read_after_a_restore_is_named(tmp_path: Path) -> None:
    """Its side file is none: no permission keeps root out, who may run this test."""
    config = initialise(tmp_path / "data")
    asyncio.run(_furnish(config))
    odd = tmp_path / "data/domains/mairie.test/maire/.Brouillons/beffroi-folder"
    kept = odd.read_bytes()
    odd.unlink()
    odd.mkdir()
    line = f"{ADDRESS} Brouillons: the folder cannot be read: beffroi-folder is a directory"
    told = forked("--config", str(config), "store", "restored")
    assert (told.code, told.out) == (1, "1 accounts go on with new numbers\n")
    assert told.err == f"beffroi: no new numbers: {line}\nbeffroi: run it again once these can be read\n"
    listed = forked("--config", str(config), "store", "restored", "--json")
    assert (listed.code, listed.json) == (1, {"accounts": 1, "left_out": [line]})
    assert line in json.loads(listed.err)["error"]
    back = forked("--config", str(config), "mailbox", "restore", ADDRESS, "--from", str(tmp_path / "data"))
    assert (back.code, back.err) == (1, "beffroi: not restored: Brouillons: beffroi-folder is a directory\n")
    assert back.out.startswith(f"{ADDRESS}: 1 messages restored to Restauration 2")
    odd.rmdir()
    odd.write_bytes(kept)
    whole = forked("--config", str(config), "store", "restored", "--json")
    assert (whole.code, whole.json, whole.err) == (0, {"accounts": 1, "left_out": []}, "")
