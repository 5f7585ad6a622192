"""What a sender hears, and the log, when the disk does not take the octets of his message (faults 149-151)."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from store.fsops import FileSystem
from store.service import MaildirStore, initialise
from tests.delivery.conftest import World
from tests.delivery.test_real_store import MAIL, messages

TO = "maire@ville.test"


class FailingDisk(FileSystem):
    """The next sync of a file ends with `code`; the kernel tells it once."""

    code = 0

    def sync(self, fd: int) -> None:
        if self.code and stat.S_ISREG(self.status(fd).st_mode):
            code, self.code = self.code, 0
            raise OSError(code, os.strerror(code))
        super().sync(fd)


@pytest.fixture
def disk() -> FailingDisk:
    return FailingDisk()


@pytest.fixture
async def failing(tmp_path: Path, world: World, disk: FailingDisk) -> AsyncIterator[World]:
    initialise(tmp_path)
    world.store = world.committer._store = store = MaildirStore(tmp_path, clock=world.clock, fs=disk)
    await store.open()
    assert (await world.send(world.inbound(), MAIL, TO)).ok  # the floors are raised: the next one is light
    yield world
    await store.close()


@pytest.mark.parametrize("busy", [False, True], ids=["alone", "while the disk is busy"])
@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (errno.ENOSPC, (452, "4.3.1", "storage-full")),
        (errno.EDQUOT, (452, "4.3.1", "storage-full")),
        (errno.EIO, (451, "4.3.0", "storage")),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
async def test_f149_f151_octets_that_are_not_synced_are_refused_and_nothing_of_them_is_kept(
    failing: World, disk: FailingDisk, code: int, answer: tuple[int, str, str], *, busy: bool
) -> None:
    failing.store._syncs.under_way += busy
    disk.code = code
    with capture_logs() as told:
        status = await failing.send(failing.inbound(), MAIL, TO)
    failing.store._syncs.under_way -= busy
    assert (status.code, status.enhanced, status.reason) == answer
    [line] = [line for line in told if line["log_level"] in ("warning", "error")]
    assert line["event"] == "store-batch-failed"
    assert os.strerror(code) in str(line)
    assert len(await messages(failing, TO)) == 1
    assert (await failing.send(failing.inbound(), MAIL, TO)).ok
    assert len(await messages(failing, TO)) == 2


async def test_what_was_not_kept_costs_the_account_nothing(failing: World, disk: FailingDisk) -> None:
    async def sent() -> tuple[int, int]:
        mail = MAIL.replace(b"a@sender.test", TO.encode())
        status = await failing.send(failing.submission(), mail, TO, sender=TO, account=TO)
        return status.code, await failing.queue.sent_recently(f"id-{TO}")

    disk.code = errno.EIO
    code, _ = await sent()
    assert code == 451
    async with asyncio.timeout(20):
        while failing.queue._refunds._waiting:
            await asyncio.sleep(0.01)
    assert await sent() == (250, 1)
