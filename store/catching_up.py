"""Messages that are not read yet, read for somebody who waits for them (`store.unscanned`): a few by us alone. Where
many are left, other processes read and scan, and we write what they tell; they are started for the wait and end with
it. Measured: nine tenths of the time are theirs, and what they tell costs us 17 µs a message.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from functools import partial

from store import catalog, unscanned
from store.accounts import Accounts
from store.handle import Handle, open_cur
from store.readers import TOGETHER, Answer, Readers
from store.records import Prepared
from store.schema import key
from store.types import AccountRef

CHUNK = 4000  # messages asked for at once: some 4 ms on the loop
WORTH = 10_000  # messages of a folder that are left: a start of processes takes as long as reading 2,000
SOON = 1000  # messages that are read before the first of them is told: a second by one core
WRITTEN = 4  # errands in one transaction, some 10 ms

Unread = Callable[[int], Awaitable[Sequence[int]]]
_Errand = Sequence[tuple[int, str]]  # UIDs and names of files


async def catch_up(accounts: Accounts, ref: AccountRef, folder_id: str, unread: Unread) -> None:
    """Until `unread`, asked for at most so many UIDs of the folder, answers none. Raises StorageError."""
    async with contextlib.AsyncExitStack() as stack:
        helpers: Readers | None = None
        while missing := await unread(CHUNK):
            if await accounts.imports.over(ref):
                continue
            if helpers is None and len(missing) == CHUNK and await _left(accounts, ref, folder_id) >= WORTH:
                helpers = await stack.enter_async_context(accounts.helpers())
            if helpers is None:
                await _alone(accounts, ref, folder_id, missing)
            else:
                await _together(accounts, ref, folder_id, missing, helpers)


class Ahead:
    """The same for who is told one message after the other: a few more are read than he waits for just now."""

    def __init__(self, accounts: Accounts, ref: AccountRef, folder_id: str) -> None:
        self._accounts, self._ref, self._id = accounts, ref, folder_id
        self._helpers: Readers | None = None
        self._stack: contextlib.AsyncExitStack | None = None  # once it was looked how many are left

    async def read(self, first: int, last: int) -> None:
        """The one with UID `first`, which is not read yet, at least; none past `last`. Raises StorageError."""
        if await self._accounts.imports.over(self._ref):  # it may be read now: who asks looks again
            return
        if self._stack is None:
            self._stack = contextlib.AsyncExitStack()
            if last - first >= WORTH and await _left(self._accounts, self._ref, self._id) >= WORTH:
                self._helpers = await self._stack.enter_async_context(self._accounts.helpers())
        if self._helpers is None:
            entry = await self._accounts.use(self._ref)
            await entry.writer.submit(partial(unscanned.scan, folder_id=self._id, start=first, last=last))
            return
        uids = await self._accounts.read(self._ref, partial(_next, folder_id=self._id, first=first, last=last))
        await _together(self._accounts, self._ref, self._id, uids, self._helpers)

    async def close(self) -> None:
        if self._stack is not None:
            await self._stack.aclose()


def _next(handle: Handle, folder_id: str, first: int, last: int) -> list[int]:
    row = catalog.by_id(handle.reader, folder_id)
    return unscanned.among(handle.reader, row, ((first, last),), SOON) if row is not None else []


async def _left(accounts: Accounts, ref: AccountRef, folder_id: str) -> int:
    def ask(handle: Handle) -> int:
        row = catalog.by_id(handle.reader, folder_id)
        return unscanned.count(handle.reader, row) if row is not None else 0

    return await accounts.read(ref, ask)


async def _alone(accounts: Accounts, ref: AccountRef, folder_id: str, uids: Sequence[int]) -> None:
    for start in range(0, len(uids), unscanned.TURN):
        some = uids[start : start + unscanned.TURN]
        entry = await accounts.use(ref)
        await entry.writer.submit(partial(unscanned.scan_these, folder_id=folder_id, uids=some))


async def _together(accounts: Accounts, ref: AccountRef, folder_id: str, uids: Sequence[int], helpers: Readers) -> None:
    """We read, too, whenever they have nothing for us, from the other end: on a busy machine they may have no turn for
    seconds. So is what they could not read, and what has another name by now."""
    directory, names = await accounts.read(ref, partial(_named, folder_id=folder_id, uids=uids))
    known = [(uid, name) for uid, name in zip(uids, names, strict=True) if name]
    errands: deque[_Errand] = deque(known[start : start + TOGETHER] for start in range(0, len(known), TOGETHER))
    under_way: deque[tuple[_Errand, Future[list[Answer]]]] = deque()
    read: dict[int, tuple[str, Prepared | None]] = {}
    while errands or under_way:
        while errands and len(under_way) <= helpers.processes:
            errand = errands.popleft()
            under_way.append((errand, helpers.begin(directory, [name for _, name in errand])))
        if errands and not under_way[0][1].done():
            await _alone(accounts, ref, folder_id, [uid for uid, _ in errands.pop()])
            continue
        some, begun = under_way.popleft()
        answers = await helpers.ended([name for _, name in some], begun)
        read.update((uid, (name, told)) for (uid, _), (name, told) in zip(some, answers, strict=True))
        if len(read) >= WRITTEN * TOGETHER or not under_way:
            entry = await accounts.use(ref)
            taken = partial(unscanned.take, folder_id=folder_id, read=read)
            await _alone(accounts, ref, folder_id, await entry.writer.submit(taken))
            read = {}


def _named(handle: Handle, folder_id: str, uids: Sequence[int]) -> tuple[str, list[str]]:
    """The directory that holds the messages, and their names in it; "" for one that is gone."""
    row = catalog.by_id(handle.reader, folder_id)
    if row is None:
        return "", [""] * len(uids)
    cur = open_cur(handle.fs, handle.root, row.directory)
    try:
        path = handle.fs.real_path(cur)
    finally:
        handle.fs.close(cur)
    name = "SELECT name FROM messages WHERE key = ?"
    return path, [handle.reader.value(name, (key(row.number, uid),)) or "" for uid in uids]
