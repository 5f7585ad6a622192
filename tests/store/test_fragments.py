"""Sets of many fragments, as "$" and every second message are: asked together, and answered as if one by one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from store import copy, pieces, records
from store import rows as face
from store.catalog import FolderRow
from store.index import Connection, Row
from store.pieces import Which
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

    def counted(db: Connection, folder: FolderRow, which: Which, columns: Column) -> list[Message]:
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


CHANGED_RANGES = [
    [(uid, uid) for uid in range(1, COUNT, 2)],
    [(1, 1), (3, 30), (32, 33), (35, 36), (50, 52)],
    [(10, 11), (21, 21), (31, 32), (59, 4000), (5000, 2**32 - 1)],
    [(11, 11), (21, 21), (70, 70)],
]


@pytest.mark.parametrize("ranges", CHANGED_RANGES, ids=["odd", "a-long-one-between", "beyond-the-end", "none-of-them"])
async def test_changes_of_fragments_are_of_those_messages_alone(
    store: MaildirStore, inbox: Mailbox, ranges: UidRanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags, copies, moves and removals, with few of them in one statement."""
    monkeypatch.setattr(pieces, "TOGETHER", 4)
    monkeypatch.setattr(copy, "TOGETHER", 3)
    await inbox.store_flags([(5, 7), (33, 35)], add=Flag.FLAGGED, add_keywords=["$Work", "$Home"])
    before = {row.uid: row for row in await all_rows(inbox)}
    wanted = [uid for uid in before if any(low <= uid <= high for low, high in ranges)]

    changed = await inbox.store_flags(ranges, add=Flag.ANSWERED, unchanged_since=2**62)
    assert [row.uid for row in changed.messages] == wanted
    answered = [row.uid for row in await all_rows(inbox) if row.flags & Flag.ANSWERED]
    assert answered == wanted

    for copied, target in (
        (await inbox.copy(ranges, "Sent"), "Sent"),
        (await inbox.move(ranges, "Archive"), "Archive"),
    ):
        assert [old for old, _ in copied.pairs] == wanted
        made = {row.uid: row for row in await all_rows(await inbox_of(store, name=target))}
        for old, new in copied.pairs:
            assert made[new].flags == before[old].flags | Flag.ANSWERED
            assert sorted(made[new].keywords) == sorted(before[old].keywords)
            assert made[new].email_id == before[old].email_id
            assert made[new].headers == before[old].headers
    assert [row.uid for row in await all_rows(inbox)] == [uid for uid in before if uid not in wanted]

    sent = await inbox_of(store, name="Sent")
    odd = [(uid, uid) for uid in range(1, len(wanted) + 1, 2)]
    assert (await sent.expunge(odd, only_deleted=False)).vanished == tuple(uid for uid, _ in odd)
    assert [row.uid for row in await all_rows(sent)] == list(range(2, len(wanted) + 1, 2))
    archive = await inbox_of(store, name="Archive")
    assert [row.uid for row in await all_rows(archive)] == list(range(1, len(wanted) + 1))  # with what they share
    await archive.expunge(odd, only_deleted=False)
    assert [row.uid for row in await all_rows(archive)] == list(range(2, len(wanted) + 1, 2))
    await sent.expunge(None, only_deleted=False)
    await archive.expunge(None, only_deleted=False)
    await store.flush()
    assert await store.verify(None) == []


async def test_a_change_of_ten_thousand_fragments_asks_few_questions(
    store: MaildirStore, inbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement for each was most of what it cost."""
    asked: list[str] = []
    plain_all, plain_run = Connection.all, Connection.run

    def counted_all(self: Connection, sql: str, values: Sequence[object] = ()) -> list[Row]:
        asked.append(sql)
        return plain_all(self, sql, values)

    def counted_run(self: Connection, sql: str, values: Sequence[object] = ()) -> None:
        asked.append(sql)
        plain_run(self, sql, values)

    monkeypatch.setattr(Connection, "all", counted_all)
    monkeypatch.setattr(Connection, "run", counted_run)
    odd = [(uid, uid) for uid in range(1, 20_000, 2)]
    for change in (
        inbox.store_flags(odd, add=Flag.SEEN),
        inbox.copy(odd, "Sent"),
        inbox.move(odd[:15], "Sent"),
        inbox.expunge(odd, only_deleted=False),
    ):
        asked.clear()
        await change
        assert 0 < len(asked) < 60, asked
