"""Short words for the store's tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from store import outside
from store.fsops import FileSystem
from store.service import MaildirStore
from store.store import Mailbox
from store.transaction import Transaction
from store.types import AccountRef, Appended, Column, Message, Placement, Uid
from tests.fakes.mail import content
from tests.store.conftest import AUTRE, MAIRIE, VOISIN

__all__ = [
    "AUTRE",
    "EVERY",
    "MAIRIE",
    "VOISIN",
    "FailingDisk",
    "all_rows",
    "by_hand",
    "cur",
    "deliver",
    "fail_commits",
    "inbox_of",
    "read",
    "refs_in_tmp",
]
EVERY = Column(255)
WHOLE = ((1, 0xFFFFFFFF),)


async def deliver(store: MaildirStore, ref: AccountRef, number: int, placement: Placement | None = None) -> Appended:
    async with await store.stage(b"", content(number), first=ref) as staged:
        return await staged.deliver(ref, placement or Placement())


async def inbox_of(store: MaildirStore, ref: AccountRef = MAIRIE, name: str = "INBOX") -> Mailbox:
    return await (await store.account(ref)).mailbox(name)


async def all_rows(mailbox: Mailbox, columns: Column = EVERY) -> list[Message]:
    return [message async for batch in mailbox.rows(WHOLE, columns) for message in batch]


async def read(mailbox: Mailbox, uid: int) -> bytes:
    file = await mailbox.open(Uid(uid))
    try:
        return await file.read(0, file.size)
    finally:
        file.close()


def cur(data: Path, ref: AccountRef, folder: str = "") -> list[Path]:
    return sorted((data / "domains" / ref.domain / ref.local / folder / "cur").iterdir())


def by_hand(directory: Path) -> None:
    """After a change by hand: a file system in memory tells time in ticks, so make sure that this one shows."""
    now = directory.stat().st_mtime_ns + 1_000_000
    os.utime(directory, ns=(now, now))


def refs_in_tmp(data: Path) -> int:
    return sum(1 for path in (data / "domains").rglob("tmp/*"))


class FailingDisk(FileSystem):
    """Fails the n-th sync (of any kind) from now with EIO, once."""

    def __init__(self) -> None:
        super().__init__()
        self.countdown = 0

    def _maybe(self) -> None:
        if self.countdown:
            self.countdown -= 1
            if not self.countdown:
                self.failed_syncs += 1
                raise OSError(5, "Input/output error")

    def sync(self, fd: int) -> None:
        self._maybe()
        super().sync(fd)

    def sync_data(self, fd: int) -> None:
        self._maybe()
        super().sync_data(fd)


def fail_commits(store: MaildirStore) -> Callable[[], None]:
    """Until the answer is called, no commit of MAIRIE's index succeeds."""
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    writer = entry.handle.writer
    writer.run("CREATE TEMP TRIGGER t BEFORE UPDATE OF generation ON state BEGIN SELECT raise(abort, 'x'); END")
    return lambda: writer.run("DROP TRIGGER t")


async def with_floors_raised(disk: FileSystem, data: Path) -> tuple[MaildirStore, Mailbox]:
    """A store on `disk` with a message in INBOX and one moved to Trash: what comes next raises no floor."""
    store = MaildirStore(data, fs=disk)
    await store.open()
    for number in (1, 2):
        await deliver(store, MAIRIE, number)
    inbox = await inbox_of(store)
    await inbox.move([(2, 2)], "Trash")
    return store, inbox


def looks_counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Folders that are looked at in full from now on."""
    looks = list[str]()
    examine = outside.examine

    def counted(transaction: Transaction, folder_id: str) -> None:
        looks.append(folder_id)
        examine(transaction, folder_id)

    monkeypatch.setattr(outside, "examine", counted)
    return looks
