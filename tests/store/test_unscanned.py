"""An index that is made where there was none: its account serves at once by names, what the octets tell comes behind,
and nobody can tell the difference but by the time it takes.

Longer than its neighbours: each test is one way of asking for what is not read yet, on the same store.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest

from core.clock import ManualClock
from core.errors import StorageError
from message import facts
from message.content import BytesContent, Content
from message.facts import Facts
from store import catalog, records, scan, structure, unscanned
from store.catalog import FolderRow
from store.fsops import FileSystem
from store.index import Connection
from store.lockfile import State, Word
from store.names import file_name, fresh_unique
from store.search.fill import Progress, turn
from store.service import MaildirStore
from store.store import Mailbox
from store.types import Column, Flag, Message, Placement, SortCriterion, SortKey, ThreadAlgorithm
from store.unscanned import FEW
from tests.fakes.mail import mail
from tests.store.helpers import EVERY, MAIRIE, WHOLE, all_rows, by_hand, cur, deliver, inbox_of, read
from tests.store.picture import delete, fill, opened, picture

COUNT = 12
TURN = 4


@dataclass
class Scanner:
    """Counts the messages it reads, and which."""

    read: list[bytes] = field(default_factory=list)

    def __call__(self, content: Content) -> Facts:
        self.read.append(content.read(0, content.size))
        return facts.gather(content)


class Unreadable(FileSystem):
    """Cannot open files whose names hold `part`."""

    part = "nothing"

    def open_to_read(self, directory: int, name: str) -> int:
        if self.part in name:
            raise OSError(errno.EIO, "test")
        return super().open_to_read(directory, name)


@pytest.fixture(autouse=True)
def _small_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unscanned, "TURN", TURN)


@pytest.fixture
def scanner() -> Scanner:
    return Scanner()


@pytest.fixture
def disk() -> Unreadable:
    return Unreadable()


@pytest.fixture
async def before(data: Path, clock: ManualClock) -> list[Message]:
    """The rows of an account whose index is gone."""
    store = await opened(data, clock)
    for number in range(COUNT):
        await deliver(store, MAIRIE, number)
    inbox = await inbox_of(store)
    await inbox.store_flags(((1, 3),), add=Flag.SEEN, add_keywords=("$a",))
    rows = await all_rows(inbox)
    await store.close()
    delete(data)
    return rows


@pytest.fixture
async def store(
    data: Path, clock: ManualClock, before: list[Message], scanner: Scanner, disk: Unreadable
) -> AsyncIterator[MaildirStore]:
    store = MaildirStore(data, clock=clock, gather=scanner, fs=disk)
    await store.open()
    yield store
    await store.close()


def left(store: MaildirStore) -> int:
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    return unscanned.count(entry.handle.reader)


async def walk(store: MaildirStore) -> None:
    """What the filler does while it serves."""
    entry = await store._open_accounts.use(MAIRIE)
    await store._filler._scan(store._open_accounts, entry)


async def collect(inbox: Mailbox, found: list[int]) -> None:
    async for batch in inbox.rows(WHOLE, Column.ENVELOPE):
        found += [row.uid for row in batch]


def alike(rows: list[Message], before: list[Message]) -> bool:
    return [row._replace(modseq=was.modseq) for row, was in zip(rows, before, strict=True)] == before


async def test_p5_flags_dates_changes_and_deliveries_wait_for_no_file(
    store: MaildirStore, before: list[Message], scanner: Scanner
) -> None:
    inbox = await inbox_of(store)
    snapshot = await inbox.snapshot()
    assert snapshot.messages == COUNT
    assert list(await inbox.uids(snapshot)) == [row.uid for row in before]
    rows = await all_rows(inbox, Column.DATES)
    told = [(row.uid, row.flags, row.keywords, row.internal_date, row.save_date, row.size) for row in rows]
    assert told == [(row.uid, row.flags, row.keywords, row.internal_date, row.save_date, row.size) for row in before]
    assert len((await inbox.changes(snapshot.modseq - 1, snapshot.uidnext)).messages) == COUNT
    await inbox.store_flags(((4, 4),), add=Flag.FLAGGED)
    assert await read(inbox, 5) == mail(4)
    assert scanner.read == []
    new = await deliver(store, MAIRIE, 100)
    assert new.uid >= snapshot.uidnext
    assert scanner.read == [mail(100)]
    assert left(store) == COUNT
    assert await store.verify(None) == []


async def test_whoever_asks_what_the_octets_tell_has_those_files_read(
    store: MaildirStore, before: list[Message], scanner: Scanner
) -> None:
    inbox = await inbox_of(store)
    found = [row async for batch in inbox.rows(((7, 7),), EVERY) for row in batch]
    assert alike(found, [before[6]])
    assert scanner.read == [mail(6)]
    assert alike(await all_rows(inbox), before)
    assert sorted(scanner.read) == sorted(mail(number) for number in range(COUNT))
    assert left(store) == 0
    assert alike(await all_rows(inbox), before)
    assert len(scanner.read) == COUNT


async def test_the_newest_are_read_first_behind_and_no_client_hears_of_it(
    store: MaildirStore, before: list[Message], scanner: Scanner
) -> None:
    inbox = await inbox_of(store)
    snapshot = await inbox.snapshot()
    await walk(store)
    assert scanner.read == [mail(number) for number in reversed(range(COUNT))]
    assert await inbox.changes(snapshot.modseq, snapshot.uidnext) == (await inbox.changes(snapshot.modseq + 5, 1))
    assert (await inbox.snapshot()).modseq == snapshot.modseq
    assert alike(await all_rows(inbox), before)
    assert len(scanner.read) == COUNT


async def test_p5_every_folder_comes_to_the_same_with_threads_that_the_journal_alone_tells(
    data: Path, clock: ManualClock, tmp_path: Path
) -> None:
    store = await opened(data, clock)
    await fill(store)
    whole = await picture(store)
    await store.close()
    delete(data)
    store = await opened(data, clock)
    await walk(store)
    assert left(store) == 0
    assert await picture(store) == whole
    await store.close()


async def test_orders_by_what_names_tell_wait_for_nothing_and_others_for_what_they_order(
    store: MaildirStore, before: list[Message], scanner: Scanner
) -> None:
    inbox, everyone = await inbox_of(store), list(range(1, COUNT + 1))
    by_size = await inbox.sort(everyone, [SortCriterion(SortKey.SIZE, reverse=True), SortCriterion(SortKey.ARRIVAL)])
    assert list(by_size) == [row.uid for row in sorted(before, key=lambda row: (-row.size, row.uid))]
    assert scanner.read == []
    assert list(await inbox.sort([7], [SortCriterion(SortKey.SUBJECT)])) == [7]
    assert len(await inbox.threads([2], ThreadAlgorithm.REFERENCES)) == 1
    assert sorted(scanner.read) == [mail(1), mail(6)]


async def test_orders_threads_and_searches_wait_until_all_is_read(store: MaildirStore, scanner: Scanner) -> None:
    inbox = await inbox_of(store)
    everyone = list(range(1, COUNT + 1))
    assert list(await inbox.search_field(((9, 10),), "SUBJECT", "Demande")) == [9, 10]
    assert sorted(scanner.read) == [mail(8), mail(9)]
    assert list(await inbox.sort(everyone, [SortCriterion(SortKey.SUBJECT)])) != []
    assert left(store) == 0
    assert len(await inbox.threads(everyone, ThreadAlgorithm.REFERENCES)) == COUNT
    assert len(scanner.read) == COUNT


async def test_what_is_copied_moved_or_expunged_before_it_is_read(
    store: MaildirStore, before: list[Message], scanner: Scanner
) -> None:
    inbox = await inbox_of(store)
    await inbox.copy(((2, 3),), "Archive")
    await inbox.move(((5, 6),), "Archive")
    await inbox.expunge(((8, 9),), only_deleted=False)
    assert scanner.read == []
    archived = await all_rows(await inbox_of(store, name="Archive"))
    ids = {int(row.uid): (row.email_id, row.thread_id, row.envelope) for row in before}
    assert [(row.email_id, row.thread_id, row.envelope) for row in archived] == [ids[uid] for uid in (2, 3, 5, 6)]
    assert [row.uid for row in await all_rows(inbox)] == [1, 2, 3, 4, 7, 10, 11, 12]
    assert await store.verify(None) == []


async def test_copies_that_share_their_contents_are_read_together_whichever_is_left(
    data: Path, clock: ManualClock, store: MaildirStore, before: list[Message], scanner: Scanner
) -> None:
    inbox, archive = await inbox_of(store), await inbox_of(store, name="Archive")
    await inbox.copy(((2, 4),), "INBOX")
    await inbox.copy(((2, 4),), "Archive")
    await inbox.expunge(((2, 2),), only_deleted=False)
    assert [row.email_id for row in await all_rows(archive)] == [row.email_id for row in before[1:4]]
    assert len(scanner.read) == 3
    assert left(store) == COUNT - 3
    await archive.expunge(((1, 2),), only_deleted=False)
    assert await store.verify(None) == []
    again = await opened(data, clock, boot="another")  # a sound index, which recovery believes to be one
    assert await again.verify(None) == []
    rows = await all_rows(await inbox_of(again))
    assert [row.email_id for row in rows] == [row.email_id for row in [before[0], *before[2:], *before[1:4]]]
    assert [row.envelope for row in rows] == [row.envelope for row in [before[0], *before[2:], *before[1:4]]]
    await again.close()


async def test_files_that_go_or_get_letters_by_hand_before_they_are_read(
    data: Path, store: MaildirStore, before: list[Message]
) -> None:
    inbox = await inbox_of(store)
    assert len(await all_rows(inbox, Column.NONE)) == COUNT
    files = cur(data, MAIRIE)
    by_uid = {int(path.name.partition("U=")[2].partition(",")[0]): path for path in files}
    by_uid[2].unlink()
    by_uid[3].rename(f"{by_uid[3]}F")
    by_hand(files[0].parent)
    rows = await all_rows(inbox)
    assert [row.uid for row in rows] == [1, *range(3, COUNT + 1)]
    assert [row.email_id for row in rows] == [row.email_id for row in before if row.uid != 2]
    assert Flag.FLAGGED in rows[1].flags
    assert await store.verify(None) == []


async def test_half_read_after_a_power_loss_and_in_two_processes(
    data: Path, clock: ManualClock, store: MaildirStore, before: list[Message]
) -> None:
    inbox = await inbox_of(store)
    assert [row.uid async for batch in inbox.rows(((5, 6),), EVERY) for row in batch] == [5, 6]
    again = await opened(data, clock, boot="another")
    assert await again.verify(None) == []
    assert alike(await all_rows(await inbox_of(again)), before)
    await walk(store)
    assert left(store) == left(again) == 0
    assert alike(await all_rows(await inbox_of(store)), before)
    await again.close()


async def test_no_text_is_indexed_before_every_message_is_known_by_its_content(
    data: Path, store: MaildirStore, before: list[Message]
) -> None:
    entry = await store._open_accounts.use(MAIRIE)
    assert turn(entry.handle) is Progress.DONE
    inbox = await inbox_of(store)
    assert list(await inbox.search_text(WHOLE, "Demande 3", body_only=False)) == [4]
    await store.fill_text(None)
    assert left(store) == 0
    assert list(await inbox.search_text(WHOLE, "Demande 3", body_only=False)) == [4]


async def test_a_long_message_ends_a_turn(data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unscanned, "TURN_OCTETS", 1000)
    store = await opened(data, clock)
    account = await store.account(MAIRIE)
    long = mail(1) + b"x" * 998 + b"\r\n"
    await account.append([(BytesContent(long), Placement())] * 3)
    await store.close()
    delete(data)
    store = await opened(data, clock)
    inbox = await inbox_of(store)
    assert [row.uid async for batch in inbox.rows(((1, 1),), EVERY) for row in batch] == [1]
    entry = await store._open_accounts.use(MAIRIE)
    await entry.writer.submit(lambda transaction: unscanned.scan(transaction, inbox.folder_id, 1, 3))
    assert left(store) == 1
    await store.close()


async def test_an_odd_file_under_a_known_name_is_refused(
    data: Path, store: MaildirStore, before: list[Message], tmp_path: Path
) -> None:
    inbox = await inbox_of(store)
    await inbox.snapshot()
    path = next(path for path in cur(data, MAIRIE) if "U=3," in path.name)
    path.unlink()
    os.symlink("/etc/hostname", path)
    with pytest.raises(StorageError):
        [row async for batch in inbox.rows(((3, 3),), EVERY) for row in batch]


async def test_an_index_of_older_times_hides_no_message_that_is_not_read_yet(
    data: Path, clock: ManualClock, before: list[Message]
) -> None:
    """Cause: a power loss left SQLite's index of them as it was before they came, which its quick check passes."""
    store = await opened(data, clock)
    assert len(await all_rows(await inbox_of(store), Column.NONE)) == COUNT
    assert left(store) == COUNT
    await store.close()
    _make_stale(data, "messages_unscanned", "email_id = ''")
    later = MaildirStore(data, clock=clock, boot="another")
    (data / "domains/mairie.test/maire/beffroi.lock").write_bytes(b"")  # rows are not believed
    await later.open()
    assert alike(await all_rows(await inbox_of(later)), before)
    await later.close()


