"""What waits in open accounts is brought to the disk each second: flag letters into names, unlinking, the index synced.

After deliveries nothing waits but the index: its WAL is synced as it lies there, without the account's lock, a
transaction or a thread, until it is so long that it has to be copied into the database.

An account that fails, or whose lock somebody keeps, keeps the others from nothing (promise P5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import core.log
from core.errors import MailError, of_one
from store.entry import Entry, Key
from store.faults import of_accounts, storage_error, whole
from store.flush import flush, something_waits
from store.handle import Handle
from store.lockfile import WAIT
from store.syncs import Syncs

log = core.log.get(__name__)

FLUSH_EVERY = 1.0  # seconds a flag change may exist in the index alone (promise P5 allows two)
TURNS = 100  # of one account before the others get theirs
FLUSH_TOGETHER = 4  # accounts flushed at once
FLUSH_AGAIN = 0.2  # seconds between tries of one that fails, where somebody waits for it
BUSY = "storage-busy"  # the code of what somebody keeps: another process, an operation of ours
BUSY_LASTS = 60.0  # seconds after which that is told
FLUSH_PATIENCE = 1.0  # seconds a flush keeps its turn while it has not begun: who keeps its lock may be stopped


class Flusher:
    """`entries`: the accounts that are open, which come and go."""

    def __init__(self, entries: Mapping[Key, Entry], syncs: Syncs) -> None:
        self._entries, self._syncs = entries, syncs
        self._under_way: dict[Key, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(FLUSH_TOGETHER)

    async def run(self) -> None:
        """Until cancelled: every second, whatever waits in the accounts written to. One whose lock another process
        keeps is waited for beside the others' next turns (promise P5)."""
        try:
            while True:
                await asyncio.sleep(FLUSH_EVERY)
                self._begin_flushes()
        finally:
            for task in self._under_way.values():
                task.cancel()
            await self._flushed()

    @property
    def has_work(self) -> bool:
        return bool(self._under_way) or any(entry.handle.waits for entry in self._entries.values())

    async def flush_all(self) -> None:
        """One turn for every account that needs one, once those that are being flushed have had theirs."""
        await self._flushed()
        self._begin_flushes()
        await self._flushed()

    async def flush_everything(self) -> None:
        """Until nothing waits any more. Raises StorageError, which names those that failed for so long that they are
        given up, with all others done."""
        loop = asyncio.get_running_loop()
        until = loop.time() + WAIT
        while self.has_work:
            await self.flush_all()
            left = [entry for entry in self._entries.values() if entry.handle.waits]
            failed = [(entry.handle.ref, entry.failing) for entry in left if entry.failing is not None]
            if failed:
                if loop.time() >= until:
                    raise of_accounts(failed)
                await asyncio.sleep(FLUSH_AGAIN)

    def _begin_flushes(self) -> None:
        for key, entry in self._entries.items():
            if entry.handle.waits and key not in self._under_way:
                self._under_way[key] = asyncio.create_task(self._flush(key, entry))

    async def _flushed(self) -> None:
        if under_way := set(self._under_way.values()):
            await asyncio.wait(under_way)

    async def _flush(self, key: Key, entry: Entry) -> None:
        try:
            async with self._turns:
                await self._flush_now(key, entry)
            _succeeded(entry)
        except MailError as error:
            entry.handle.dirty = True
            _failed(entry, error)
        except Exception as error:  # a bug met in one account must not keep the others' flags from the disk
            entry.handle.dirty = True
            entry.failing, entry.told = of_one(error), repr(error)
            log.exception("store-flush-failed", account=entry.handle.ref.id)
        finally:
            del self._under_way[key]

    async def _flush_now(self, key: Key, entry: Entry) -> None:
        if self._entries.get(key) is entry and _is_only_unsynced(entry.handle):
            await self._sync_index(entry.handle)
            return
        for _ in range(TURNS):
            if self._entries.get(key) is not entry:  # let go meanwhile: closing it flushes
                return
            entry.handle.dirty = entry.handle.unsynced = entry.handle.behind = False
            full = await entry.writer.submit(flush, durable=True, small=True, patience=FLUSH_PATIENCE)
            if not entry.handle.behind:
                if full is not None:
                    raise storage_error(full)
                return

    async def _sync_index(self, handle: Handle) -> None:
        """Whoever writes meanwhile only adds to it. Raises StorageError."""
        handle.unsynced = False
        with whole():
            wal = handle.index.open_log()
            try:
                await self._syncs.begin_data(wal)
            finally:
                handle.fs.close(wal)


def _is_only_unsynced(handle: Handle) -> bool:
    """What a process left that was killed is for whoever writes next, as we did. Raises StorageError."""
    if handle.dirty or not handle.is_current():
        return False
    with whole():
        return not something_waits(handle.reader)


def _failed(entry: Entry, error: MailError) -> None:
    """It is tried each second: told when the reason is another one. That somebody keeps the account is ordinary where
    much is done, and ends by itself: it is told once it lasts."""
    now = asyncio.get_running_loop().time()
    if error.code != BUSY:
        entry.kept_since = None
    elif entry.kept_since is None:
        entry.kept_since = now
    lasts = entry.kept_since is None or now - entry.kept_since >= BUSY_LASTS
    if lasts and _cause(error) != entry.told:
        log.warning("store-flush-failed", account=entry.handle.ref.id, code=error.code, **error.fields)
        entry.told = _cause(error)
    entry.failing = error


def _cause(error: MailError) -> str:
    return str(error.fields.get("cause", error.code))


def _succeeded(entry: Entry) -> None:
    if entry.told:
        log.info("store-flush-recovered", account=entry.handle.ref.id)
    entry.failing, entry.kept_since, entry.told = None, None, ""
