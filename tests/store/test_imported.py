"""Many messages of one command are acknowledged before they are read: their files are durable and their rows stand as
their names tell them, with their threads; the rest is read behind, or for whoever asks (`store.unscanned`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.clock import ManualClock
from message import facts
from message.content import BytesContent, Content
from message.facts import Facts
from store import delivery, importing, place, unscanned
from store.entry import Entry
from store.fsops import FileSystem
from store.importing import Imports, Unread
from store.service import MaildirStore
from store.stage import SMALL
from store.types import NO_FLAGS, AccountRef, Column, Flag, Message, Placement, SortCriterion, SortKey
from tests.store.helpers import AUTRE, MAIRIE, all_rows, inbox_of, read
from tests.store.picture import delete, opened

MANY = place.MANY + 2
HEADS = [
    b"Message-ID: <a@x>",
    b"Message-ID: <b@x>\r\nIn-Reply-To: <a@x>",
    b"Message-ID: <c@x>\r\nReferences: <old@x> <b@x>",
    b"Message-ID: <d@x>\r\nReferences: <gone@x> <old@x>",
    b"Subject: alone",
    b"Message-ID: <old@x>",
    b"Message-ID: <e@x>\r\nReferences: <gone@x> <d@x>",
    b"Message-ID: <f@x>\r\nIn-Reply-To: <e@x>",
    b"Subject: alone\r\nReferences: <f@x>",
    b"Subject: large",
]


@dataclass
class Scanner:
    """Counts what it reads."""

    read: int = 0

    def __call__(self, content: Content) -> Facts:
        self.read += 1
        return facts.gather(content)


class Disk(FileSystem):
    """Counts the messages that are opened."""

    opened = 0

    def open_to_read(self, directory: int, name: str) -> int:
        self.opened += ",U=" in name
        return super().open_to_read(directory, name)


@pytest.fixture
def scanner() -> Scanner:
    return Scanner()


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "LATER", MANY)
    monkeypatch.setattr(importing, "SOON", 0)
    monkeypatch.setattr(importing, "WRITTEN", 4)


@pytest.fixture
def only_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if others were being scanned, or the process had been stopped."""
    monkeypatch.setattr(Imports, "begin", lambda *_: None)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def store(data: Path, clock: ManualClock, scanner: Scanner, disk: Disk) -> AsyncIterator[MaildirStore]:
    store = await opened(data, clock, gather=scanner, fs=disk)
    yield store
    await store.close()


def items(count: int = MANY) -> list[tuple[Content, Placement]]:
    flags = (Flag.SEEN, Flag.DELETED, NO_FLAGS)
    octets = [head + b"\r\n\r\n%d" % n + b"x" * SMALL * (b"large" in head) for n, head in enumerate(HEADS[:count])]
    return [
        (BytesContent(data), Placement("Sent", flags[n % 3], ("Urgent",) * (n % 2), n)) for n, data in enumerate(octets)
    ]


def left(store: MaildirStore, ref: AccountRef = MAIRIE) -> int:
    entry = store._open_accounts.opened(ref)
    assert entry is not None
    return unscanned.count(entry.handle.reader)


async def begin(store: MaildirStore, ref: AccountRef = MAIRIE) -> None:
    """One message that others are related to."""
    await (await store.account(ref)).append([(BytesContent(b"Message-ID: <old@x>\r\n\r\n"), Placement("Sent"))])


async def rows(store: MaildirStore, ref: AccountRef = MAIRIE) -> list[Message]:
    return await all_rows(await inbox_of(store, ref, "Sent"))


@pytest.mark.usefixtures("only_files")
async def test_they_are_read_behind_and_then_as_if_they_had_been_read_at_once(
    store: MaildirStore, scanner: Scanner
) -> None:
    for ref in (MAIRIE, AUTRE):
        await begin(store, ref)
    one_by_one = [(await (await store.account(AUTRE)).append([item]))[0].uid for item in items()]
    await store._filler._look(store._open_accounts)
    scanner.read = 0
    appended = await (await store.account(MAIRIE)).append(items())
    assert [each.uid for each in appended] == one_by_one
    assert (scanner.read, left(store)) == (1, MANY - 1)  # the large one
    assert await (await store.account(MAIRIE)).usage() == await (await store.account(AUTRE)).usage()
    await store._filler._look(store._open_accounts)
    assert (scanner.read, left(store)) == (MANY, 0)
    assert await rows(store) == await rows(store, AUTRE)
    assert scanner.read == MANY
    assert await store.verify(None) == []


