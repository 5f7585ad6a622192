"""FIFOs, sockets, links, files and directories where something else of ours belongs: each is named with its path, its
kind and what to do, nothing waits for it or follows it, and whatever is not behind it is served."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import StorageError
from store.lockfile import LOCK_FILE
from store.service import MaildirStore
from store.types import Placement
from tests.fakes.mail import mail
from tests.store.helpers import MAIRIE, VOISIN, all_rows, deliver, inbox_of, read
from tests.store.picture import delete, opened

PATIENCE = 20.0  # seconds; a FIFO that is opened to read waits for ever
BACK, EMPTY, AGAIN = "put back what was there", "beffroi store rebuild makes it again, empty", "it is made again"


def bound(path: Path) -> None:
    """A path may be longer than a socket's name."""
    directory = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{directory}/{path.name}")
    os.close(directory)


def linked(path: Path) -> None:
    """To a directory that holds a message of ours, for whoever would follow."""
    outside = path.parents[4] / "outside"
    outside.mkdir()
    (outside / "1796097450.x,U=9,S=8:2,").write_bytes(b"secret\r\n")
    path.symlink_to(outside)


KINDS: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "socket": bound,
    "symbolic link": linked,
    "plain file": lambda path: path.write_bytes(b"x"),
    "directory": Path.mkdir,
}
NO_DIRECTORY = tuple(kind for kind in KINDS if kind != "directory")
NO_FILE = tuple(kind for kind in KINDS if kind != "plain file")


async def filled(data: Path, clock: ManualClock) -> Path:
    """Two messages in INBOX and Archive each, one of somebody else's; the account's directory."""
    store = await opened(data, clock)
    for number in (1, 2):
        await deliver(store, MAIRIE, number)
        await deliver(store, MAIRIE, 10 + number, Placement("Archive"))
    await deliver(store, VOISIN, 20)
    await store.close()
    return data / "domains/mairie.test/maire"


def put(path: Path, kind: str) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    KINDS[kind](path)


async def told(store: MaildirStore) -> list[str]:
    async with asyncio.timeout(PATIENCE):
        return list(await store.verify(None))


async def serves(store: MaildirStore, name: str, number: int) -> None:
    async with asyncio.timeout(PATIENCE):
        folder = await inbox_of(store, name=name)
        assert await read(folder, (await all_rows(folder))[0].uid) == mail(number)
        await deliver(store, MAIRIE, 50 + number, Placement(name))


