"""Sets of many fragments, as "$" and every second message are: asked together, and answered as if one by one."""

from __future__ import annotations

import pytest

from store import records
from store import rows as face
from store.catalog import FolderRow
from store.index import Connection
from store.service import MaildirStore
from store.store import Mailbox, UidRanges
from store.types import Column, Flag, Message, Placement
from tests.fakes.mail import content
from tests.store.helpers import EVERY, MAIRIE, all_rows, inbox_of

COUNT = 60
SMALL = 8  # rows read at once here


@pytest.fixture
async def inbox(store: MaildirStore, monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    """UIDs 1 to 60 without 11, 21, 31, 41 and 51."""
    monkeypatch.setattr(records, "BATCH", SMALL)
    for name in ("_statement", "_narrow_statement"):  # the number stands in what is remembered
        monkeypatch.setattr(records, name, getattr(records, name).__wrapped__)
    account = await store.account(MAIRIE)
    await account.append([(content(number), Placement()) for number in range(COUNT)])
    found = await inbox_of(store)
    await found.expunge([(uid, uid) for uid in range(11, COUNT, 10)], only_deleted=False)
    return found


async def _asked(inbox: Mailbox, ranges: UidRanges, columns: Column) -> list[Message]:
    return [row async for batch in inbox.rows(ranges, columns) for row in batch]


@pytest.mark.parametrize("columns", [Column.NONE, Column.DATES, EVERY])
@pytest.mark.parametrize(
    "ranges",
    [
        [(uid, uid) for uid in range(1, COUNT, 2)],
        [(1, 1), (3, 30), (32, 33), (35, 36), (50, 52)],
        [(10, 11), (21, 21), (31, 32), (59, 4000), (5000, 2**32 - 1)],
        [(11, 11), (21, 21), (70, 70)],
        [(uid, uid + 3) for uid in range(2, COUNT, 5)],
    ],
    ids=["odd", "a-long-one-between", "beyond-the-end", "none-of-them", "short-ones"],
)
async def test_fragments_are_what_they_are_one_by_one(inbox: Mailbox, ranges: UidRanges, columns: Column) -> None:
    wanted = {uid for low, high in ranges for uid in range(low, min(high, COUNT) + 1)}
    assert await _asked(inbox, ranges, columns) == [row for row in await all_rows(inbox, columns) if row.uid in wanted]


async def test_tables_are_the_columns_of_rows(inbox: Mailbox) -> None:
    """In whatever order the fields are named; with and without keywords."""
    await inbox.store_flags([(7, 7), (30, 33)], add=Flag.FLAGGED | Flag.SEEN, add_keywords=["$Work", "$Home"])
    await inbox.store_flags([(32, 32)], remove_keywords=["$Work"])
    names = [name for name in Message._fields if name not in ("uid", "flags", "keywords", "modseq")]
    for ranges in ([(1, 2**32 - 1)], [(1, 1), (3, 30), (32, 33), (59, 4000)]):
        for fields in (tuple(names), tuple(reversed(names)), ("headers", "size"), ("thread_id",), ()):
            asked = (*Message._fields[:4], *fields)
            tables = [table async for table in inbox.tables(ranges, fields)]
            found = [row for table in tables for row in zip(*(table[name] for name in asked), strict=True)]
            told = [(uid, Flag(flags), words or (), *rest) for uid, flags, words, *rest in found]
            assert told == [tuple(getattr(row, name) for name in asked) for row in await _asked(inbox, ranges, EVERY)]


async def test_fragments_are_asked_as_many_at_once_as_a_batch_holds(
    inbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question for each took 60 µs, and one command may name fifty thousand."""
    asked: list[int] = []
    batch = records.batch

    def counted(db: Connection, folder: FolderRow, which: records.Which, columns: Column) -> list[Message]:
        found = batch(db, folder, which, columns)
        asked.append(len(found))
        return found

    def alone(*_: object, **__: object) -> None:
        raise AssertionError("asked one by one")

    monkeypatch.setattr(records, "batch", counted)
    monkeypatch.setattr(face, "_batch", alone)
    found = await _asked(inbox, [(uid, uid) for uid in range(1, COUNT, 2)], EVERY)
    assert asked == [7, 6, 7, 5]  # of eight each, and six: those that are still there
    assert len(found) == sum(asked)