@pytest.mark.usefixtures("only_files")
@pytest.mark.parametrize("column", [Column.IDS, Column.ENVELOPE, Column.SENT])
async def test_who_asks_has_them_read_first_and_flags_wait_for_nothing(
    store: MaildirStore, scanner: Scanner, column: Column
) -> None:
    await (await store.account(MAIRIE)).append(items())
    inbox = await inbox_of(store, name="Sent")
    snapshot = await inbox.snapshot()
    assert [row.flags for row in await all_rows(inbox, Column.NONE)][:2] == [Flag.SEEN, Flag.DELETED]
    assert await read(inbox, 3) == items()[2][0].read(0, SMALL)
    assert scanner.read == 1
    await all_rows(inbox, column)
    assert scanner.read == MANY
    assert (await inbox.snapshot()).modseq == snapshot.modseq


async def test_fewer_are_read_before_they_are_acknowledged(store: MaildirStore, scanner: Scanner) -> None:
    await (await store.account(MAIRIE)).append(items(MANY - 1))
    assert (scanner.read, left(store)) == (MANY - 1, 0)


@pytest.mark.usefixtures("only_files")
async def test_what_answers_one_that_is_not_read_yet_is_in_its_thread(store: MaildirStore) -> None:
    """By delivery, which waits for no file, and in the next command of many."""
    await begin(store)
    await (await store.account(MAIRIE)).append(items())
    reply = BytesContent(b"Message-ID: <g@x>\r\nIn-Reply-To: <f@x>\r\n\r\n")
    async with await store.stage(b"", reply, first=MAIRIE) as staged:
        uid = (await staged.deliver(MAIRIE, Placement("Sent"))).uid
    sent = await inbox_of(store, name="Sent")
    assert len([row async for batch in sent.rows(((uid, uid),), Column.IDS) for row in batch]) == 1
    assert left(store) == MANY - 1
    await (await store.account(MAIRIE)).append([(reply, Placement("Sent"))] * MANY)
    assert left(store) == 2 * MANY - 1
    found = [row.thread_id for row in await rows(store)]
    assert set(found[MANY + 1 :]) == {found[1 + HEADS.index(b"Message-ID: <f@x>\r\nIn-Reply-To: <e@x>")]}


@pytest.mark.usefixtures("only_files")
async def test_p5_their_threads_are_the_same_whenever_the_index_is_lost(data: Path, clock: ManualClock) -> None:
    store = await opened(data, clock)
    await begin(store)
    await (await store.account(MAIRIE)).append(items())
    await store.close()  # before they are read
    again = await opened(data, clock)
    told = await rows(again)
    assert [row.internal_date for row in told[1:]] == list(range(MANY))
    await again.close()
    delete(data)
    again = await opened(data, clock)
    assert [row.thread_id for row in await rows(again)] == [row.thread_id for row in told]
    assert await again.verify(None) == []
    await again.close()