def _make_stale(data: Path, name: str, condition: str) -> None:
    """The index is there, and empty."""
    database = apsw.Connection(str(data / "domains/mairie.test/maire/index.db"))
    told = database.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).get
    for was, now in ((condition, "key = -1"), ("key = -1", condition)):
        told = told.replace(was, now)
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (told, name))
        database.execute("PRAGMA writable_schema = RESET")
        database.close()
        database = apsw.Connection(str(data / "domains/mairie.test/maire/index.db"))
        if "key = -1" in told:
            database.execute(f"REINDEX {name}")
    assert database.execute("PRAGMA quick_check").get == "ok"
    database.close()


async def test_an_account_that_was_closed_meanwhile_is_not_opened_to_be_read(store: MaildirStore) -> None:
    accounts = store._open_accounts
    entry = await accounts.use(MAIRIE)
    await accounts.release(MAIRIE)
    await store._filler._scan(accounts, entry)
    assert store.open_accounts == 0


async def test_p7_a_search_in_many_stretches_asks_few_questions_on_the_loop(
    store: MaildirStore, before: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    """50,000 stretches, as every other message makes them, kept the loop for half a second."""
    inbox, asked = await inbox_of(store), list[int]()
    real = unscanned.among
    loop = threading.get_ident()

    def among(db: Connection, folder: FolderRow, spans: Sequence[tuple[int, int]], most: int) -> list[int]:
        if threading.get_ident() == loop:
            asked.append(len(spans))
        return real(db, folder, spans, most)

    monkeypatch.setattr(unscanned, "among", among)
    many = [(uid, uid) for uid in range(1, 2 * FEW + 4, 2)]
    assert await inbox.search_field(many, "Subject", "Demande") == [row.uid for row in before if row.uid % 2]
    assert asked == []
    assert left(store) == COUNT // 2  # what lies between is not read
    assert await inbox.search_field(many[:FEW], "Subject", "Demande") == [row.uid for row in before if row.uid % 2]
    assert asked == [FEW]


@pytest.mark.parametrize("length", [1, records.BATCH], ids=["fragments", "long"])
async def test_p7_ranges_of_messages_that_are_gone_let_others_have_their_turn(store: MaildirStore, length: int) -> None:
    inbox, turns = await inbox_of(store), 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    many = 100 * records.BATCH // length
    gone = [(uid, uid + length - 1) for uid in range(COUNT + 1, COUNT + 1 + 2 * many * length, 2 * length)]
    assert len(gone) == many
    assert [batch async for batch in inbox.rows(gone, Column.NONE)] == []
    assert turns >= 100
    task.cancel()


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_folder_removed_by_hand_keeps_no_other_from_being_read(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, *, noticed: bool
) -> None:
    """Not `noticed`: it went when its turn had begun."""
    if not noticed:
        monkeypatch.setattr(structure, "differs", lambda *_: False)
    store = await opened(data, clock)
    for number in range(2):
        for folder in ("INBOX", "Archive", "Sent", "Trash"):
            await deliver(store, MAIRIE, number, Placement(folder=folder))
    await store.close()
    delete(data)
    store = await opened(data, clock)
    await store.account(MAIRIE)
    shutil.rmtree(data / "domains/mairie.test/maire/.Archive")
    await walk(store)
    assert left(store) == (0 if noticed else 2)  # of the one that is gone
    await walk(store)
    assert [len(await all_rows(await inbox_of(store, name=name))) for name in ("INBOX", "Sent", "Trash")] == [2, 2, 2]
    await store.close()


@pytest.mark.parametrize("count", [3, 4])
async def test_f155_many_messages_of_a_writer_that_died_are_not_read_while_the_account_waits(
    data: Path, clock: ManualClock, scanner: Scanner, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Killed in a COPY of a hundred thousand: whoever came next waited for as long as reading them takes."""
    monkeypatch.setattr(scan, "MANY", 3)
    dead = await opened(data, clock, boot="here")
    for number in range(count):
        await deliver(dead, MAIRIE, number)
    entry = await dead._open_accounts.use(MAIRIE)
    sent = catalog.by_name(entry.handle.reader, "Sent")
    assert sent is not None
    for path in cur(data, MAIRIE):
        uid = int(path.name.partition("U=")[2].partition(",")[0])
        name = file_name(1, fresh_unique(f"c{uid}"), uid, path.stat().st_size, "S")
        os.link(path, data / "domains/mairie.test/maire/.Sent/cur" / name)
    generation = entry.handle.reader.value("SELECT generation FROM state")
    entry.handle.lock.write(Word("here", generation, State.BUSY, (str(sent.number),)))
    store = await opened(data, clock, boot="here", gather=scanner)
    inbox, copies = await inbox_of(store), await inbox_of(store, name="Sent")
    assert [(row.uid, row.flags) for row in await all_rows(copies, Column.NONE)] == [
        (uid, Flag.SEEN) for uid in range(1, count + 1)
    ]
    assert len(scanner.read) == (0 if count > 3 else count)
    assert left(store) == (count if count > 3 else 0)
    told = [row.email_id for row in await all_rows(inbox)]
    assert [row.email_id for row in await all_rows(copies)] == told
    assert len(scanner.read) == count
    assert left(store) == 0
    assert (await (await store.account(MAIRIE)).usage())[1] == 2 * count
    assert await store.verify(None) == []
    await store.close()
    await dead.close()
