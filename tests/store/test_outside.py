"""What SELECT is told when somebody else is at a folder's files in that very moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from store import catalog, outside
from store.catalog import FolderRow
from store.handle import Handle
from store.index import Connection
from store.lockfile import State, Word
from store.service import MaildirStore
from tests.fakes.mail import mail
from tests.store.helpers import MAIRIE, by_hand, deliver, inbox_of, read


async def test_h110_a_file_put_there_once_the_folder_was_read_is_found_by_the_same_look(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    assert (await inbox.snapshot()).messages == 1
    cur = data / "domains/mairie.test/maire/cur"
    known = catalog.known

    def read_and_changed(db: Connection, folder_id: str) -> FolderRow:
        row = known(db, folder_id)
        (cur / "1.hote:2,S").write_bytes(mail(2))
        by_hand(cur)
        monkeypatch.setattr(catalog, "known", known)
        return row

    monkeypatch.setattr(catalog, "known", read_and_changed)
    snapshot = await inbox.snapshot(take_recent=True)
    assert (snapshot.messages, snapshot.uidnext, snapshot.recent) == (2, 3, 2)
    assert await read(inbox, 2) == mail(2)


async def test_a_mail_that_comes_once_the_folder_was_read_is_not_looked_for_in_its_files(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer at work has changed the files, and will say so when it commits: nobody waits for it."""
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    before = entry.handle.lock.read()
    row = catalog.by_name(entry.handle.reader, "INBOX")
    assert before is not None
    assert row is not None

    def refused(*_: object) -> None:
        raise AssertionError("it was looked for")

    monkeypatch.setattr(outside, "examine", refused)
    changed = outside._changed
    monkeypatch.setattr(outside, "_changed", lambda *given: changed(*given) + 1)
    entry.handle.lock.write(Word(before.boot, before.generation, State.BUSY, (str(row.number),)))
    snapshot = await inbox.snapshot()
    assert (snapshot.messages, snapshot.uidnext) == (1, 2)
    entry.handle.lock.write(before)
    with pytest.raises(AssertionError, match="looked for"):
        await inbox.snapshot()


async def test_a_folder_that_nobody_touched_is_looked_at_once(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    looks = list[FolderRow]()
    changed = outside._changed

    def counted(handle: Handle, row: FolderRow) -> int:
        looks.append(row)
        return changed(handle, row)

    monkeypatch.setattr(outside, "_changed", counted)
    assert (await inbox.snapshot(take_recent=True)).recent == 1
    assert (await inbox.snapshot(take_recent=True)).recent == 0
    assert len(looks) == 2
