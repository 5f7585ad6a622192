"""One message file that cannot be read costs its own message and nothing else: orders, threads, searches, the text
index, recovery and rebuilds go on, and it is known again once it can be read.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import StorageError, UnreadableError
from message import facts
from message.content import Content
from message.facts import Facts
from store import rows, unreadable, unscanned
from store.search import filler
from store.search.fill import Progress, turn
from store.service import MaildirStore
from store.store import Mailbox
from store.types import Column, Message, Placement, SortCriterion, SortKey, ThreadAlgorithm
from tests.fakes.mail import mail
from tests.fakes.odd_disk import Disk
from tests.store.helpers import MAIRIE, WHOLE, all_rows, cur, deliver, inbox_of
from tests.store.picture import delete, opened

COUNT = 8
ODD = 6  # its UID
OTHERS = [uid for uid in range(1, COUNT + 1) if uid != ODD]


@pytest.fixture
async def before(data: Path, clock: ManualClock) -> list[Message]:
    """The rows of an account whose index is gone."""
    store = await opened(data, clock)
    for number in range(COUNT):
        await deliver(store, MAIRIE, number)
    rows = await all_rows(await inbox_of(store))
    await store.close()
    delete(data)
    return rows


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def store(data: Path, clock: ManualClock, before: list[Message], disk: Disk) -> AsyncIterator[MaildirStore]:
    disk.part = f"U={ODD},"
    store = MaildirStore(data, clock=clock, fs=disk)
    await store.open()
    yield store
    await store.close()


async def behind(store: MaildirStore, *, again: bool = False) -> None:
    """What the filler does while it serves."""
    entry = await store._open_accounts.use(MAIRIE)
    await store._filler._scan(store._open_accounts, entry, again=again)


async def collect(inbox: Mailbox, columns: Column, found: list[Message]) -> None:
    async for batch in inbox.rows(WHOLE, columns):
        found += batch


def alike(rows: list[Message], before: list[Message]) -> bool:
    return [row._replace(modseq=was.modseq) for row, was in zip(rows, before, strict=True)] == before


@pytest.mark.parametrize("walked", [False, True])
async def test_orders_threads_and_searches_take_it_for_one_with_an_empty_header(
    store: MaildirStore, before: list[Message], *, walked: bool
) -> None:
    inbox, everyone = await inbox_of(store), list(range(1, COUNT + 1))
    if walked:
        await behind(store)
    by_subject = await inbox.sort(everyone, [SortCriterion(SortKey.SUBJECT)])
    assert by_subject[0] == ODD  # an empty subject stands first
    assert sorted(by_subject) == everyone
    by_date = await inbox.sort(everyone, [SortCriterion(SortKey.DATE)])
    dates = {int(row.uid): row.internal_date if row.uid == ODD else row.sent_date for row in before}
    assert list(by_date) == sorted(everyone, key=lambda uid: (dates[uid], uid))  # RFC 5256 2.2
    assert len(await inbox.threads(everyone, ThreadAlgorithm.REFERENCES)) == COUNT
    assert list(await inbox.search_field(WHOLE, "SUBJECT", "Demande")) == OTHERS
    assert list(await inbox.search_text(WHOLE, "Bonjour", body_only=True)) == OTHERS


async def test_what_it_holds_is_refused_after_all_others_were_told(store: MaildirStore, before: list[Message]) -> None:
    inbox, found = await inbox_of(store), list[Message]()
    with pytest.raises(UnreadableError) as told:
        await collect(inbox, Column.ENVELOPE, found)
    assert [row.uid for row in found] == OTHERS
    assert told.value.messages == 1
    assert [row.uid for row in await all_rows(inbox, Column.DATES)] == [row.uid for row in before]
    blank = [row async for batch in inbox.rows(WHOLE, Column.HEADERS, blank=True) for row in batch]
    assert [row.uid for row in blank if not row.headers] == [ODD]
    assert await store.verify(None) != []


async def test_it_is_told_in_the_log_once_and_by_verify_with_its_path(
    data: Path, store: MaildirStore, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox = await inbox_of(store)
    for _ in range(3):
        await inbox.search_field(WHOLE, "SUBJECT", "Demande")
        await inbox.search_text(WHOLE, "Bonjour", body_only=False)
        await behind(store, again=True)
    faults = await store.verify(None)
    path = next(path for path in cur(data, MAIRIE) if f"U={ODD}," in path.name)
    assert faults == [f"maire@mairie.test INBOX: UID {ODD}: {path} cannot be read: Input/output error"]
    assert capsys.readouterr().out.count("store-message-unread") <= 2  # as unread, and to whoever opens it


async def test_the_text_index_is_filled_with_all_others_and_with_it_once_it_can_be_read(
    store: MaildirStore, disk: Disk
) -> None:
    entry = await store._open_accounts.use(MAIRIE)
    await behind(store)
    assert turn(entry.handle) is Progress.DONE
    disk.tried = 0
    inbox = await inbox_of(store)
    assert list(await inbox.search_text(WHOLE, "Bonjour", body_only=True)) == OTHERS
    disk.part = "nothing"
    await behind(store, again=True)
    assert turn(entry.handle) is Progress.DONE
    assert turn(entry.handle) is Progress.DONE
    disk.part, disk.tried = f"U={ODD},", 0
    assert list(await inbox.search_text(WHOLE, "Bonjour", body_only=True)) == [*OTHERS[:5], ODD, *OTHERS[5:]]
    assert disk.tried == 0  # the text index knows it


async def test_it_is_tried_again_for_whoever_asks_and_behind_but_not_each_time(
    store: MaildirStore, disk: Disk, before: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = await inbox_of(store)
    for _ in range(3):
        with pytest.raises(UnreadableError):
            await all_rows(inbox)
    assert disk.tried == 2  # when it was first read, and when it was first asked for
    disk.part = "nothing"
    with pytest.raises(UnreadableError):
        await all_rows(inbox)
    monkeypatch.setattr(rows, "ASKED_AGAIN", 0.0)
    (await store._open_accounts.use(MAIRIE)).handle.try_asked = 0.0
    assert alike(await all_rows(inbox), before)
    assert await store.verify(None) == []


async def test_a_disk_that_gives_files_again_is_asked_for_all_of_them_at_once(
    store: MaildirStore, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: 32 were tried every half a minute, of 10,000 for three hours."""
    monkeypatch.setattr(filler, "LOOK_EVERY", 0.01)
    for folder in ("INBOX", "Archive"):
        for number in range(80):
            await deliver(store, MAIRIE, 100 + number, Placement(folder))
    await store.flush()
    for path in (await _root(store)).glob("index*"):
        path.unlink()
    disk.part = "U="
    inbox, entry = await inbox_of(store), await store._open_accounts.use(MAIRIE)
    await behind(store)
    count = COUNT + 2 * 80
    assert unreadable.count(entry.handle.reader) == count
    with pytest.raises(UnreadableError):
        await all_rows(inbox)
    disk.part, entry.handle.try_asked = "nothing", 0.0
    assert len(await all_rows(inbox)) == COUNT + 80
    async with asyncio.timeout(10):
        while unreadable.count(entry.handle.reader):  # those nobody asked for
            await asyncio.sleep(0.01)


