"""Indexes of older versions are brought up in place: no message file is read, nothing changes for clients."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import apsw
import pytest

from core.clock import ManualClock
from core.errors import StorageError
from message.content import Content
from message.facts import Facts, gather
from store.migrate import MIGRATIONS, Database
from store.schema import VERSION
from store.service import MaildirStore
from tests.store.helpers import MAIRIE, all_rows, deliver, inbox_of

VERSION_4 = """
PRAGMA user_version = 4;
DROP INDEX messages_unreadable;
DROP INDEX messages_unjoined;
"""
VERSION_3 = f"""{VERSION_4}
PRAGMA user_version = 3;
DROP INDEX messages_unscanned;
"""
VERSION_2 = f"""{VERSION_3}
PRAGMA user_version = 2;
DROP INDEX messages_borrowed;
ALTER TABLE messages DROP COLUMN content;
"""
VERSION_1 = f"""{VERSION_2}
PRAGMA user_version = 1;
DROP TABLE sorting;
CREATE TABLE sorting (key INTEGER PRIMARY KEY, base_subject TEXT, message_id TEXT, refs TEXT) STRICT;
ALTER TABLE state DROP COLUMN life;
"""


async def test_version_1_gets_its_sort_keys_from_its_own_rows(data: Path, clock: ManualClock) -> None:
    scanned = 0

    def counting(content: Content) -> Facts:
        nonlocal scanned
        scanned += 1
        return gather(content)

    store = MaildirStore(data, clock=clock)
    await store.open()
    for number in range(5):
        await deliver(store, MAIRIE, number)
    before = await all_rows(await inbox_of(store))
    await store.close()
    database = apsw.Connection(str(data / "domains/mairie.test/maire/index.db"))
    keys = database.execute("SELECT * FROM sorting ORDER BY key").fetchall()
    database.execute(VERSION_1)
    database.close()

    store = MaildirStore(data, clock=clock, gather=counting)
    await store.open()
    assert await all_rows(await inbox_of(store)) == before
    assert await store.verify(None) == []
    await store.close()
    assert scanned == 0
    database = apsw.Connection(str(data / "domains/mairie.test/maire/index.db"))
    assert database.execute("SELECT * FROM sorting ORDER BY key").fetchall() == keys
    assert len(keys) == 5
    assert database.execute("SELECT length(life) FROM state").fetchall() == [(16,)]
    database.close()


def test_every_older_version_has_its_step() -> None:
    assert set(MIGRATIONS) == set(range(1, VERSION))


async def test_a_full_disk_ends_a_step_and_leaves_the_index_that_was_there(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: SQLite had taken the step back by itself, and that there was nothing to take back was called damage."""
    store = MaildirStore(data, clock=clock)
    await store.open()
    await deliver(store, MAIRIE, 1)
    before = await all_rows(await inbox_of(store))
    await store.close()
    path = data / "domains/mairie.test/maire/index.db"
    database = apsw.Connection(str(path))
    database.execute(VERSION_3)
    database.close()
    inode = path.stat().st_ino

    def full(db: Database) -> None:
        db.run("ROLLBACK")  # as SQLite does (lang_transaction.html)
        raise apsw.FullError("database or disk is full")

    store = MaildirStore(data, clock=clock)
    await store.open()
    with monkeypatch.context() as disk:
        disk.setitem(cast(dict[int, object], MIGRATIONS), 3, full)
        with pytest.raises(StorageError) as told:
            await store.account(MAIRIE)
    assert told.value.code == "storage-full"
    assert await all_rows(await inbox_of(store)) == before
    assert path.stat().st_ino == inode
    await store.close()
