"""A whole store in memory behind `store.store.Store`: folders, messages, changes, hints. No crash, no disk, no index.

Commands that change things are tested against it; `tests/imap/test_real_store.py` runs the main ones on the real one.
One file, though a long one: it is the store's whole face once more, each method as short as it can be.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from core.errors import ConflictError, InvalidError, MailError, NotFoundError, QuotaError
from message import text
from message.content import BytesContent, Content
from message.facts import gather
from message.similar import alike
from store.store import UidRanges
from store.types import (
    INBOX,
    MAX_UID,
    NO_FLAGS,
    AccountRef,
    Appended,
    Changes,
    Column,
    Copied,
    Flag,
    FlagsChanged,
    Folder,
    Hint,
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
from tests.fakes.memory_mailbox import MemoryFile, columns_of, only, stretch_of, table_of, vocabulary

USES = ("Archive", "Drafts", "Junk", "Sent", "Trash")
STANDARD = {INBOX: ""} | {name: f"\\{name}" for name in USES}


@dataclass
class Box:
    """One folder: what the real store keeps in a directory."""

    id: str
    name: str
    uidvalidity: int
    special_use: str = ""
    uidnext: int = 1
    messages: dict[int, Message] = field(default_factory=dict)
    raw: dict[int, bytes] = field(default_factory=dict)
    vanished: dict[int, int] = field(default_factory=dict)
    modseq: int = 1
    gone: bool = False

    def folder(self, subscribed: bool) -> Folder:
        rows = list(self.messages.values())
        unseen = sum(Flag.SEEN not in row.flags for row in rows)
        deleted = sum(Flag.DELETED in row.flags for row in rows)
        size = sum(row.size for row in rows)
        return Folder(
            self.id, self.name, self.uidvalidity, self.uidnext, self.modseq, len(rows), unseen, deleted, size,
            self.special_use, subscribed,
        )  # fmt: skip

    def put(self, raw: bytes, flags: Flag, keywords: Sequence[str], date: int) -> Uid:
        uid = Uid(self.uidnext)
        self.uidnext += 1
        self.modseq += 1
        facts = gather(BytesContent(raw))
        self.raw[uid] = raw
        self.messages[uid] = Message(
            uid, flags, tuple(keywords), ModSeq(self.modseq), date, date, len(raw), f"M{uid}", f"T{uid}",
            facts.envelope, facts.bodystructure, facts.body, facts.parts, facts.headers, facts.preview,
            facts.sent_date or 0,
        )  # fmt: skip
        return uid

    def remove(self, uids: Sequence[int]) -> None:
        self.modseq += 1
        for uid in uids:
            del self.messages[uid], self.raw[uid]
            self.vanished[uid] = self.modseq

    def among(self, ranges: UidRanges | None) -> list[int]:
        return [uid for uid in sorted(self.messages) if ranges is None or any(a <= uid <= b for a, b in ranges)]


class MemoryBox:
    """`store.store.Mailbox` over a `Box`."""

    def __init__(self, account: MemoryAccount, box: Box) -> None:
        self._account, self._box = account, box

    @property
    def folder_id(self) -> str:
        return self._box.id

    def _live(self) -> Box:
        if self._box.gone:
            raise NotFoundError("no such folder", code="no-folder")
        return self._box

    async def recent_from(self, uidnext: int, *, take: bool) -> int:
        """Nothing is recent here: the real store's tests tell what is."""
        self._live()
        return MAX_UID

    async def snapshot(self, *, take_recent: bool = False) -> Snapshot:
        box = self._live()
        rows = [box.messages[uid] for uid in sorted(box.messages)]
        unseen = next((number for number, row in enumerate(rows, 1) if Flag.SEEN not in row.flags), 0)
        keywords = tuple(sorted({word for row in rows for word in row.keywords}))
        folder = box.folder(True)
        return Snapshot(folder, box.uidvalidity, box.uidnext, box.modseq, len(rows), unseen, keywords)

    async def uids(self, snapshot: Snapshot) -> Sequence[int]:
        gone = [uid for uid, modseq in self._box.vanished.items() if modseq > snapshot.modseq]
        return sorted(uid for uid in [*self._box.messages, *gone] if uid < snapshot.uidnext)

    async def rows(
        self, ranges: UidRanges, columns: Column, *, blank: bool = False
    ) -> AsyncIterator[Sequence[Message]]:
        for uid in self._live().among(ranges):
            if uid in self._box.messages:
                yield [only(self._box.messages[uid], columns)]

    async def tables(self, ranges: UidRanges, fields: tuple[str, ...]) -> AsyncIterator[Table]:
        async for rows in self.rows(ranges, columns_of(fields)):
            if rows:
                yield table_of(rows, fields)

    async def stretch(self, first: int, last: int) -> Stretch:
        box = self._live()
        return stretch_of([box.messages[uid] for uid in box.among([(first, last)])])

    async def small(self, uids: Sequence[int]) -> Sequence[bytes]:
        return ()  # each is opened alone

    async def open(self, uid: Uid) -> MemoryFile:
        if uid not in self._live().raw:
            raise NotFoundError("a message is gone", code="no-message")
        return MemoryFile(self._box.raw[uid], [])

    async def changes(self, since: int, uidnext: int) -> Changes:
        box = self._box
        if box.gone:
            return Changes(box.modseq, box.uidnext, gone=True)
        rows = tuple(only(row, Column.NONE) for row in box.messages.values() if row.modseq > since)
        vanished = tuple(Uid(uid) for uid, modseq in sorted(box.vanished.items()) if modseq > since and uid < uidnext)
        return Changes(box.modseq, box.uidnext, rows, vanished)

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
        box = self._live()
        asked = box.among(ranges)
        failed = [u for u in asked if unchanged_since is not None and box.messages[u].modseq > unchanged_since]
        unseen = tuple(Uid(u) for u in asked if seen is not None and box.messages[u].modseq > seen)
        box.modseq += 1
        changed = [uid for uid in asked if uid not in failed]
        rows = [self._flag(uid, add, remove, replace, add_keywords, remove_keywords) for uid in changed]
        self._account.publish(box)
        return FlagsChanged(tuple(only(row, Column.NONE) for row in rows), tuple(Uid(uid) for uid in failed), unseen)

    def _flag(
        self, uid: int, add: Flag, remove: Flag, exact: bool, add_words: Sequence[str], remove_words: Sequence[str]
    ) -> Message:
        row = self._box.messages[uid]
        flags = add if exact else row.flags & ~remove | add
        kept = [] if exact else [word for word in row.keywords if word not in remove_words]
        words = tuple(dict.fromkeys([*kept, *add_words]))
        if (flags, words) != (row.flags, row.keywords):
            row = row._replace(flags=flags, keywords=words, modseq=ModSeq(self._box.modseq))
            self._box.messages[uid] = row
        return row

    async def touch(self) -> None:
        self._live().modseq += 1
        self._account.publish(self._box)

    async def expunge(self, ranges: UidRanges | None, *, only_deleted: bool = True) -> Changes:
        box, since = self._live(), self._box.modseq
        gone = [u for u in box.among(ranges) if not only_deleted or Flag.DELETED in box.messages[u].flags]
        if gone:
            box.remove(gone)
            self._account.publish(box)
        return await self.changes(since, box.uidnext)

    async def copy(self, ranges: UidRanges, target: str) -> Copied:
        return self._copy(ranges, target, remove=False)

    async def move(self, ranges: UidRanges, target: str) -> Copied:
        return self._copy(ranges, target, remove=True)

    def _copy(self, ranges: UidRanges, target: str, *, remove: bool) -> Copied:
        source, into = self._live(), self._account.box(target)
        pairs = []
        for uid in source.among(ranges):
            row = source.messages[uid]
            pairs.append((Uid(uid), into.put(source.raw[uid], row.flags, row.keywords, row.internal_date)))
        if remove:
            source.remove([uid for uid, _ in pairs])
            self._account.publish(source)
        self._account.publish(into)
        return Copied(into.uidvalidity, tuple(pairs))

    async def replace(self, uid: Uid, content: Content, placement: Placement) -> Appended:
        source = self._live()
        if uid not in source.messages:
            raise NotFoundError("a message is gone", code="no-message")
        (appended,) = await self._account.append([(content, placement)])
        source.remove([uid])
        self._account.publish(source)
        return appended

    async def sort(self, uids: Sequence[int], criteria: Sequence[SortCriterion]) -> Sequence[int]:
        return ordering.ordered(self._live().messages, self._box.raw, uids, criteria)

    async def threads(self, uids: Sequence[int], algorithm: ThreadAlgorithm) -> Sequence[ThreadNode]:
        return ordering.threaded(self._live().messages, self._box.raw, uids, algorithm)

    async def similar_words(self, word: str, most: int) -> Sequence[tuple[str, float]]:
        return alike(word, vocabulary(self._live().raw.values()), most)

    async def search_field(self, ranges: UidRanges, field: str, pattern: str) -> Sequence[int]:
        return ordering.holding(self._box.raw, self._box.among(ranges), field, pattern)

    async def search_text(self, ranges: UidRanges, pattern: str, *, body_only: bool) -> Sequence[int]:
        box = self._live()
        contents = {uid: BytesContent(box.raw[uid]) for uid in box.among(ranges)}
        return [uid for uid, raw in contents.items() if text.contains(raw, pattern, body_only=body_only)]


