"""The messages of a folder that somebody asked for, in bounded batches, whatever the index knows of them so far.

What is not read yet is read for him (`store.catching_up`), a thread that has to wait for that is found
(`store.joining`), what could not be read is tried again, or left out and told at the end (`store.unreadable`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Generic, TypeVar

from core.errors import UnreadableError
from core.errors import unreadable as unreadable_text
from store import joining, records, unreadable, unscanned
from store.accounts import Accounts
from store.catalog import FolderRow
from store.catching_up import Ahead
from store.index import Connection, Row
from store.pieces import Which
from store.schema import UID_MASK
from store.store import UidRanges
from store.types import AccountRef, Column

T = TypeVar("T")
R = TypeVar("R", bound=Row)  # of a message, its UID first
Reader = Callable[[Connection, FolderRow, Which], list[R]]  # what the index tells of some
_NONE: frozenset[int] = frozenset()
ASKED_AGAIN = 30.0  # seconds after which a file that could not be read is tried again for who asks for it


class Rows(Generic[R]):
    """For one question, which `batches` answers: `store.store.Mailbox.rows`. `read` brings `columns`."""

    __slots__ = ("_accounts", "_ahead", "_blank", "_columns", "_id", "_passed", "_read_rows", "_ref")

    def __init__(
        self,
        accounts: Accounts,
        ref: AccountRef,
        folder_id: str,
        columns: Column,
        read: Reader[R],
        *,
        blank: bool = False,
    ) -> None:
        self._accounts, self._ref, self._id = accounts, ref, folder_id
        self._columns, self._read_rows, self._blank = columns, read, blank
        self._ahead = Ahead(accounts, ref, folder_id)
        self._passed = 0

    async def batches(self, ranges: UidRanges) -> AsyncIterator[Sequence[R]]:
        try:
            for run in _runs(ranges):
                together = partial(_fragments, run=run, columns=self._columns, read=self._read_rows)
                rows = await self._read(together) if len(run) > 1 else None
                if rows is None:
                    for first, last in run:
                        async for batch in self._range(first, min(last, UID_MASK)):
                            yield batch
                    continue
                if rows:
                    yield rows
                await asyncio.sleep(0)
        finally:
            await self._ahead.close()
        if self._passed:
            raise UnreadableError(unreadable_text(self._passed), messages=self._passed)

    async def _range(self, start: int, last: int) -> AsyncIterator[Sequence[R]]:
        while start <= last:
            span = partial(_batch, first=start, last=last, columns=self._columns, read=self._read_rows)
            batch, unread, odd = await self._read(span)
            if batch:
                if await self._known_now(batch, odd):
                    continue
                if told := self._told(batch, odd):
                    yield told
                start = batch[-1][0] + 1
            if len(batch) < records.BATCH:
                if not unread:
                    if not batch:  # nobody else gives the loop a turn, and there may be many such ranges
                        await asyncio.sleep(0)
                    return
                await self._ahead.read(unread, last)
            await asyncio.sleep(0)

    async def _known_now(self, batch: Sequence[R], odd: Collection[int]) -> bool:
        """Whether more was found out about some of them, so that they are to be asked for again."""
        if self._columns & Column.IDS and await self._joined(batch[0][0], batch[-1][0]):
            return True
        return bool(odd) and not self._blank and await self._tried_again(odd)

    def _told(self, batch: Sequence[R], odd: Collection[int]) -> Sequence[R]:
        if not odd or self._blank:
            return batch
        self._passed += len(odd)
        return [row for row in batch if row[0] not in odd]

    async def _joined(self, first: int, last: int) -> bool:
        """Whether any of them had to wait for its thread: it has it now, for all messages of the account are read."""
        if not await self._read(partial(joining.within, first=first, last=last)):
            return False
        await self._accounts.imports.over(self._ref)
        place: unscanned.Place | None = unscanned.START
        while place is not None:  # the account may be opened again in between
            entry = await self._accounts.use(self._ref)
            place = await entry.writer.submit(partial(unscanned.scan_behind, place=place))
        while await (await self._accounts.use(self._ref)).writer.submit(joining.join):
            pass
        return True

    async def _tried_again(self, uids: Collection[int]) -> bool:
        """Messages that could not be read, for somebody who wants what they hold; False: that was done just now.
        A disk that gives some again, as one that was mounted anew, is asked for the next ones, too, and for all behind.
        """
        handle = (await self._accounts.use(self._ref)).handle
        now = asyncio.get_running_loop().time()
        if now < handle.try_asked:
            return False
        handle.try_asked = now + ASKED_AGAIN
        left = deque(sorted(uids))
        while left:
            some = [left.popleft() for _ in range(min(len(left), unscanned.TURN))]
            entry = await self._accounts.use(self._ref)
            if not await entry.writer.submit(partial(unscanned.try_again, folder_id=self._id, uids=some)):
                return True
            entry.handle.try_behind = 0.0
        handle.try_asked = 0.0
        return True

    async def _read(self, ask: Callable[[Connection, FolderRow], T]) -> T:
        return await self._accounts.read_folder(self._ref, self._id, ask)


def _runs(ranges: UidRanges) -> Iterator[UidRanges]:
    """Ranges that follow each other, of at most `records.BATCH` UIDs together; a longer one is alone."""
    run, size = list[tuple[int, int]](), 0
    for low, high in ranges:
        if run and size + high - low >= records.BATCH:
            yield run
            run, size = [], 0
        run.append((low, high))
        size += high - low + 1
    if run:
        yield run


def _fragments(db: Connection, row: FolderRow, run: UidRanges, columns: Column, read: Reader[R]) -> list[R] | None:
    """All messages of a run at once. None: not all that is asked of them may be known, and each range is for itself."""
    first, last = run[0][0], min(run[-1][1], UID_MASK)
    if columns & unscanned.COLUMNS and (
        unscanned.first(db, row, first, last) or unreadable.among(db, row, first, last)
    ):
        return None
    if columns & Column.IDS and joining.within(db, row, first, last):
        return None
    uids = chain.from_iterable(range(low, min(high, UID_MASK) + 1) for low, high in run)
    return read(db, row, records.among(row, uids))


def _batch(
    db: Connection, row: FolderRow, first: int, last: int, columns: Column, read: Reader[R]
) -> tuple[list[R], int, frozenset[int]]:
    """The next messages, the UID of the one whose file must be read before any further can be told (0: none), and the
    UIDs of those that could not be read."""
    if not columns & unscanned.COLUMNS:
        return read(db, row, records.between(row, first, last)), 0, _NONE
    unread = unscanned.first(db, row, first, last)
    found = read(db, row, records.between(row, first, unread - 1 if unread else last))
    odd = unreadable.among(db, row, found[0][0], found[-1][0]) if found else ()
    return found, unread, frozenset(odd) if odd else _NONE
