"""One folder as a session sees it, by its id. Short reads run on the event loop, everything else through the writer.

Longer than its neighbours: it is the whole face of a mailbox (`store.store.Mailbox`), and each method says only where
its work is done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple, TypeVar

from core.errors import NotFoundError, StorageError, UnreadableError
from message.content import Content
from store import (
    catalog,
    copy,
    expunge,
    field_search,
    flags,
    journal,
    newcomers,
    outside,
    records,
    replace,
    small,
    sort,
    stretches,
    thread,
    unreadable,
    unscanned,
)
from store.accounts import Accounts
from store.batch import TRIES
from store.catalog import FolderRow
from store.catching_up import catch_up
from store.delivery import discarded, stage_appended
from store.ending import ended
from store.entry import Entry
from store.faults import of_message, translated, whole
from store.files import OpenFile, with_other_letters
from store.flags import FlagChange
from store.handle import Handle
from store.index import Connection
from store.rows import Rows
from store.scan import scan_folder
from store.schema import UID_MASK, key
from store.search import alike, lookup, scan
from store.store import MessageFile, UidRanges
from store.transaction import Transaction
from store.trust import Trust
from store.types import (
    NO_FLAGS,
    AccountRef,
    Appended,
    Changes,
    Column,
    Copied,
    Flag,
    FlagsChanged,
    Message,
    Placement,
    Snapshot,
    SortCriterion,
    Stretch,
    Table,
    ThreadAlgorithm,
    ThreadNode,
    Uid,
)

T = TypeVar("T")
EVERY = ((1, UID_MASK),)
_PART, _SOME = 8, 1000
AT_HAND = 4000  # rows of a few numbers read on the loop: some 4 ms


class FolderView:
    """Implements `store.store.Mailbox`."""

    __slots__ = ("_accounts", "_id", "_pool", "_ref")

    def __init__(self, accounts: Accounts, ref: AccountRef, folder_id: str, pool: Executor) -> None:
        self._accounts, self._ref, self._id, self._pool = accounts, ref, folder_id, pool

    @property
    def folder_id(self) -> str:
        return self._id

    async def _read(self, ask: Callable[[Connection, FolderRow], T]) -> T:
        return await self._accounts.read_folder(self._ref, self._id, ask)

    def _row(self, handle: Handle) -> FolderRow:
        return catalog.known(handle.reader, self._id)

    async def _entry(self) -> Entry:
        return await self._accounts.use(self._ref)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def snapshot(self, *, take_recent: bool = False) -> Snapshot:
        """What somebody else did to the files is found first: the row that is read for the answer tells (`outside`).
        Nearly always nobody did anything, and one look is enough."""
        told = await self._glanced(take_recent=take_recent)
        return await self._judged(take_recent=take_recent) if told is None else told

    async def _glanced(self, *, take_recent: bool) -> Snapshot | None:
        return await self._accounts.read(
            self._ref, lambda handle: glanced(handle, self._row(handle), take_recent=take_recent)
        )

    async def _judged(self, *, take_recent: bool) -> Snapshot:
        entry = await self._entry()
        changed = outside.found(entry.handle, self._id)

        def ask(handle: Handle) -> Snapshot | None:
            row = self._row(handle)
            if outside.differs(row, changed):
                return None
            return _snapshot(handle, row, take_recent=take_recent)

        while (told := await self._accounts.read(self._ref, ask)) is None:
            await entry.writer.submit(lambda transaction: outside.examine(transaction, self._id))
            entry, changed = await self._entry(), None  # once
        return told

    async def recent_from(self, uidnext: int, *, take: bool) -> int:
        def ask(handle: Handle) -> int:
            return _recent_from(handle, self._row(handle), uidnext, take=take)

        return await self._accounts.read(self._ref, ask)

    async def uids(self, snapshot: Snapshot) -> Sequence[int]:
        def ask(db: Connection, row: FolderRow) -> Sequence[int]:
            present = records.uids_below(db, row, snapshot.uidnext)
            gone = records.vanished_since(db, row, snapshot.modseq, snapshot.uidnext)
            return sorted({*present, *gone}) if gone else present

        return await self._read_by_size(records.gaps_to_read, ask)

    def rows(self, ranges: UidRanges, columns: Column, *, blank: bool = False) -> AsyncIterator[Sequence[Message]]:
        read = partial(records.batch, columns=columns)
        return Rows(self._accounts, self._ref, self._id, columns, read, blank=blank).batches(ranges)

    async def tables(self, ranges: UidRanges, fields: tuple[str, ...]) -> AsyncIterator[Table]:
        columns, read = records.columns_of(fields), partial(records.narrow, names=fields)
        async for batch in Rows(self._accounts, self._ref, self._id, columns, read).batches(ranges):
            yield records.table(batch, fields)

    async def stretch(self, first: int, last: int) -> Stretch:
        return await self._read(partial(stretches.read, first=first, last=last))

    async def open(self, uid: Uid) -> MessageFile:
        """ENOENT > re-read the row > scan the folder > report (design.md section 5)."""
        for attempt in range(3):
            name, directory = await self._read(lambda db, row: (_name(db, row, uid), row.directory))
            entry = await self._entry()  # after the last suspension: it may be closed over one
            try:
                with of_message(partial(entry.handle.tell_unread, name)):
                    return self._open_named(entry.handle, directory, name)
            except StorageError as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise
            if attempt == 1:
                try:
                    await entry.writer.submit(lambda transaction: scan_folder(transaction, self._id, Trust.WHOLE))
                except StorageError:
                    if (other := await self._renamed(directory, name)) is None:
                        raise
                    entry = await self._entry()
                    with of_message(partial(entry.handle.tell_unread, other)):
                        return self._open_named(entry.handle, directory, other)
        raise NotFoundError("the message is gone", code="no-message")

    async def _renamed(self, directory: str, name: str) -> str | None:
        """Where a look at the folder cannot be kept: a disk that became full or read-only in the middle of a flush left
        letters in names that the index does not know, and could not take them back."""
        fs = (handle := (await self._entry()).handle).fs
        with translated():
            own = fs.duplicate(handle.read_cur(self._id, directory))
            try:
                looking = asyncio.get_running_loop().run_in_executor(self._pool, with_other_letters, fs, own, name)
                return await ended(looking)
            finally:
                fs.close(own)

    def _open_named(self, handle: Handle, directory: str, name: str) -> OpenFile:
        fs = handle.fs
        fd = fs.open_to_read(handle.read_cur(self._id, directory), name)
        status = fs.status(fd)
        if not fs.is_plain(status) or status.st_uid != handle.owner:
            fs.close(fd)
            raise UnreadableError("the message cannot be read", code="storage-odd-file")
        return OpenFile(fs, fd, status.st_size, self._pool, partial(handle.tell_unread, name))

    async def small(self, uids: Sequence[int]) -> Sequence[bytes]:
        directory, names = await self._read(partial(small.names, uids=uids))
        handle = (await self._entry()).handle  # after the last suspension, as above
        try:
            cur = handle.read_cur(self._id, directory)
        except OSError:  # `open` tells what is wrong
            return ()
        found, complete = small.at_once(small.texts(handle.fs, cur, handle.owner, names), handle.tools.clock)
        return found if complete else found + await self._small_rest(handle, cur, names[len(found) :])

    async def _small_rest(self, handle: Handle, cur: int, names: Sequence[str]) -> list[bytes]:
        """In a thread: the disk has to be waited for."""
        try:
            own = handle.fs.duplicate(cur)
        except OSError:  # as above
            return []
        try:
            reading = small.texts(handle.fs, own, handle.owner, names)
            return await ended(asyncio.get_running_loop().run_in_executor(self._pool, list, reading))
        finally:
            handle.fs.close(own)

    async def changes(self, since: int, uidnext: int) -> Changes:
        def ask(db: Connection, row: FolderRow) -> Changes:
            if since >= row.modseq:
                return Changes(row.modseq, row.uidnext)
            messages = tuple(records.changed_since(db, row, since))
            return Changes(row.modseq, row.uidnext, messages, records.vanished_since(db, row, since, uidnext))

        try:
            return await self._read_by_size(partial(records.changes_to_read, modseq=since), ask)
        except NotFoundError:
            return Changes(since, uidnext, gone=True)

    async def _read_by_size(
        self, size: Callable[[Connection, FolderRow], int], ask: Callable[[Connection, FolderRow], T]
    ) -> T:
        """On the loop when few rows are to be read, as `size` tells; many in a worker thread."""

        def at_hand(db: Connection, row: FolderRow) -> tuple[T] | None:
            return (ask(db, row),) if size(db, row) <= AT_HAND else None

        found = await self._read(at_hand)
        return await self._read_long(ask) if found is None else found[0]

    async def _read_long(self, ask: Callable[[Connection, FolderRow], T]) -> T:
        """In a worker thread, with a connection of its own: the loop does not wait for it."""

        def work(handle: Handle) -> T:
            with whole(), contextlib.closing(handle.index.another()) as db, db.reading():
                return ask(db, catalog.known(db, self._id))

        return await self._in_thread(work)

    async def _read_scanned(self, ranges: UidRanges, ask: Callable[[Connection, FolderRow], T]) -> T:
        """The same of messages in `ranges` that are known by more than their names, which may take a while."""
        spans = [(first, min(last, UID_MASK)) for first, last in ranges]
        looked = self._read if len(spans) <= unscanned.FEW else self._read_long

        async def unread(most: int) -> Sequence[int]:
            return await looked(partial(unscanned.among, spans=spans, most=most))

        def answer(db: Connection, row: FolderRow) -> tuple[T] | None:
            return None if unscanned.among(db, row, spans, 1) else (ask(db, row),)

        while True:
            await catch_up(self._accounts, self._ref, self._id, unread)
            found = await self._read_long(answer)
            if found is not None:  # None: the index was made again in between
                return found[0]

    async def _recent(
        self,
        about: tuple[Hashable, ...],
        uids: Sequence[int],
        ask: Callable[[Connection, FolderRow], T],
        *,
        by_names: bool = False,
    ) -> T:
        """Found long ago, or now. Nobody changes the answer. `by_names`: file names tell it."""
        question, recent = (self._id, *about), self._accounts.recent
        now = await self._read(_stamp)
        known: T | None = recent.find(question, uids, now)
        if known is not None:
            return known

        def asked(db: Connection, row: FolderRow) -> tuple[T, _Stamp]:
            return ask(db, row), _stamp(db, row)

        answer, stamp = await (
            self._read_long(asked) if by_names else self._read_scanned(_spans(uids, now.messages), asked)
        )
        recent.keep(question, uids, stamp, answer)
        return answer

    async def sort(self, uids: Sequence[int], criteria: Sequence[SortCriterion]) -> Sequence[int]:
        return await self._recent(
            tuple(criteria),
            uids,
            lambda db, row: sort.ordered(db, row, uids, criteria),
            by_names=all(each.key in sort.BY_NAMES for each in criteria),
        )

    async def threads(self, uids: Sequence[int], algorithm: ThreadAlgorithm) -> Sequence[ThreadNode]:
        return await self._recent((algorithm,), uids, lambda db, row: thread.threads(db, row, uids, algorithm))

    async def search_field(self, ranges: UidRanges, field: str, pattern: str) -> Sequence[int]:
        fold_accents = (await self._entry()).handle.tools.fold_accents
        return await self._read_scanned(
            ranges, lambda db, row: field_search.containing(db, row, ranges, field, pattern, fold_accents=fold_accents)
        )

    async def search_text(self, ranges: UidRanges, pattern: str, *, body_only: bool) -> Sequence[int]:
        question = scan.Question(pattern, body_only, (await self._entry()).handle.tools.fold_accents)
        found = await self._in_thread(lambda handle: lookup.find(handle, self._id, ranges, question))
        matched = list(found.sure)
        for start in range(0, len(found.candidates), scan.TOGETHER):
            matched += await self._looked_through(found.candidates[start : start + scan.TOGETHER], question)
        return sorted(matched)

    async def similar_words(self, word: str, most: int) -> Sequence[tuple[str, float]]:
        return await self._in_thread(lambda handle: alike.similar(handle, word, most))

    async def _looked_through(self, uids: Sequence[int], question: scan.Question) -> Sequence[int]:
        """Names change behind our back (flag letters): a file that is missing is looked for under its new one. The
        index tells that only when the writer is done, so after the first look we wait for our turn to write."""
        matched: list[int] = []
        for attempt in range(3):
            directory, names = await self._read(partial(_names, uids=uids))
            look = partial(scan.matching, directory=directory, candidates=names, question=question)
            some, uids = await self._in_thread(look)
            matched += some
            if not uids:
                break
            entry = await self._entry()
            if attempt == 0:
                await entry.writer.submit(_nothing)
            elif attempt == 1:
                await entry.writer.submit(lambda transaction: scan_folder(transaction, self._id, Trust.WHOLE))
        return matched

    async def _in_thread(self, work: Callable[[Handle], T]) -> T:
        """Again where the index was just being replaced, or deleted, when it was opened by its name."""
        for tries in range(1, TRIES + 1):
            entry = await self._entry()
            with entry.handle.pinned():
                try:
                    return await ended(
                        asyncio.get_running_loop().run_in_executor(self._accounts.long_reads, work, entry.handle)
                    )
                except StorageError:
                    if tries == TRIES or entry.handle.is_current():
                        raise
        raise AssertionError("the last try answers")

    # -- changing ------------------------------------------------------------------------------------------------------

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
        change = FlagChange(add, remove, replace, tuple(add_keywords), tuple(remove_keywords), unchanged_since, seen)
        entry = await self._entry()
        return await entry.writer.submit(lambda transaction: flags.store(transaction, self._id, ranges, change))

    async def expunge(self, ranges: UidRanges | None, *, only_deleted: bool = True) -> Changes:
        entry = await self._entry()
        return await entry.writer.submit(
            lambda transaction: expunge.expunge(transaction, self._id, ranges, only_deleted)
        )

    async def copy(self, ranges: UidRanges, target: str) -> Copied:
        room = await self._accounts.sums.room(self._ref)
        entry = await self._entry()
        return await entry.writer.submit(lambda transaction: copy.copy(transaction, self._id, ranges, target, room))

    async def move(self, ranges: UidRanges, target: str) -> Copied:
        entry = await self._entry()
        return await entry.writer.submit(lambda transaction: copy.move(transaction, self._id, ranges, target))

    async def replace(self, uid: Uid, content: Content, placement: Placement) -> Appended:
        await self._read(lambda db, row: _name(db, row, uid))  # NotFoundError before anything is written
        room = await self._accounts.sums.room(self._ref)
        entry = await self._entry()
        with entry.handle.pinned():
            file = await stage_appended(self._pool, entry, content, placement)
            try:
                return await entry.writer.submit(
                    lambda transaction: replace.replace(transaction, self._id, uid, file, placement, room)
                )
            finally:
                await discarded(self._pool, entry.handle.tools, [file])

    async def touch(self) -> None:
        entry = await self._entry()
        await entry.writer.submit(lambda transaction: _touch(transaction, self._id))


def _touch(transaction: Transaction, folder_id: str) -> None:
    transaction.next_modseq(transaction.folder(folder_id))


def _recent_from(handle: Handle, row: FolderRow, uidnext: int, *, take: bool) -> int:
    fs, root = handle.fs, handle.root
    first = newcomers.peek(fs, root, row)
    if first == newcomers.FIRST:  # no file tells anything else, either
        newcomers.ensure(fs, root, handle.reader)
        first = newcomers.peek(fs, root, row)
    return newcomers.take(fs, root, row, uidnext) if take and first < uidnext else first


def glanced(handle: Handle, row: FolderRow, *, take_recent: bool) -> Snapshot | None:
    """None: somebody may have changed the files of this folder, which was read just now."""
    return _snapshot(handle, row, take_recent=take_recent) if outside.untouched(handle, row) else None


def _snapshot(handle: Handle, row: FolderRow, *, take_recent: bool) -> Snapshot:
    db, recent_from = handle.reader, _recent_from(handle, row, row.uidnext, take=take_recent)
    return Snapshot(
        folder=row.value(),
        uidvalidity=row.uidvalidity,
        uidnext=row.uidnext,
        modseq=row.modseq,
        messages=row.messages,
        first_unseen=records.first_unseen(db, row) if row.unseen else 0,
        keywords=row.keywords,
        recent_from=recent_from,
        recent=records.recent(db, row, recent_from),
    )


class _Stamp(NamedTuple):
    """Another one: messages may have come or gone, or be readable again, or a UID may stand for another message."""

    uidnext: int
    messages: int
    life: str
    unreadable: tuple[object, ...]


def _stamp(db: Connection, row: FolderRow) -> _Stamp:
    return _Stamp(row.uidnext, row.messages, db.value("SELECT life FROM state"), unreadable.stamp(db, row))


def _spans(uids: Sequence[int], messages: int) -> Sequence[tuple[int, int]]:
    """Very many of a folder's are not strung together: that would keep the loop (promise P7)."""
    return journal.ranges(uids) if len(uids) <= max(_SOME, messages // _PART) else EVERY


def _nothing(_transaction: Transaction) -> None:
    """To be told when whoever writes now is done."""


def _names(db: Connection, row: FolderRow, uids: Sequence[int]) -> tuple[str, list[tuple[int, str]]]:
    return row.directory, [(uid, _name(db, row, uid, required=False)) for uid in uids]


def _name(db: Connection, row: FolderRow, uid: int, *, required: bool = True) -> str:
    """The file's name; a message just expunged still has one until its file is unlinked."""
    row_key = key(row.number, uid)
    name = db.value("SELECT name FROM messages WHERE key = ?", (row_key,))
    name = name or db.value("SELECT name FROM doomed WHERE key = ?", (row_key,))
    if name is None and required:
        raise NotFoundError("no such message", code="no-message")
    return str(name or "")