class MemoryAccount:
    """`store.store.AccountStore`. `deliver` is what another process would do."""

    def __init__(self, ref: AccountRef) -> None:
        self.ref = ref
        self.boxes: dict[str, Box] = {}
        self.subscribed = set(STANDARD)
        self._ids = count(1)
        self._listeners: list[Callable[[Hint], None]] = []
        self.appended_together: list[int] = []  # commands at once
        for name, use in STANDARD.items():
            self._make(name, use)

    def _make(self, name: str, use: str = "") -> Box:
        number = next(self._ids)
        prefix = "" if self.ref.local == "alice" else f"{self.ref.local}-"
        self.boxes[name] = box = Box(f"{prefix}f{number}", name, 1000 + number, use)
        return box

    def box(self, name: str) -> Box:
        if name not in self.boxes:
            raise NotFoundError("no such folder", code="no-folder")
        return self.boxes[name]

    def publish(self, box: Box) -> None:
        for listener in list(self._listeners):
            listener(Hint(self.ref.id, box.id, box.modseq))

    def deliver(self, raw: bytes, folder: str = INBOX, flags: Flag = NO_FLAGS, *keywords: str) -> Uid:
        box = self.box(folder)
        uid = box.put(raw, flags, keywords, 1_790_000_000)
        self.publish(box)
        return uid

    async def folders(self) -> Sequence[Folder]:
        names = [INBOX, *sorted(name for name in self.boxes if name != INBOX)]
        return [self.boxes[name].folder(name in self.subscribed) for name in names]

    async def folder(self, name: str) -> Folder | None:
        box = self.boxes.get(name)
        return box.folder(name in self.subscribed) if box else None

    async def recent(self, folders: Sequence[Folder]) -> Sequence[int]:
        return [0] * len(folders)

    async def mailbox(self, name: str) -> MemoryBox:
        return MemoryBox(self, self.box(name))

    async def glance(self, name: str, *, take_recent: bool = False) -> Snapshot | None:
        return await MemoryBox(self, self.boxes[name]).snapshot(take_recent=take_recent) if name in self.boxes else None

    def opened(self, folder: Folder) -> MemoryBox:
        return MemoryBox(self, self.box(folder.name))

    async def create(self, name: str, *, special_use: str = "", subscribed: bool = True) -> Folder:
        if name in self.boxes:
            raise ConflictError("folder exists", code="folder-exists")
        _check(name)
        levels = name.split("/")
        for depth in range(1, len(levels)):
            above = "/".join(levels[:depth])
            if above not in self.boxes:
                self._make(above)
                self.subscribed |= {above} if subscribed else set()
        self.subscribed |= {name} if subscribed else set()
        box = self._make(name, special_use)
        self.publish(box)
        return box.folder(name in self.subscribed)

    async def rename(self, old: str, new: str) -> None:
        if new in self.boxes:
            raise ConflictError("folder exists", code="folder-exists")
        _check(new)
        if old == INBOX:
            await self.create(new)
            await MemoryBox(self, self.boxes[INBOX]).move([(1, 2**32)], new)
            return
        self.box(old)
        for name in [name for name in self.boxes if name == old or name.startswith(old + "/")]:
            box = self.boxes.pop(name)
            box.name = new + name[len(old) :]
            self.boxes[box.name] = box
            if name in self.subscribed:
                self.subscribed = self.subscribed - {name} | {box.name}
            self.publish(box)

    async def delete(self, name: str) -> None:
        box = self.box(name)
        box.gone = True
        del self.boxes[name]
        self.publish(box)

    async def subscribe(self, name: str, subscribed: bool) -> None:
        if subscribed:
            self.box(name)
            self.subscribed.add(name)
        else:
            self.subscribed.discard(name)
        if name in self.boxes:
            self.publish(self.boxes[name])

    async def subscriptions(self) -> Sequence[str]:
        return sorted(self.subscribed)

    async def append(self, items: Sequence[tuple[Content, Placement]]) -> Sequence[Appended]:
        done = []
        for content, placement in items:
            box = self.box(placement.folder)
            used = (await self.usage())[0]
            if self.ref.quota and used + content.size > self.ref.quota:
                raise QuotaError("mailbox is full")
            date = placement.internal_date
            raw = content.read(0, content.size)
            uid = box.put(raw, placement.flags, placement.keywords, 1_790_000_000 if date is None else int(date))
            done.append(Appended(box.id, box.uidvalidity, uid, ModSeq(box.modseq)))
            self.publish(box)
        return done

    async def append_each(
        self, commands: Sequence[Sequence[tuple[Content, Placement]]]
    ) -> Sequence[Sequence[Appended] | MailError]:
        self.appended_together.append(len(commands))
        outcomes: list[Sequence[Appended] | MailError] = []
        for items in commands:
            try:
                outcomes.append(await self.append(items))
            except MailError as error:
                outcomes.append(error)
        return outcomes

    async def organisation_usage(self) -> int:
        return 0

    async def usage(self) -> tuple[int, int]:
        rows = [row for box in self.boxes.values() for row in box.messages.values()]
        return sum(row.size for row in rows), len(rows)

    def listen(self, callback: Callable[[Hint], None]) -> Callable[[], None]:
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    @property
    def listeners(self) -> int:
        return len(self._listeners)


def _check(name: str) -> None:
    if any(level in ("", ".", "..") for level in name.split("/")):
        raise InvalidError("folder name is not allowed", code="invalid-name")


class MemorySpool:
    def __init__(self, limit: int) -> None:
        self._limit, self._data = limit, bytearray()
        self.closed = False

    @property
    def size(self) -> int:
        return len(self._data)

    async def write(self, block: bytes) -> None:
        if len(self._data) + len(block) > self._limit:
            raise InvalidError("message is too large", code="too-large")
        self._data += block

    def content(self) -> Content:
        return BytesContent(bytes(self._data))

    async def close(self) -> None:
        self.closed = True


class MemoryStore:
    """The parts of `store.store.Store` that IMAP uses."""

    def __init__(self) -> None:
        self.accounts: dict[str, MemoryAccount] = {}
        self.spools: list[MemorySpool] = []

    def opens_alone(self, ref: AccountRef) -> bool:
        return ref.id not in self.accounts

    async def account(self, ref: AccountRef) -> MemoryAccount:
        return self.accounts.setdefault(ref.id, MemoryAccount(ref))

    def spool(self, *, limit: int, declared: int = 0) -> MemorySpool:
        spool = MemorySpool(limit)
        self.spools.append(spool)
        return spool
