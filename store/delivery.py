"""A staged message on its way into accounts: implements `store.store.Staged`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import Self

from core.errors import MailError, StorageError
from message.content import Content
from store import place, stage
from store.accounts import Accounts, Entry
from store.ending import through
from store.faults import whole
from store.handle import Tools
from store.stage import TemporaryFile
from store.syncs import Syncs
from store.types import AccountRef, Appended, Placement

FileKey = tuple[str, int, int]  # organisation, internal date, device: who shares an inode


class StagedMessage:
    """One synced file per organisation (per date, which is the file's time, and per file system, past which no link
    leads); its temporary names go at the end."""

    def __init__(self, accounts: Accounts, tools: Tools, pool: Executor, syncs: Syncs) -> None:
        self._accounts, self._tools, self._pool, self._syncs = accounts, tools, pool, syncs
        self._files: dict[FileKey, TemporaryFile] = {}
        self._first: TemporaryFile | None = None
        self._making = asyncio.Lock()
        self._now = int(tools.clock.now())

    async def write(self, prefix: bytes, content: Content, first: AccountRef, skip: int) -> None:
        """Once, before anything else. Raises StorageError; nothing is left then."""
        entry = await self._accounts.use(first)
        file = None
        if len(prefix) + content.size - skip <= stage.SMALL:
            with whole():
                data = prefix + content.read(skip, content.size)
            file = await self._write_small(entry, data)
        if file is None:
            file = await stage_in_thread(
                self._pool, self._tools, entry, lambda: self._write(entry.handle.root, prefix, content, skip)
            )
        self._first = self._files[first.organisation_id, self._now, entry.handle.device] = file

    async def _write_small(self, entry: Entry, data: bytes) -> TemporaryFile | None:
        """On the loop; the message is scanned while the disk writes it. None: the file system wants another way."""
        with entry.handle.pinned(), whole():
            fd = stage.write_unsynced(self._tools, entry.handle.root, data, self._now)
            if fd is None:
                return None
            syncing = self._syncs.begin((fd,))
            try:
                prepared = stage.prepared(self._tools, data, self._now)
                await self._syncs.finish(syncing)
            except BaseException:
                await through(syncing)
                self._tools.fs.close(fd)
                raise
            return TemporaryFile(fd, prepared)

    def _write(self, root: int, prefix: bytes, content: Content, skip: int) -> TemporaryFile:
        with whole():
            return stage.write(self._tools, root, prefix, content, skip, self._now)

    async def deliver(self, account: AccountRef, placement: Placement) -> Appended:
        room = await self._accounts.sums.room(account)
        entry = await self._accounts.use(account)
        with entry.handle.pinned():
            file = await self._file_for(entry, account, placement)
            return await entry.writer.submit(
                lambda transaction: place.deliver(transaction, file, placement, room),
                small=file.prepared.size <= stage.SMALL,
            )

    async def _file_for(self, entry: Entry, account: AccountRef, placement: Placement) -> TemporaryFile:
        date = self._now if placement.internal_date is None else stage.sane_date(placement.internal_date)
        key = (account.organisation_id, date, entry.handle.device)
        async with self._making:
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
        files = list(self._files.values())
        self._files.clear()
        if all(file.prepared.size <= stage.SMALL and not file.name for file in files):
            discard_all(self._tools, files)  # closing a small file is a short call
            return
        await discarded(self._pool, self._tools, files)


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
    tools = entry.handle.tools
    date = stage.sane_date(tools.clock.now() if placement.internal_date is None else placement.internal_date)

    def write() -> TemporaryFile:
        with whole():
            return stage.write(tools, entry.handle.root, b"", content, 0, date)

    return await stage_in_thread(pool, tools, entry, write)


async def discarded(pool: Executor, tools: Tools, files: Sequence[TemporaryFile]) -> None:
    """`discard_all` in a thread, to its end even when the caller is cancelled."""
    await asyncio.shield(asyncio.get_running_loop().run_in_executor(pool, discard_all, tools, files))


def discard_all(tools: Tools, files: Sequence[TemporaryFile]) -> None:
    """Remove the temporary names. What cannot be removed is swept after a day."""
    for file in files:
        stage.discard(tools.fs, file)
