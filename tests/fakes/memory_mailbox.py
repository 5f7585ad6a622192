"""One mailbox in memory behind `store.store.Mailbox`, enough for commands that read: rows, files, flags, text search.

Rows are made by `message.facts.gather`, so answers from the index are those of the real store. Counts what was asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

from core.errors import NotFoundError, StorageError
from message import text
from message.content import BytesContent, Content
from message.facts import gather
from message.similar import alike
from message.words import gather as gather_words
from store.store import UidRanges
from store.types import (
    MAX_UID,
    NO_FLAGS,
    Appended,
    Changes,
    Column,
    Copied,
    Flag,
    FlagsChanged,
    Folder,
    Message,
    ModSeq,
    Placement,
    Snapshot,
    SortCriterion,
    Stretch,
    Table,
    ThreadAlgorithm,
    ThreadNode,
    Uid,
)
from tests.fakes import ordering


def stretch_of(rows: Sequence[Message]) -> Stretch:
    """Of these messages, in the order of their UIDs."""
    if len({row.keywords for row in rows}) > 1:
        return Stretch(len(rows), max(row.modseq for row in rows), keywords=None)
    modseq = max((row.modseq for row in rows), default=ModSeq(0))
    return Stretch(len(rows), modseq, bytes(int(row.flags) for row in rows), rows[0].keywords if rows else ())


def table_of(rows: Sequence[Message], fields: tuple[str, ...]) -> Table:
    return {name: [getattr(row, name) for row in rows] for name in (*Message._fields[:4], *fields)}


@dataclass
class MemoryFile:
    data: bytes
    reads: list[tuple[int, int]]
    broken_after: int | None = None  # octets after which the disk fails
    closed: bool = False

    @property
    def size(self) -> int:
        return len(self.data)

    async def read(self, start: int, stop: int) -> bytes:
        self.reads.append((start, stop))
        if self.broken_after is not None and stop > self.broken_after:
            raise StorageError("The disk failed")
        return self.data[start:stop]

    async def check(self, start: int, stop: int) -> None:
        """The disk gives it now; `read` tells whether it does later."""

    def close(self) -> None:
        self.closed = True


@dataclass
class MemoryMailbox:
    """`put` adds a message; `lose` expunges one, with its file, as another session would."""

    folder_id: str = "f1"
    batch: int = 3
    messages: dict[int, Message] = field(default_factory=dict)
    raw: dict[int, bytes] = field(default_factory=dict)
    modseq: int = 1
    uidnext: int = 1
    vanished: dict[int, int] = field(default_factory=dict)
    asked: list[tuple[str, object]] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)
    files: list[MemoryFile] = field(default_factory=list)
    broken_after: int | None = None
    read_only_disk: bool = False

    def put(
        self,
        raw: bytes,
        flags: Flag = NO_FLAGS,
        *keywords: str,
        uid: int | None = None,
        internal_date: int = 1_700_000_000,
        save_date: int = 1_700_000_500,
    ) -> Uid:
        found = Uid(uid or self.uidnext)
        facts = gather(BytesContent(raw))
        self.modseq += 1
        self.uidnext = found + 1
        self.raw[found] = raw
        self.messages[found] = Message(
            uid=found,
            flags=flags,
            keywords=keywords,
            modseq=ModSeq(self.modseq),
            internal_date=internal_date,
            save_date=save_date,
            size=len(raw),
            email_id=f"M{found}",
            thread_id=f"T{found % 2}",
            envelope=facts.envelope,
            bodystructure=facts.bodystructure,
            body=facts.body,
            parts=facts.parts,
            headers=facts.headers,
            preview=facts.preview,
            sent_date=facts.sent_date or 0,
        )
        return found

    def lose(self, uid: int) -> None:
        self.modseq += 1
        del self.messages[uid], self.raw[uid]
        self.vanished[uid] = self.modseq

    async def recent_from(self, uidnext: int, *, take: bool) -> int:
        return MAX_UID

    async def snapshot(self, *, take_recent: bool = False) -> Snapshot:
        count = len(self.messages)
        folder = Folder(self.folder_id, "INBOX", 7, self.uidnext, self.modseq, count, 0, 0, 0)
        return Snapshot(folder, 7, self.uidnext, self.modseq, count, 0)

    async def uids(self, snapshot: Snapshot) -> Sequence[int]:
        gone = [uid for uid, modseq in self.vanished.items() if modseq > snapshot.modseq]
        return sorted(uid for uid in [*self.messages, *gone] if uid < snapshot.uidnext)

    async def rows(
        self, ranges: UidRanges, columns: Column, *, blank: bool = False
    ) -> AsyncIterator[Sequence[Message]]:
        self.asked.append(("rows", columns))
        wanted = [uid for uid in sorted(self.messages) if any(low <= uid <= high for low, high in ranges)]
        for start in range(0, len(wanted), self.batch):
            present = [uid for uid in wanted[start : start + self.batch] if uid in self.messages]
            yield [only(self.messages[uid], columns) for uid in present]

    async def tables(self, ranges: UidRanges, fields: tuple[str, ...]) -> AsyncIterator[Table]:
        async for rows in self.rows(ranges, columns_of(fields)):
            if rows:
                yield table_of(rows, fields)

    async def stretch(self, first: int, last: int) -> Stretch:
        return stretch_of([self.messages[uid] for uid in sorted(self.messages) if first <= uid <= last])

    async def small(self, uids: Sequence[int]) -> Sequence[bytes]:
        return ()  # each is opened alone

    async def open(self, uid: Uid) -> MemoryFile:
        self.asked.append(("open", uid))
        if uid not in self.raw:
            raise NotFoundError("no such message")
        file = MemoryFile(self.raw[uid], self.reads, self.broken_after)
        self.files.append(file)
        return file

    async def changes(self, since: int, uidnext: int) -> Changes:
        rows = tuple(only(row, Column.NONE) for row in self.messages.values() if row.modseq > since)
        gone = tuple(Uid(uid) for uid, modseq in self.vanished.items() if modseq > since and uid < uidnext)
        return Changes(self.modseq, self.uidnext, rows, gone)

    async def store_flags(
        self,
        ranges: UidRanges,
        *,
        add: Flag = NO_FLAGS,
        remove: Flag = NO_FLAGS,
        replace: bool = False,
        add_keywords: Sequence[str] = (),
        remove_keywords: Sequence[str] = (),
        unchanged_since: int | None = None,
        seen: int | None = None,
    ) -> FlagsChanged:
        self.asked.append(("store_flags", tuple(ranges)))
        if self.read_only_disk:
            raise StorageError("The disk is full")
        self.modseq += 1
        changed = [self._flagged(uid, add, remove) for uid in list(self.messages) if _among(uid, ranges)]
        return FlagsChanged(tuple(only(row, Column.NONE) for row in changed))

    def _flagged(self, uid: int, add: Flag, remove: Flag) -> Message:
        row = self.messages[uid]
        row = row._replace(flags=row.flags & ~remove | add, modseq=ModSeq(self.modseq))
        self.messages[uid] = row
        return row

    async def touch(self) -> None:
        self.modseq += 1

    async def expunge(self, ranges: UidRanges | None, *, only_deleted: bool = True) -> Changes:
        raise NotImplementedError

    async def copy(self, ranges: UidRanges, target: str) -> Copied:
        raise NotImplementedError

    async def move(self, ranges: UidRanges, target: str) -> Copied:
        raise NotImplementedError

    async def replace(self, uid: Uid, content: Content, placement: Placement) -> Appended:
        raise NotImplementedError

    async def sort(self, uids: Sequence[int], criteria: Sequence[SortCriterion]) -> Sequence[int]:
        return ordering.ordered(self.messages, self.raw, uids, criteria)

    async def threads(self, uids: Sequence[int], algorithm: ThreadAlgorithm) -> Sequence[ThreadNode]:
        return ordering.threaded(self.messages, self.raw, uids, algorithm)

    async def similar_words(self, word: str, most: int) -> Sequence[tuple[str, float]]:
        return alike(word, vocabulary(self.raw.values()), most)

    async def search_field(self, ranges: UidRanges, field: str, pattern: str) -> Sequence[int]:
        return ordering.holding(self.raw, [uid for uid in sorted(self.messages) if _among(uid, ranges)], field, pattern)

    async def search_text(self, ranges: UidRanges, pattern: str, *, body_only: bool) -> Sequence[int]:
        self.asked.append(("search_text", (tuple(ranges), pattern, body_only)))
        return [
            uid
            for uid, raw in sorted(self.raw.items())
            if _among(uid, ranges) and text.contains(BytesContent(raw), pattern, body_only=body_only)
        ]


def vocabulary(raws: Iterable[bytes]) -> set[str]:
    """What the text index would know of these messages."""
    words: set[str] = set()
    for raw in raws:
        found = gather_words(text.pieces(BytesContent(raw)))
        words |= found.head | found.body
    return words


def _among(uid: int, ranges: UidRanges) -> bool:
    return any(low <= uid <= high for low, high in ranges)


# Which fields a column brings; what was not asked for holds its empty default.
_COLUMNS: dict[Column, tuple[str, ...]] = {
    Column.DATES: ("internal_date", "save_date", "size"),
    Column.IDS: ("email_id", "thread_id"),
    Column.ENVELOPE: ("envelope",),
    Column.STRUCTURE: ("bodystructure", "body"),
    Column.PARTS: ("parts",),
    Column.HEADERS: ("headers",),
    Column.PREVIEW: ("preview",),
    Column.SENT: ("sent_date",),
}


def columns_of(fields: Iterable[str]) -> Column:
    """Which bring these fields."""
    return Column(sum(column for column, names in _COLUMNS.items() if not set(names).isdisjoint(fields)))


def only(row: Message, columns: Column) -> Message:
    """As the real store answers: a handler that forgets a column gets the empty default and fails its test."""
    empty = Message(row.uid, row.flags, row.keywords, row.modseq)
    values = {name: getattr(row, name) for column, names in _COLUMNS.items() if column in columns for name in names}
    return empty._replace(**values)
