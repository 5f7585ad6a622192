"""What octets tell is kept once for all copies of a message, as long as there is one, and never for another message."""

from __future__ import annotations

from pathlib import Path

from core.clock import ManualClock
from store import contents
from store.index import Connection
from store.service import MaildirStore
from store.types import Flag, SortCriterion, SortKey, ThreadAlgorithm, Uid
from tests.store.helpers import MAIRIE, all_rows, deliver, inbox_of, read
from tests.store.picture import delete

SUBJECTS = [SortCriterion(SortKey.SUBJECT, reverse=True)]


def _db(store: MaildirStore) -> Connection:
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    return entry.handle.writer


def _kept(store: MaildirStore) -> int:
    """Contents; each table has as many rows."""
    found = set(contents.counts(_db(store)))
    assert len(found) == 1
    return found.pop()


async def _delivered(store: MaildirStore, count: int) -> None:
    for number in range(1, count + 1):
        await deliver(store, MAIRIE, number)


async def test_a_copy_tells_what_the_first_tells_and_keeps_it_once(store: MaildirStore) -> None:
    await _delivered(store, 4)
    inbox, sent = await inbox_of(store), await inbox_of(store, name="Sent")
    await inbox.copy([(2, 4)], "Sent")
    await sent.copy([(1, 2)], "Trash")  # a copy of a copy
    rows = await all_rows(inbox)
    for name, first in (("Sent", 2), ("Trash", 2)):
        for uid, row in enumerate(await all_rows(await inbox_of(store, name=name)), 1):
            assert (row.uid, row[7:]) == (uid, rows[first + uid - 2][7:])
    assert _kept(store) == 4
    assert await sent.search_field([(1, 9)], "Subject", "Demande 3") == [2]
    assert await sent.sort([1, 2, 3], SUBJECTS) == [3, 2, 1]
    assert [node.uid for node in await sent.threads([1, 2, 3], ThreadAlgorithm.REFERENCES)] == [1, 2, 3]
    assert await store.verify(None) == []


async def test_it_stays_until_the_last_of_them_is_gone(store: MaildirStore) -> None:
    await _delivered(store, 3)
    inbox, trash = await inbox_of(store), await inbox_of(store, name="Trash")
    before = await all_rows(inbox)
    await inbox.copy([(1, 3)], "Trash")
    await inbox.expunge([(1, 2)], only_deleted=False)
    assert [row[7:] for row in await all_rows(trash)] == [row[7:] for row in before]
    assert _kept(store) == 3
    await trash.expunge([(2, 3)], only_deleted=False)
    assert _kept(store) == 2
    assert [row[7:] for row in await all_rows(trash)] == [before[0][7:]]
    assert [row[7:] for row in await all_rows(inbox)] == [before[2][7:]]
    await trash.expunge(None, only_deleted=False)
    assert _kept(store) == 1
    await inbox.expunge(None, only_deleted=False)
    assert _kept(store) == 0
    assert await store.verify(None) == []


async def test_what_was_moved_about_leaves_nothing_behind(store: MaildirStore) -> None:
    await _delivered(store, 3)
    inbox = await inbox_of(store)
    before = await all_rows(inbox)
    account = await store.account(MAIRIE)
    await account.create("A")
    await inbox.move([(1, 3)], "A")
    await (await account.mailbox("A")).move([(1, 2)], "INBOX")
    assert [row[7:] for row in await all_rows(inbox)] == [row[7:] for row in before[:2]]
    assert _kept(store) == 3
    await account.delete("A")  # with the message that was first in INBOX
    assert _kept(store) == 2
    await inbox.expunge(None, only_deleted=False)
    assert _kept(store) == 0


async def test_a_folder_goes_and_others_keep_the_copies_they_have_of_it(store: MaildirStore) -> None:
    await _delivered(store, 2)
    inbox = await inbox_of(store)
    before = await all_rows(inbox)
    account = await store.account(MAIRIE)
    await account.create("A")
    await inbox.move([(1, 2)], "A")
    await deliver(store, MAIRIE, 7)
    await inbox.copy([(3, 3)], "A")
    await (await account.mailbox("A")).copy([(2, 3)], "Sent")
    await account.delete("A")
    assert _kept(store) == 2
    sent = await all_rows(await inbox_of(store, name="Sent"))
    assert [row[7:] for row in sent] == [before[1][7:], (await all_rows(inbox))[0][7:]]
    assert await store.verify(None) == []


async def test_a_file_that_comes_back_under_its_old_number_does_not_change_the_copies(
    store: MaildirStore, data: Path, clock: ManualClock
) -> None:
    """An index brought back from a time when the message had been moved, beside files where it is there, or another
    one under its number."""
    await _delivered(store, 2)
    inbox = await inbox_of(store)
    await inbox.copy([(1, 1)], "Sent")
    await inbox.copy([(1, 1)], "Trash")
    sent = (await all_rows(await inbox_of(store, name="Sent")))[0]
    db = _db(store)
    db.run("DELETE FROM messages WHERE folder = (SELECT number FROM folders WHERE name = 'INBOX')")
    first = min(row[0] for row in db.all("SELECT key FROM summaries"))
    contents.make_way(db, first)
    assert db.all("SELECT 1 FROM summaries WHERE key = ?", (first,)) == []
    for name in ("Sent", "Trash"):
        mailbox = await inbox_of(store, name=name)
        assert [row[7:] for row in await all_rows(mailbox)] == [sent[7:]]
    contents.make_way(db, first)  # nobody tells of it now: nothing is to be done
    assert db.value("SELECT count(*) FROM summaries") == 2


async def test_contents_that_no_message_tells_of_are_no_sound_index(data: Path, clock: ManualClock) -> None:
    """Cause: pages of different times, with as many contents as messages tell of, but not the same."""
    store = MaildirStore(data, clock=clock)
    await store.open()
    await _delivered(store, 3)
    db = _db(store)
    first = db.value("SELECT min(key) FROM messages")
    for table in ("summaries", "heads", "sorting"):
        db.run(f"UPDATE {table} SET key = 99 WHERE key = {first}")
    assert contents.counts(db) == [3, 2, 3, 2, 3, 2, 3]
    assert "messages tell of 3 contents" in (await store.verify(None))[0]
    await store.close()
    later = MaildirStore(data, clock=clock, boot="another")
    word = data / "domains/mairie.test/maire/beffroi.lock"
    word.write_bytes(b"")  # the last word is lost: rows are not believed
    await later.open()
    assert [row.uid for row in await all_rows(await inbox_of(later))] == [1, 2, 3]
    assert await later.verify(None) == []
    await later.close()


async def test_shared_contents_come_back_with_a_lost_index(data: Path, clock: ManualClock) -> None:
    store = MaildirStore(data, clock=clock)
    await store.open()
    await _delivered(store, 3)
    inbox = await inbox_of(store)
    await inbox.store_flags([(2, 2)], add=Flag.FLAGGED)
    await inbox.copy([(1, 3)], "Sent")
    await inbox.move([(3, 3)], "Trash")
    names = ("INBOX", "Sent", "Trash")
    told = [[row[7:] for row in await all_rows(await inbox_of(store, name=name))] for name in names]
    await store.close()
    delete(data)
    store = MaildirStore(data, clock=clock)
    await store.open()
    assert [[row[7:] for row in await all_rows(await inbox_of(store, name=name))] for name in names] == told
    assert await read(await inbox_of(store, name="Trash"), Uid(1))
    assert await store.verify(None) == []
    await store.close()