async def test_a_disk_that_gives_none_is_asked_for_few(store: MaildirStore, disk: Disk) -> None:
    for number in range(80):
        await deliver(store, MAIRIE, 100 + number)
    await store.flush()
    for path in (await _root(store)).glob("index*"):
        path.unlink()
    disk.part = "U="
    inbox = await inbox_of(store)
    await behind(store)
    disk.tried = 0
    for _ in range(3):
        with pytest.raises(UnreadableError):
            await all_rows(inbox)
    assert disk.tried == unscanned.TURN


async def _root(store: MaildirStore) -> Path:
    entry = await store._open_accounts.use(MAIRIE)
    return Path(entry.handle.fs.real_path(entry.handle.root))


async def test_orders_that_are_remembered_are_forgotten_once_it_can_be_read(store: MaildirStore, disk: Disk) -> None:
    inbox, everyone = await inbox_of(store), list(range(1, COUNT + 1))
    criteria = [SortCriterion(SortKey.SUBJECT)]
    assert (await inbox.sort(everyone, criteria))[0] == ODD
    disk.part = "nothing"
    await behind(store, again=True)
    assert list(await inbox.sort(everyone, criteria)) == everyone


async def test_the_filler_tries_again_now_and_then_alone(
    store: MaildirStore, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await behind(store)
    entry = await store._open_accounts.use(MAIRIE)
    await behind(store, again=True)
    wait = entry.handle.try_behind
    assert wait >= filler.AGAIN_EVERY
    monkeypatch.setattr(filler, "AGAIN_EVERY", -1.0)
    disk.part = "nothing"
    await behind(store, again=True)
    assert unreadable.count(entry.handle.reader) == 0


async def test_copies_made_while_it_cannot_be_read_are_known_with_it(
    store: MaildirStore, disk: Disk, before: list[Message]
) -> None:
    inbox = await inbox_of(store)
    await behind(store)
    disk.part = "S="  # whatever they are called
    await inbox.copy(((ODD, ODD),), "Archive")
    archive = await inbox_of(store, name="Archive")
    with pytest.raises(UnreadableError):
        await all_rows(archive)
    await inbox.expunge(((ODD, ODD),), only_deleted=False)
    disk.part = "nothing"
    await behind(store, again=True)
    assert [(row.email_id, row.thread_id, row.envelope) for row in await all_rows(archive)] == [
        (row.email_id, row.thread_id, row.envelope) for row in before if row.uid == ODD
    ]
    assert await store.verify(None) == []


async def test_a_rebuild_makes_all_others_again_and_tells(
    store: MaildirStore, disk: Disk, before: list[Message]
) -> None:
    with pytest.raises(StorageError, match="1 message files cannot be read"):
        await store.rebuild(None)
    inbox = await inbox_of(store)
    found = list[Message]()
    with pytest.raises(UnreadableError):
        await collect(inbox, Column.IDS, found)
    assert [row.email_id for row in found] == [row.email_id for row in before if row.uid != ODD]
    disk.part = "nothing"
    assert await store.rebuild(None) == COUNT
    assert alike(await all_rows(await inbox_of(store)), before)


@pytest.mark.parametrize("at_open", [False, True])
async def test_f155_one_of_a_writer_that_died_keeps_its_account_from_nobody(
    data: Path, clock: ManualClock, before: list[Message], disk: Disk, *, at_open: bool
) -> None:
    """Cause: the recovery read what a killed writer had linked, and failed with it, for LOGIN, SELECT and all mail."""
    store = await opened(data, clock, boot="here")
    handle = (await store._open_accounts.use(MAIRIE)).handle
    path = next(path for path in cur(data, MAIRIE) if f"U={ODD}," in path.name)
    handle.writer.run(f"DELETE FROM messages WHERE name = '{path.name}'")
    word = handle.lock.read()
    assert word is not None
    handle.lock.write(type(word)("here", word.generation, type(word.state).BUSY, ("*",)))
    handle.writer.run(f"UPDATE folders SET uidnext = {ODD} WHERE name = 'INBOX'")
    handle.touched = False
    disk.part, disk.at_open = f"U={ODD},", at_open
    again = MaildirStore(data, clock=clock, fs=disk, boot="here")
    await again.open()
    inbox = await inbox_of(again)
    assert [row.uid for row in await all_rows(inbox, Column.DATES)] == list(range(1, COUNT + 1))
    assert (await deliver(again, MAIRIE, 100)).uid > COUNT
    disk.part = "nothing"
    assert [row.email_id for row in await all_rows(inbox)][:COUNT] == [row.email_id for row in before]
    await again.close()
    await store.close()


async def test_one_whose_inode_cannot_be_read_keeps_its_uid(
    store: MaildirStore, disk: Disk, before: list[Message]
) -> None:
    """Cause: it was left out, so that clients heard that it was gone, and got another UID later."""
    disk.at_stat = True
    inbox = await inbox_of(store)
    assert [(row.uid, row.size, row.flags) for row in await all_rows(inbox, Column.DATES)] == [
        (row.uid, row.size, row.flags) for row in before
    ]
    found = list[Message]()
    with pytest.raises(UnreadableError):
        await collect(inbox, Column.IDS, found)
    assert [row.uid for row in found] == OTHERS
    disk.part = "nothing"
    await behind(store, again=True)
    assert [(row.uid, row.email_id) for row in await all_rows(inbox)] == [(row.uid, row.email_id) for row in before]


@pytest.mark.parametrize("at_open", [False, True])
async def test_a_foreign_file_that_cannot_be_read_is_left_alone(
    data: Path, store: MaildirStore, disk: Disk, *, at_open: bool
) -> None:
    """Cause: SELECT looked at it, and failed with it, for ever."""
    disk.part, disk.at_open = "foreign", at_open
    inbox = await inbox_of(store)
    new = data / "domains/mairie.test/maire/new"
    (new / "foreign").write_bytes(mail(50))
    (new / "others").write_bytes(mail(51))
    assert (await inbox.snapshot()).messages == COUNT + 1
    assert [path.name for path in new.iterdir()] == ["foreign"]
    disk.part = "nothing"
    assert (await inbox.snapshot()).messages == COUNT + 2


async def test_no_descriptors_are_no_reason_to_call_a_file_unreadable(
    store: MaildirStore, disk: Disk, before: list[Message]
) -> None:
    disk.error, disk.at_open = errno.EMFILE, True
    inbox = await inbox_of(store)
    with pytest.raises(StorageError):
        await inbox.sort([ODD], [SortCriterion(SortKey.SUBJECT)])
    await behind(store)
    entry = await store._open_accounts.use(MAIRIE)
    assert (unscanned.count(entry.handle.reader), unreadable.count(entry.handle.reader)) == (1, 0)
    disk.part = "nothing"
    assert alike(await all_rows(inbox), before)


async def test_what_our_reader_stumbles_over_is_unreadable_too(
    data: Path, clock: ManualClock, before: list[Message]
) -> None:
    def stumbling(content: Content) -> Facts:
        if content.read(0, content.size) == mail(ODD - 1):
            raise ValueError("test")
        return facts.gather(content)

    store = MaildirStore(data, clock=clock, gather=stumbling)
    await store.open()
    inbox = await inbox_of(store)
    assert (await inbox.sort(list(range(1, COUNT + 1)), [SortCriterion(SortKey.SUBJECT)]))[0] == ODD
    await store.close()


async def test_a_file_of_a_known_message_is_passed_over_by_text_searches(
    data: Path, clock: ManualClock, disk: Disk
) -> None:
    """Cause: the search ended with what the disk said of one of its candidates."""
    disk.part = f"U={ODD},"
    store = MaildirStore(data, clock=clock, fs=disk)
    await store.open()
    inbox = await inbox_of(store)
    for number in range(COUNT):
        await deliver(store, MAIRIE, number, Placement())
    assert list(await inbox.search_text(WHOLE, "Bonjour", body_only=True)) == OTHERS
    file = await inbox.open((await all_rows(inbox))[ODD - 1].uid)
    with pytest.raises(StorageError):
        await file.read(0, 10)
    file.close()
    await store.close()
