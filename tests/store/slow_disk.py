"""A disk whose syncs of files end when a test says so, and deliveries that wait for it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import threading
from pathlib import Path

from store.fsops import FileSystem
from store.service import MaildirStore
from store.types import Placement
from tests.fakes.mail import content
from tests.store.helpers import MAIRIE, all_rows, inbox_of


class SlowDisk(FileSystem):
    """Syncs of files wait at the gate when it is shut; what is said of files, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.waiting = threading.Event(), threading.Event()
        self.gate.set()
        self.failing = False
        self.said: list[str] = []

    def sync(self, fd: int) -> None:
        if stat.S_ISREG(self.status(fd).st_mode) and not self.gate.is_set():
            self.waiting.set()
            self.gate.wait(60)
            self.said.append("synced")
            if self.failing:
                raise OSError(errno.EIO, "Input/output error")
        super().sync(fd)

    def link_open(self, fd: int, directory: int, name: str) -> None:
        self.said.append("linked")
        super().link_open(fd, directory, name)

    def close(self, fd: int) -> None:
        if not self.gate.is_set() and stat.S_ISREG(self.status(fd).st_mode):
            self.said.append("closed")
        super().close(fd)


async def begun(store: MaildirStore, disk: SlowDisk, number: int) -> asyncio.Task[None]:
    """A delivery whose file's sync is at the gate."""
    disk.gate.clear()
    disk.waiting.clear()

    async def work() -> None:
        async with await store.stage(b"", content(number), first=MAIRIE, synced=False) as staged:
            await staged.deliver(MAIRIE, Placement(delivery_id=f"early {number}"))

    task = asyncio.create_task(work())
    await at_the_gate(disk)
    return task


async def at_the_gate(disk: SlowDisk) -> None:
    async with asyncio.timeout(20):
        while not disk.waiting.is_set():
            await asyncio.sleep(0.001)


def lock_file(data: Path) -> Path:
    return data / "domains/mairie.test/maire/beffroi.lock"


def is_locked(data: Path) -> bool:
    other = os.open(lock_file(data), os.O_RDWR)
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(other)
    return False


async def rows(store: MaildirStore) -> int:
    return len(await all_rows(await inbox_of(store)))