@pytest.mark.usefixtures("only_files")
async def test_an_answer_to_what_may_not_be_read_yet_waits_for_its_thread(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does where it is read at once; also one that is copied meanwhile."""
    refs = (MAIRIE, AUTRE)
    store = await opened(data, clock)
    for ref in refs:
        await begin(store, ref)
    await store.close()
    delete(data)
    store = await opened(data, clock)
    found = []
    for ref, later in zip(refs, (MANY, 2 * MANY), strict=True):
        monkeypatch.setattr(delivery, "LATER", later)
        await (await store.account(ref)).append(items())
        assert left(store, ref) == (MANY if ref is MAIRIE else 1)
        await (await inbox_of(store, ref, "Sent")).copy(((1, MANY + 1),), "Archive")
        copied = await all_rows(await inbox_of(store, ref, "Archive"), Column.IDS)
        found.append(([row.thread_id for row in copied], [row.thread_id for row in await rows(store, ref)]))
        assert found[-1][0] == found[-1][1]
        entry = store._open_accounts.opened(ref)
        assert entry is not None
        assert entry.handle.reader.value("SELECT count(*) FROM messages WHERE thread_id IN ('', '?')") == 0
    assert found[0] == found[1]
    assert found[0][0][0] == found[0][0][4]
    await store.close()


async def test_what_is_in_memory_still_is_scanned_from_there(store: MaildirStore, scanner: Scanner, disk: Disk) -> None:
    for ref in (MAIRIE, AUTRE):
        await begin(store, ref)
    for item in items():
        await (await store.account(AUTRE)).append([item])
    scanner.read = 0
    await (await store.account(MAIRIE)).append(items())
    assert left(store) == MANY - 1
    assert await store._open_accounts.imports.over(MAIRIE)
    assert (scanner.read, left(store), disk.opened) == (MANY, 0, 0)
    assert not await store._open_accounts.imports.over(MAIRIE)
    assert await rows(store) == await rows(store, AUTRE)
    assert await store.verify(None) == []


async def test_who_asks_meanwhile_waits_and_none_is_scanned_twice(
    store: MaildirStore, scanner: Scanner, disk: Disk
) -> None:
    await (await store.account(MAIRIE)).append(items())
    sent = await inbox_of(store, name="Sent")
    assert len(await sent.sort(range(1, MANY + 1), [SortCriterion(SortKey.SUBJECT)])) == MANY
    await (await store.account(MAIRIE)).append(items())
    assert len(await rows(store)) == 2 * MANY
    await store._filler._look(store._open_accounts)
    assert (scanner.read, disk.opened) == (2 * MANY, 0)


async def test_what_comes_while_others_are_scanned_and_what_a_stop_cuts_off_is_read_from_the_files(
    scanner: Scanner, data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, scan = asyncio.Event(), importing._read

    async def scanned_later(entry: Entry, folder_id: str, messages: Sequence[Unread]) -> None:
        await gate.wait()
        await scan(entry, folder_id, messages)

    monkeypatch.setattr(importing, "_read", scanned_later)
    store = await opened(data, clock, gather=scanner)
    await (await store.account(MAIRIE)).append(items())
    await (await store.account(AUTRE)).append(items())
    assert left(store) == left(store, AUTRE) == MANY - 1
    gate.set()
    await store._filler._look(store._open_accounts)
    assert (scanner.read, left(store), left(store, AUTRE)) == (2 * MANY, 0, 0)
    gate.clear()
    await (await store.account(AUTRE)).append(items())
    await store.close()
    assert scanner.read == 2 * MANY + 1  # the large one
    store = await opened(data, clock, gather=scanner)
    whole = await rows(store, AUTRE)
    assert scanner.read == 3 * MANY
    assert [row.internal_date for row in whole] == 2 * list(range(MANY))
    assert [row.thread_id for row in whole[:MANY]] == [row.thread_id for row in await rows(store)]
    await store.close()


async def test_messages_that_go_or_get_other_names_before_they_are_scanned(store: MaildirStore) -> None:
    await (await store.account(MAIRIE)).append(items())
    sent = await inbox_of(store, name="Sent")
    await sent.expunge(((1, 1), (5, 5)), only_deleted=False)
    await sent.store_flags(((2, 3),), add=Flag.FLAGGED)
    await store.flush()
    await sent.move(((4, 4),), "Archive")
    await store._open_accounts.imports.over(MAIRIE)
    await store._filler._look(store._open_accounts)
    assert left(store) == 0
    assert [row.uid for row in await rows(store)] == [2, 3, *range(6, MANY + 1)]
    assert len(await all_rows(await inbox_of(store, name="Archive"))) == 1
    assert await store.verify(None) == []


async def test_an_import_whose_folder_is_deleted_meanwhile_ends_without_a_word(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    await account.create("Reprise")
    await account.append([(content, Placement("Reprise")) for content, _ in items()])
    await account.delete("Reprise")
    assert await store._open_accounts.imports.over(MAIRIE)
    assert left(store) == 0
