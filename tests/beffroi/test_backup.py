"""`beffroi backup` and what comes after it: a restore with an older database, with an older mail, with a queue."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from beffroi.backup import run as back_up
from beffroi.backup import sqlite_file
from beffroi.installation import initialise
from beffroi.rooms import open_directory, open_queue, open_store
from core.address import parse
from core.config import Config, ConfigError, load
from core.sqlite import backup as copy_database
from delivery.queue.rows import NewMessage, NewRecipient
from directory.types import Actor
from message.content import BytesContent
from store import custody
from store.types import AccountRef, Placement, Uid
from tests.fakes.mail import content, mail

CONSOLE = Actor.console()


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = initialise(tmp_path / "data", "mx.dept.test")
    asyncio.run(_furnish(load(path)))
    return path


async def _furnish(config: Config) -> None:
    async with open_directory(config) as directory:
        await directory.add_organisation(CONSOLE, "Mairie")
        await directory.add_domain(CONSOLE, "mairie.test", "Mairie")
    await _mailbox(config, "maire", 1)


async def _mailbox(config: Config, local: str, number: int) -> None:
    """A new mailbox with one message."""
    async with open_directory(config) as directory, open_store(config) as store:
        ref = AccountRef.of(await directory.add_account(CONSOLE, parse(f"{local}@mairie.test"), password=None))
        await (await store.account(ref)).append([(content(number), Placement())])


async def _mended(config: Config) -> list[str]:
    """What `store verify --repair` finds first; afterwards all is well."""
    async with open_directory(config) as directory, open_store(config) as store:
        found = await custody.compare(directory, store, None)
        await custody.repair(directory, store, None)
        assert await custody.compare(directory, store, None) == []
        return found


async def _bodies(config: Config, local: str) -> list[bytes]:
    async with open_directory(config) as directory, open_store(config) as store:
        account = await store.account(AccountRef.of(await directory.account(CONSOLE, parse(f"{local}@mairie.test"))))
        inbox = await account.mailbox("INBOX")
        found = []
        for uid in await inbox.uids(await inbox.snapshot()):
            file = await inbox.open(Uid(uid))
            found.append(await file.read(0, file.size))
            file.close()
        return found


def restored(backup: Path, place: Path) -> Config:
    shutil.copytree(backup, place, copy_function=shutil.copy2)
    return load(place / "beffroi.toml")


@pytest.mark.faults
@pytest.mark.parametrize("killed", [False, True])
def test_f170_an_installation_on_a_read_only_disk_is_backed_up(tmp_path: Path, killed: bool) -> None:
    """Just when one wants it: the kernel made the disk read-only after an error. What a killed process left in a WAL
    is in the copy, with or without the file beside it that only a writer could make."""
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", str(mount)], check=True)
    try:
        path = initialise(mount / "data", "mx.dept.test")
        config = load(path)
        asyncio.run(_furnish(config))
        if killed:
            _add_and_die(config, "adjoint")
            (config.data / "domains/mairie.test/maire/beffroi.lock").unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
        assert back_up(config, path, tmp_path / "b").messages == 1
        assert back_up(config, path, tmp_path / "b").new == 0
        assert not list((tmp_path / "b").rglob("*still*"))
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)
    elsewhere = restored(tmp_path / "b", tmp_path / "elsewhere")
    assert asyncio.run(_bodies(elsewhere, "maire")) == [mail(1)]
    if killed:
        assert asyncio.run(_bodies(elsewhere, "adjoint")) == []


def _add_and_die(config: Config, local: str) -> None:
    """A process that is killed with a mailbox in the WAL alone, whose -shm is lost."""
    child = os.fork()
    if not child:
        asyncio.run(_only_add(config, local))
    os.waitpid(child, 0)
    database = sqlite_file(config.database_url)
    assert database is not None
    assert database.with_name(f"{database.name}-wal").stat().st_size
    database.with_name(f"{database.name}-shm").unlink()


async def _only_add(config: Config, local: str) -> None:
    async with open_directory(config) as directory:
        await directory.add_account(CONSOLE, parse(f"{local}@mairie.test"), password=None)
        os._exit(0)


def test_f167_an_installation_is_restored_elsewhere(config_path: Path, tmp_path: Path) -> None:
    config = load(config_path)
    assert back_up(config, config_path, tmp_path / "b").messages == 1
    elsewhere = restored(tmp_path / "b", tmp_path / "elsewhere")
    assert elsewhere.data == tmp_path / "elsewhere"
    for name in ("keys", "tls"):
        assert {p.name: p.read_bytes() for p in (elsewhere.data / name).iterdir()} == {
            p.name: p.read_bytes() for p in (config.data / name).iterdir()
        }
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "b").rglob("*") if "key" in path.name)
    assert asyncio.run(_mended(elsewhere)) == ["maire@mairie.test: index is missing"]
    assert asyncio.run(_bodies(elsewhere, "maire")) == [mail(1)]
    asyncio.run(_mailbox(elsewhere, "adjoint", 2))


def test_f167_an_older_database_with_newer_mail(config_path: Path, tmp_path: Path) -> None:
    config = load(config_path)
    back_up(config, config_path, tmp_path / "old")
    asyncio.run(_mailbox(config, "adjoint", 2))
    back_up(config, config_path, tmp_path / "new")
    shutil.copy2(tmp_path / "old/directory.db", tmp_path / "new/directory.db")
    mixed = restored(tmp_path / "new", tmp_path / "mixed")
    assert any("adjoint@mairie.test: mail whose mailbox is gone" in fault for fault in asyncio.run(_mended(mixed)))
    asyncio.run(_restore_into_a_new_mailbox(mixed))
    assert asyncio.run(_bodies(mixed, "adjoint")) == [mail(2)]


async def _restore_into_a_new_mailbox(config: Config) -> None:
    async with open_directory(config) as directory, open_store(config) as store:
        ref = AccountRef.of(await directory.add_account(CONSOLE, parse("adjoint@mairie.test"), password=None))
        await custody.restore_items(directory, store.administration, CONSOLE, ref, [], in_place=True)


def test_f167_a_newer_database_with_older_mail(config_path: Path, tmp_path: Path) -> None:
    config = load(config_path)
    back_up(config, config_path, tmp_path / "b")
    asyncio.run(_mailbox(config, "adjoint", 2))
    copy_database(config.data / "directory.db", tmp_path / "b/directory.db")
    mixed = restored(tmp_path / "b", tmp_path / "mixed")
    asyncio.run(_mended(mixed))
    assert asyncio.run(_bodies(mixed, "adjoint")) == []
    assert asyncio.run(_bodies(mixed, "maire")) == [mail(1)]


def test_f167_restored_mail_waits_for_the_operator_s_word(config_path: Path, tmp_path: Path) -> None:
    config = load(config_path)
    asyncio.run(_queue_one(config))
    back_up(config, config_path, tmp_path / "b")
    assert _held(config.queue_file) == [0]
    assert _held(tmp_path / "b/queue/queue.db") == [1]


async def _queue_one(config: Config) -> None:
    async with open_queue(config) as queue:
        to = (NewRecipient(parse("a@partner.test")),)
        await queue.enqueue(NewMessage("q1", parse("maire@mairie.test"), BytesContent(mail(1)), to))


def test_f168_a_queue_of_the_version_before_is_backed_up_and_waits_too(config_path: Path, tmp_path: Path) -> None:
    """The new program is installed, and the backup made before it is started."""
    config = load(config_path)
    asyncio.run(_queue_one(config))
    with closing(sqlite3.connect(config.queue_file)) as database:
        for table in ("queue_recipient", "queue_sending"):
            database.execute(f"ALTER TABLE {table} DROP COLUMN holds")
        database.execute("UPDATE queue_about SET value = '2' WHERE key = 'version'")
        database.commit()
    back_up(config, config_path, tmp_path / "b")
    asyncio.run(_open_queue(restored(tmp_path / "b", tmp_path / "elsewhere")))
    assert _held(tmp_path / "elsewhere/queue/queue.db") == [1]


async def _open_queue(config: Config) -> None:
    async with open_queue(config):
        pass


def _held(file: Path) -> list[int]:
    with closing(sqlite3.connect(file)) as database:
        return [row[0] for row in database.execute("SELECT held FROM queue_recipient WHERE held = (holds != 0)")]


def test_a_backup_never_overwrites_something_else(config_path: Path, tmp_path: Path) -> None:
    config = load(config_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/one.jpg").write_bytes(b"x")
    for target in (tmp_path / "photos", config.data / "inside"):
        with pytest.raises(ConfigError):
            back_up(config, config_path, target)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["one.jpg"]
    back_up(config, config_path, tmp_path / "b")
    assert back_up(config, config_path, tmp_path / "b").new == 0


def test_h133_a_backup_is_its_operators_alone(config_path: Path, tmp_path: Path) -> None:
    """Nobody but the user that made it looks into its directory, whatever the umask; the DKIM keys in it are sealed."""
    before = os.umask(0)
    try:
        back_up(load(config_path), config_path, tmp_path / "b")
    finally:
        os.umask(before)
    assert (tmp_path / "b").stat().st_mode & 0o077 == 0
    for path in (tmp_path / "b").rglob("*"):
        if path.is_file() and path.suffix in (".db", ".key", ".pem"):
            assert b"PRIVATE KEY" not in path.read_bytes() or path.stat().st_mode & 0o077 == 0, path
