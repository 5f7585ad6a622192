"""A staged message on its way into accounts: implements `store.store.Staged`. And the messages of one APPEND."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import Self

from core.errors import MailError, StorageError
from message.content import Content
from message.header import Head
from store import place, stage
from store.accounts import Accounts
from store.batch import Written
from store.ending import through
from store.entry import Entry
from store.faults import whole
from store.handle import Tools
from store.records import Prepared
from store.stage import TemporaryFile
from store.syncs import Syncing, Syncs
from store.types import AccountRef, Appended, Placement

_Prepare = Callable[[Tools, bytes, int], Prepared]
FileKey = tuple[str, int, int]  # organisation, internal date, device: who shares an inode
UNDER_WAY = 64  # syncs of one command at once: others' mail finds room among those that the kernel takes
LATER = 64  # messages of one command that are not read before it is answered, but within two seconds: an import
TURN = 4  # messages written or scanned in one turn of the loop: some 2 ms
TURN_OCTETS = 16 * 1024  # and no more octets than these, past the last one's: an odd header costs 8 µs for each
QUICK = 16 * 1024  # a longer header is scanned in a thread: 60 KB of quoted backslashes take half a second
CLOSED_AT_ONCE = 16  # files, on the event loop


class StagedMessage:
    """One synced file per organisation (per date, which is the file's time, and per file system, past which no link
    leads); its temporary names go at the end."""

    def __init__(self, accounts: Accounts, tools: Tools, pool: Executor, syncs: Syncs) -> None:
        self._accounts, self._tools, self._pool, self._syncs = accounts, tools, pool, syncs
        self._files: dict[FileKey, TemporaryFile] = {}
        self._first: TemporaryFile | None = None
        self._syncing: Syncing | None = None  # of that one, where it may not be over
        self._making = asyncio.Lock()
        self._now = int(tools.clock.now())

    async def write(
        self, prefix: bytes | Head, content: Content, first: AccountRef, skip: int, *, synced: bool
    ) -> None:
        """Once, before anything else. Raises StorageError; nothing is left then. Not `synced`: whoever gives the file a
        name waits for its sync."""
        entry = await self._accounts.use(first)
        file, start = None, bytes(prefix)
        if len(start) + content.size - skip <= stage.SMALL:
            with whole():
                data = start + content.read(skip, content.size)
            fields = prefix if isinstance(prefix, Head) and prefix.stands(len(start), self._tools.limits) else None
            file = await self._write_small(entry, data, fields, synced=synced) if _quick(data) else None
        if file is None:
            file = await stage_in_thread(
                self._pool, self._tools, entry, lambda: self._write(entry.handle.root, start, content, skip)
            )
        self._first = self._files[first.organisation_id, self._now, entry.handle.device] = file

    async def _write_small(
        self, entry: Entry, data: bytes, fields: Head | None, *, synced: bool
    ) -> TemporaryFile | None:
        """None: the file system wants another way."""
        with entry.handle.pinned(), whole():
            begun = await _begin_small(self._tools, self._syncs, entry, data, self._now, fields)
            if begun is None:
                return None
            file, syncing = begun
            if not synced:
                self._syncing = syncing
                return file
            try:
                await syncing
            except BaseException:
                self._tools.fs.close(file.fd)
                raise
            return file

    def _write(self, root: int, prefix: bytes, content: Content, skip: int) -> TemporaryFile:
        with whole():
            return stage.write(self._tools, root, prefix, content, skip, self._now)

    async def deliver(self, account: AccountRef, placement: Placement) -> Appended:
        room = await self._accounts.sums.room(account)
        entry = await self._accounts.use(account)
        with entry.handle.pinned():
            file = await self._file_for(entry, account, placement)
            work = place.Delivery(file, placement, room)
            return await entry.writer.submit(
                work,
                small=file.prepared.size <= stage.SMALL,
                at_once=True,
                after=None if self._syncing is None else Written(self._syncing, work.look),
            )

    async def _file_for(self, entry: Entry, account: AccountRef, placement: Placement) -> TemporaryFile:
        date = self._now if placement.internal_date is None else stage.sane_date(placement.internal_date)
        key = (account.organisation_id, date, entry.handle.device)
        if key in self._files:
            return self._files[key]
        async with self._making:
            with whole():
                if self._syncing is not None:
                    await self._syncing
            if key not in self._files:
                self._files[key] = await stage_in_thread(
                    self._pool, self._tools, entry, lambda: self._copy(entry.handle.root, date)
                )
            return self._files[key]

    def _copy(self, root: int, date: int) -> TemporaryFile:
        if self._first is None:
            raise StorageError("nothing was staged")
        with whole():
            return stage.copy(self._tools, self._first, root, date)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._syncing is not None:  # which nobody takes back: it is over then, whoever is cancelled
                with contextlib.suppress(OSError):  # whoever delivered was told
                    await self._syncing
        finally:
            files = list(self._files.values())
            self._files.clear()
            await discarded(self._pool, self._tools, files)


def _quick(data: bytes) -> bool:
    """Whether a scan is short work, whatever the message says."""
    return len(data) <= QUICK or data.find(b"\r\n\r\n", 0, QUICK) >= 0


async def _begin_small(
    tools: Tools, syncs: Syncs, entry: Entry, data: bytes, date: int, fields: Head | None
) -> tuple[TemporaryFile, Syncing] | None:
    """On the loop; the message is scanned while the disk writes it. The file is open at least until its sync is over.
    None: the file system wants another way."""
    fd = stage.write_unsynced(tools, entry.handle.root, data, date)
    if fd is None:
        return None
    syncing = syncs.begin((fd,))
    try:
        return TemporaryFile(fd, stage.prepared(tools, data, date, fields)), syncing
    except BaseException:
        await syncing.over()
        tools.fs.close(fd)
        raise


async def stage_in_thread(
    pool: Executor, tools: Tools, entry: Entry, work: Callable[[], TemporaryFile]
) -> TemporaryFile:
    """Keep the account open meanwhile; when the caller is cancelled, the file that comes out is removed."""
    with entry.handle.pinned():
        future = asyncio.get_running_loop().run_in_executor(pool, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await through(future)
            with contextlib.suppress(MailError):
                discard_all(tools, [future.result()])
            raise


async def stage_appended(pool: Executor, entry: Entry, content: Content, placement: Placement) -> TemporaryFile:
    """A message as a client gives it, with the date it asks for, in a file of its own."""
    tools, date = entry.handle.tools, _date(entry.handle.tools, placement)

    def write() -> TemporaryFile:
        with whole():
            return stage.write(tools, entry.handle.root, b"", content, 0, date)

    return await stage_in_thread(pool, tools, entry, write)


async def stage_all(
    pool: Executor,
    syncs: Syncs,
    entry: Entry,
    items: Sequence[tuple[Content, Placement]],
    staged: list[TemporaryFile],
    *,
    together: int,
) -> None:
    """`stage_appended` for each, into `staged`, which its owner discards whatever happens. Small ones are written and
    scanned on the loop, in bunches; where so many come `together` that it is an import, they are scanned behind
    (`store.unscanned`). All syncs are over when this returns or raises, and every one went well when it returns."""
    bunch = _Bunch(entry, syncs, staged, stage.related if together >= LATER else stage.prepared)
    try:
        with whole():
            for content, placement in items:
                date = _date(entry.handle.tools, placement)
                small = content.size <= stage.SMALL and _quick(data := content.read(0, content.size))
                if small and bunch.write(data, date):
                    await bunch.written()
                    continue
                await bunch.end()
                staged.append(await stage_appended(pool, entry, content, placement))
            await bunch.end()
    finally:
        await bunch.given_up()


class _Bunch:
    """Small messages of one command: all are written, then synced while they are scanned, so many at a time. A file
    made while syncs are under way waits for the commits of the file system's journal, each time."""

    def __init__(self, entry: Entry, syncs: Syncs, staged: list[TemporaryFile], prepare: _Prepare) -> None:
        self._entry, self._syncs, self._staged, self._prepare = entry, syncs, staged, prepare
        self._written: deque[tuple[int, bytes, int]] = deque()  # descriptor, octets, date
        self._unsynced: deque[int] = deque()
        self._begun: deque[Syncing] = deque()

    def write(self, data: bytes, date: int) -> bool:
        """False: the file system wants another way."""
        fd = stage.write_unsynced(self._entry.handle.tools, self._entry.handle.root, data, date)
        if fd is not None:
            self._written.append((fd, data, date))
            self._unsynced.append(fd)
        return fd is not None

    async def written(self) -> None:
        """After each."""
        if len(self._written) % TURN == 0:
            await asyncio.sleep(0)

    async def end(self) -> None:
        """All that was written is synced, scanned, and `staged`. Raises OSError."""
        self._begin()
        count = octets = 0
        while self._written:
            fd, data, date = self._written[0]
            self._staged.append(TemporaryFile(fd, self._prepare(self._entry.handle.tools, data, date)))
            self._written.popleft()
            count, octets = count + 1, octets + len(data)
            if count == TURN or octets >= TURN_OCTETS:
                count = octets = 0
                await asyncio.sleep(0)  # a thousand messages keep nobody waiting (promise P7)
                while self._begun and self._begun[0].done():
                    await self._over()
        while self._begun:
            await self._over()

    def _begin(self) -> None:
        while self._unsynced and len(self._begun) < UNDER_WAY:
            self._begun.append(self._syncs.begin((self._unsynced.popleft(),)))

    async def _over(self) -> None:
        """The first that is under way; others take its place."""
        await self._begun[0]
        self._begun.popleft()
        self._begin()

    async def given_up(self) -> None:
        """What is not `staged` is closed, once no sync uses it any more."""
        for syncing in self._begun:
            await syncing.over()
            syncing.exception()  # one failure is told, and ends them all
        for fd, _, _ in self._written:
            self._entry.handle.tools.fs.close(fd)


def _date(tools: Tools, placement: Placement) -> int:
    return stage.sane_date(tools.clock.now() if placement.internal_date is None else placement.internal_date)


async def discarded(pool: Executor, tools: Tools, files: Sequence[TemporaryFile]) -> None:
    """`discard_all`, to its end even when the caller is cancelled; in a thread unless they are a few small ones, whose
    closing is a short call."""
    if len(files) <= CLOSED_AT_ONCE and all(file.prepared.size <= stage.SMALL and not file.name for file in files):
        discard_all(tools, files)
        return
    await asyncio.shield(asyncio.get_running_loop().run_in_executor(pool, discard_all, tools, files))


def discard_all(tools: Tools, files: Sequence[TemporaryFile]) -> None:
    """Remove the temporary names. What cannot be removed is swept after a day."""
    for file in files:
        stage.discard(tools.fs, file)