@pytest.mark.faults
@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("kind", NO_DIRECTORY)
@pytest.mark.parametrize(
    ("where", "remedy"), [("cur", BACK), ("new", EMPTY), ("tmp", EMPTY)], ids=["cur", "new", "tmp"]
)
async def test_h109_what_stands_in_place_of_a_directory_is_named_and_the_others_are_served(
    data: Path, clock: ManualClock, where: str, kind: str, remedy: str, index: bool
) -> None:
    """Cause: "storage failed: Not a directory: 'cur'" of the whole account, and nothing of tmp/. Without an index the
    account was shut."""
    root = await filled(data, clock)
    put(root / f".Archive/{where}", kind)
    if not index:
        delete(data)
        (root / LOCK_FILE).unlink()
    store = await opened(data, clock)
    missing = [f"{ref.address}: index is missing" for ref in (MAIRIE, VOISIN)] if not index else []
    (line,) = [each for each in await told(store) if each not in missing]
    begin = f"maire@mairie.test Archive: {root}/.Archive/{where} is a {kind}, not a directory: take it away"
    assert line.startswith(begin)
    assert remedy in line
    await serves(store, "INBOX", 1)
    if where == "cur":
        with pytest.raises(StorageError):
            await deliver(store, MAIRIE, 60, Placement("Archive"))
    else:
        await serves(store, "Archive", 11)
    assert line in await store.administration.left_alone(None)
    assert line in await told(store)
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("kind", NO_DIRECTORY)
@pytest.mark.parametrize("where", ["new", "tmp"])
async def test_h109_an_account_without_its_own_new_and_tmp_is_recovered_and_read(
    data: Path, clock: ManualClock, where: str, kind: str
) -> None:
    root = await filled(data, clock)
    put(root / where, kind)
    delete(data)
    store = await opened(data, clock)
    async with asyncio.timeout(PATIENCE):
        assert len(await all_rows(await inbox_of(store))) == 2
    assert [line for line in await told(store) if f"{root}/{where} is a {kind}, not a directory: " in line]
    await store.close()
    path = root / where
    path.unlink()
    store = await opened(data, clock)
    assert await store.rebuild(None) == 5
    assert await told(store) == []
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("kind", NO_FILE)
@pytest.mark.parametrize("name", [".Archive/beffroi-folder", ".Archive/beffroi-journal", "beffroi.lock", "index.db"])
async def test_h109_what_stands_in_place_of_a_file_is_named_and_keeps_nobody_elses_from_being_looked_at(
    data: Path, clock: ManualClock, name: str, kind: str
) -> None:
    root = await filled(data, clock)
    put(root / name, kind)
    next((data / "domains/mairie.test/secretariat/cur").iterdir()).unlink()
    store = await opened(data, clock)
    faults = await told(store)
    label = "maire@mairie.test Archive" if "/" in name else "maire@mairie.test"
    assert [
        line for line in faults if line.startswith(f"{label}: {root}/{name} is a {kind}, not a plain file: take it")
    ]
    assert "secretariat@mairie.test INBOX: UID 1 has no file" in faults
    assert len(faults) == 2
    if "/" in name:
        await serves(store, "INBOX", 1)
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("kind", NO_FILE)
async def test_h109_a_folder_whose_side_file_is_none_is_not_forgotten_by_a_rebuild(
    data: Path, clock: ManualClock, kind: str
) -> None:
    """Cause: a link there was taken for a folder that is none."""
    root = await filled(data, clock)
    put(root / ".Archive/beffroi-folder", kind)
    store = await opened(data, clock)
    with pytest.raises(StorageError):
        await store.rebuild(None)
    assert "Archive" in {folder.name for folder in await (await store.account(MAIRIE)).folders()}
    path = root / ".Archive/beffroi-folder"
    path.rmdir() if kind == "directory" else path.unlink()
    assert await store.rebuild(None) == 5
    assert await told(store) == []
    assert [row.uid for row in await all_rows(await inbox_of(store, name="Archive"))] == [1, 2]
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("kind", NO_FILE)
async def test_h109_an_account_whose_own_file_is_none_is_named_and_the_others_are_looked_at(
    data: Path, clock: ManualClock, kind: str
) -> None:
    """Cause: a FIFO there ended the whole command: "Illegal seek"."""
    root = await filled(data, clock)
    put(root / "beffroi-account", kind)
    next((data / "domains/mairie.test/secretariat/cur").iterdir()).unlink()
    store = await opened(data, clock)
    assert await told(store) == [
        f"mairie.test/maire: beffroi-account is a {kind}; its mail serves nobody: "
        "take it away, it is written again when the mailbox is next used",
        "secretariat@mairie.test INBOX: UID 1 has no file",
    ]
    path = root / "beffroi-account"
    path.rmdir() if kind == "directory" else path.unlink()
    await serves(store, "INBOX", 1)
    assert len(await told(store)) == 1
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("kind", NO_DIRECTORY)
async def test_h109_what_stands_in_place_of_a_folder_is_named(data: Path, clock: ManualClock, kind: str) -> None:
    root = await filled(data, clock)
    put(root / ".Archive", kind)
    store = await opened(data, clock)
    (line,) = await told(store)
    assert f"{root}/.Archive is a {kind}, not a directory: take it away, and put back" in line
    assert "Archive" in line.partition(": ")[0] or "folder 'Archive': " in line
    await serves(store, "INBOX", 1)
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["FIFO", "socket", "symbolic link", "directory"])
@pytest.mark.parametrize("where", ["cur", "new", "tmp"])
async def test_h109_what_is_inside_is_named_and_left_alone(
    data: Path, clock: ManualClock, where: str, kind: str
) -> None:
    """Of tmp/ what is older than a day, too, when the account is recovered: a directory there kept it shut."""
    root = await filled(data, clock)
    path = root / where / "étrange"
    KINDS[kind](path)
    os.utime(path, (1, 1), follow_symlinks=False)
    store = await opened(data, clock)
    (line,) = await told(store)
    if where == "tmp":
        assert line == f"maire@mairie.test: {path} is a {kind}, not a plain file: take it away"
    else:
        left = "it is left alone, and no client sees it: take it away"
        assert line == f"maire@mairie.test INBOX: file '{where}/étrange' is a {kind}; {left}"
    await store.close()
    delete(data)
    store = await opened(data, clock)
    await serves(store, "INBOX", 1)
    assert len(await all_rows(await inbox_of(store))) == 3
    await store.close()
