"""Many messages appended by one command: their syncs are under way together, all of them or none is kept (RFC 3502)."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import MailError, NotFoundError, StorageError
from message.content import BytesContent, Content
from store import place
from store.delivery import UNDER_WAY
from store.fsops import FileSystem
from store.service import MaildirStore
from store.stage import SMALL
from store.types import NO_FLAGS, Flag, Placement
from tests.store.helpers import AUTRE, MAIRIE, VOISIN, all_rows, cur, inbox_of, read

MANY = UNDER_WAY + 6


class CountingDisk(FileSystem):
    """Counts syncs of messages; the `fails`-th one fails, and all wait at the gate when it is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.fails, self.synced = 0, 0
        self.directories = 0
        self.gate, self.waiting = threading.Event(), threading.Event()
        self.gate.set()
        self._counting = threading.Lock()

    def sync(self, fd: int) -> None:
        if stat.S_ISREG(self.status(fd).st_mode):
            self.waiting.set()
            self.gate.wait(60)
            with self._counting:
                self.synced += 1
                if self.synced == self.fails:
                    raise OSError(errno.EIO, "Input/output error")
        else:
            self.directories += 1
        super().sync(fd)


@pytest.fixture
def disk() -> CountingDisk:
    return CountingDisk()


@pytest.fixture
async def store(data: Path, clock: ManualClock, disk: CountingDisk) -> AsyncIterator[MaildirStore]:
    store = MaildirStore(data, clock=clock, fs=disk)
    await store.open()
    await (await store.account(MAIRIE)).append([(BytesContent(b"Subject: 0\r\n\r\n"), Placement())])
    disk.synced = 0
    disk.waiting.clear()
    yield store
    disk.gate.set()
    await store.close()


def messages() -> list[tuple[Content, Placement]]:
    """More than are under way at once, one of them too large for the event loop."""
    octets = [b"Subject: %d\r\n\r\n" % number for number in range(1, MANY + 1)]
    octets[MANY // 2] += b"x" * SMALL
    return [(BytesContent(data), Placement(internal_date=number)) for number, data in enumerate(octets)]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_all_are_synced_and_stand_in_order_with_their_dates(store: MaildirStore, disk: CountingDisk) -> None:
    wanted = messages()
    appended = await (await store.account(MAIRIE)).append(wanted)
    assert disk.synced >= MANY
    assert [item.uid for item in appended] == list(range(2, MANY + 2))
    inbox = await inbox_of(store)
    assert [row.internal_date for row in (await all_rows(inbox))[1:]] == list(range(MANY))
    for item, (content, _) in zip(appended, wanted, strict=True):
        assert await read(inbox, item.uid) == content.read(0, content.size)


async def test_rows_inserted_together_are_those_of_one_after_the_other(store: MaildirStore) -> None:
    """Threads, too: with what the account had before, and within the command."""
    before = b"Message-ID: <old@x>\r\n\r\n"
    heads = [
        b"Message-ID: <a@x>",
        b"Message-ID: <b@x>\r\nIn-Reply-To: <a@x>",
        b"Message-ID: <c@x>\r\nReferences: <old@x> <b@x>",
        b"Message-ID: <d@x>\r\nReferences: <gone@x> <old@x>",
        b"Message-ID: <a@x>",
        b"Subject: alone",
        b"Message-ID: <old@x>",
        b"Message-ID: <e@x>\r\nReferences: <gone@x> <d@x>",
        b"Message-ID: <f@x>\r\nIn-Reply-To: <e@x>",
    ]
    assert len(heads) >= place.MANY
    flags = (Flag.SEEN, Flag.DELETED, NO_FLAGS)
    items: list[tuple[Content, Placement]] = [
        (BytesContent(head + b"\r\n\r\n%d" % n), Placement("Sent", flags[n % 3], ("Urgent",) * (n % 2), n))
        for n, head in enumerate(heads)
    ]
    found = []
    for ref in (VOISIN, AUTRE):
        account = await store.account(ref)
        folder_name = next(each.name for each in await account.folders() if each.special_use == "\\Sent")
        await account.append([(BytesContent(before), Placement("Sent"))])
        if ref is VOISIN:
            appended = list(await account.append(items))
        else:
            appended = [(await account.append([item]))[0] for item in items]
        assert [item.uid for item in appended] == list(range(2, len(items) + 2))
        mailbox = await account.mailbox(folder_name)
        folder, rows = (await mailbox.snapshot()).folder, await all_rows(mailbox)
        found.append(((folder.messages, folder.unseen, folder.deleted, folder.size), await account.usage(), rows))
    assert found[0] == found[1]
    assert len({row.thread_id for row in found[0][2]}) == 3


@pytest.mark.parametrize("which", [1, 3, MANY])
async def test_p3_one_sync_that_fails_keeps_none(
    store: MaildirStore, data: Path, disk: CountingDisk, which: int
) -> None:
    before = descriptors()
    disk.fails = which
    with pytest.raises(StorageError):
        await (await store.account(MAIRIE)).append(messages())
    assert descriptors() == before
    assert len(cur(data, MAIRIE)) == len(await all_rows(await inbox_of(store))) == 1


async def test_p2_who_leaves_while_they_are_synced_has_sent_nothing(
    store: MaildirStore, data: Path, disk: CountingDisk
) -> None:
    before = descriptors()
    disk.gate.clear()
    appending = asyncio.create_task((await store.account(MAIRIE)).append(messages()))
    async with asyncio.timeout(20):
        while not disk.waiting.is_set():
            await asyncio.sleep(0.001)
        appending.cancel()
        await asyncio.sleep(0)
        assert not appending.done()  # a descriptor in a sync stays open
        disk.gate.set()
        await asyncio.wait((appending,))
    assert appending.cancelled()
    assert descriptors() == before
    assert len(cur(data, MAIRIE)) == len(await all_rows(await inbox_of(store))) == 1


def commands() -> list[list[tuple[Content, Placement]]]:
    folders = ("INBOX", "INBOX", "nowhere", "Drafts", "INBOX")
    return [[(BytesContent(b"Subject: %d\r\n\r\n" % n), Placement(name))] for n, name in enumerate(folders)]


async def test_commands_together_share_their_syncs_and_each_has_its_own_outcome(
    store: MaildirStore, disk: CountingDisk
) -> None:
    account = await store.account(MAIRIE)
    await account.append([(BytesContent(b"Subject: 0\r\n\r\n"), Placement("Drafts"))])  # its floors are raised
    disk.synced = disk.directories = 0
    outcomes = await account.append_each(commands())
    assert [type(outcome) is NotFoundError for outcome in outcomes] == [False, False, True, False, False]
    uids = [item.uid for outcome in outcomes if not isinstance(outcome, MailError) for item in outcome]
    assert uids == [2, 3, 2, 4]
    assert (disk.synced, disk.directories) == (5, 2)
    assert [row.uid for row in await all_rows(await inbox_of(store))] == [1, 2, 3, 4]


@pytest.mark.parametrize("which", [1, 5])
async def test_p3_a_sync_that_fails_keeps_no_command_of_those_together(
    store: MaildirStore, data: Path, disk: CountingDisk, which: int
) -> None:
    before = descriptors()
    disk.fails = which
    with pytest.raises(StorageError):
        await (await store.account(MAIRIE)).append_each(commands())
    assert descriptors() == before
    assert len(cur(data, MAIRIE)) == len(await all_rows(await inbox_of(store))) == 1
