"""The open accounts of this process: a bounded set, least recently used first out.

Opening and closing run in worker threads. Closing an account that was written to is a clean stop of it (`floors`).
Longer than its neighbours: whoever opens or lets go must agree with the others on one set.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice, takewhile
from typing import TypeVar

import core.log
from core.errors import MailError, StorageError
from store import batch, catalog, floors, layout, leftovers, newcomers, outside, records
from store.catalog import FolderRow
from store.entry import Entry, Key
from store.faults import IndexDamagedError, translated, whole
from store.flush import flush, forget_deliveries, something_waits
from store.flusher import Flusher
from store.handle import Handle, Tools
from store.importing import Imports
from store.index import Connection
from store.lockfile import WAIT, AccountLock, LockKeptError
from store.readers import Readers
from store.recent import Recent
from store.sums import Sums, packed
from store.syncs import Syncs
from store.transaction import Transaction
from store.types import INBOX, AccountRef, Hint
from store.writer import IN_THREAD, Writer

log = core.log.get(__name__)

LONG_READS = 2  # at once
IDLE_AFTER = 60.0  # seconds without a use; then an account is closed: an open index takes 390 KiB
RETIRED_TOGETHER = 50  # in one turn of the flusher; closing what was written to syncs
MEASURE_WAIT = 0.1  # seconds for the lock of one whose octets are counted for the first time
CLOSE_WAIT = 5.0  # seconds for the lock of one that is closed; else the next opening finds what is left
OPEN_AGAIN = 0.2  # seconds between looks at the lock of an account that is to be opened

_ITSELF = contextlib.nullcontext()

T = TypeVar("T")


class Accounts:
    """See the module. `domains` is a descriptor of DATA/domains; `limit` accounts stay open while nobody uses them;
    `removed` tells accounts that lie in the recycle bin."""

    def __init__(
        self,
        tools: Tools,
        domains: int,
        pool: Executor,
        syncs: Syncs,
        publish: Callable[[Sequence[Hint]], None],
        limit: int,
        removed: Callable[[AccountRef], bool],
        make_helpers: Callable[[], Readers | None] = lambda: None,
    ) -> None:
        self.tools, self._domains, self._pool = tools, domains, pool
        self._place = tools.fs.real_path(domains)
        self.syncs = syncs
        self._publish, self._limit = publish, limit
        self._removed = removed
        self._make_helpers = make_helpers
        self._helpers: Readers | None = None
        self._helped = 0  # who waits for what they read
        self.sums = Sums(tools.fs, domains, pool, self._measured)
        self._open: OrderedDict[Key, Entry] = OrderedDict()
        self._opening: dict[Key, asyncio.Future[Entry]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.flusher = Flusher(self._open, syncs)
        self.recent = Recent()  # of all of them
        self.imports = Imports()
        # Searches, orders and threads of big folders: deliveries do not queue behind them (promise P7).
        self.long_reads = ThreadPoolExecutor(LONG_READS, thread_name_prefix="read")

    async def use(self, ref: AccountRef) -> Entry:
        """The account, open and with its present index. Does not suspend when it was open."""
        key = (ref.domain, ref.local)
        while True:
            entry = self._open.get(key)
            if entry is not None and entry.handle.is_current() and entry.handle.ref.id == ref.id:
                self._open.move_to_end(key)
                entry.used = asyncio.get_running_loop().time()
                entry.handle.close_retired()
                return entry
            if entry is not None:
                await self._left(key, entry)
            await self._opened(key, ref)  # and look again: it may have been let go, or be another's, when we resume

    async def _left(self, key: Key, entry: Entry) -> None:
        """Its index is not the present one any more; one of whose files some are gone must not stay that."""
        if entry.handle.is_torn():
            with entry.handle.pinned():
                await self.patiently(partial(_condemn, entry.handle))
        if self._open.get(key) is entry:
            self._let_go(key)

    async def read(self, ref: AccountRef, ask: Callable[[Handle], T], *, once: bool = False) -> T:
        """One consistent view of the index; `ask` runs on the loop, is short and does not suspend. A damaged index is
        made again once, one whose files are deleted meanwhile is left for the next. `once`: it is one question, of
        which SQLite makes a transaction by itself. Raises StorageError."""
        for _ in range(batch.TRIES):
            entry = await self.use(ref)
            try:
                with translated(), _ITSELF if once else entry.handle.reader.reading():
                    return ask(entry.handle)
            except IndexDamagedError as error:
                log.error("store-index-damaged", account=ref.id, cause=str(error))
                with entry.handle.pinned():
                    await self.patiently(partial(_condemn, entry.handle))
            except StorageError:
                if entry.handle.is_current():
                    raise
        raise StorageError("storage failed", code="storage-index")

    async def read_folder(self, ref: AccountRef, folder_id: str, ask: Callable[[Connection, FolderRow], T]) -> T:
        """`read` about one folder. NotFoundError without it."""
        return await self.read(ref, lambda handle: ask(handle.reader, catalog.known(handle.reader, folder_id)))

    @contextlib.asynccontextmanager
    async def helpers(self) -> AsyncIterator[Readers | None]:
        """Processes that read messages for who waits for very many, shared by all who do. None where they would be of
        no use, where another process has them, those before have not ended yet, or they cannot be started."""
        self._helped += 1
        try:
            yield await self._started_helpers()
        finally:
            self._helped -= 1
            if not self._helped:
                self._let_helpers_go()

    async def _started_helpers(self) -> Readers | None:
        try:
            helpers = self._helpers = self._helpers or self._make_helpers()
            if helpers is not None:
                await asyncio.get_running_loop().run_in_executor(self._pool, helpers.start)
        except (OSError, RuntimeError) as error:  # broken: somebody killed them while others waited
            log.warning("store-helpers-missing", cause=str(error))
            return None
        return helpers

    def _let_helpers_go(self) -> None:
        if self._helpers is not None:
            task = asyncio.create_task(asyncio.to_thread(self._helpers.close))
            self._helpers = None
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def __len__(self) -> int:
        return len(self._open)

    def entries(self) -> list[Entry]:
        """The accounts that are open."""
        return list(self._open.values())

    def holds(self, entry: Entry) -> bool:
        """Whether it is still the open one of its account."""
        return self.opened(entry.handle.ref) is entry

    def opened(self, ref: AccountRef) -> Entry | None:
        """The account if it is open already."""
        return self._open.get((ref.domain, ref.local))

    @property
    def opening(self) -> bool:
        """Some are being opened."""
        return bool(self._opening)

    async def _opened(self, key: Key, ref: AccountRef) -> Entry:
        future = self._opening.get(key)
        if future is None:
            future = asyncio.ensure_future(self._open_now(key, ref))
            future.add_done_callback(_seen)
            self._opening[key] = future
        return await asyncio.shield(future)

    async def _open_now(self, key: Key, ref: AccountRef) -> Entry:
        try:
            loop = asyncio.get_running_loop()
            handle = await self.patiently(partial(self._ready_handle, ref))
            writer = Writer(handle, self._pool, self.syncs, self._publish)
            entry = self._open[key] = Entry(handle, writer, loop.time())
        finally:
            self._opening.pop(key, None)
        self._evict(key)
        return entry

    async def patiently(self, work: Callable[[float], T]) -> T:
        """Blocking `work`, told how many seconds it may wait for an account's lock: where somebody keeps that it is
        waited for without a thread, of which there are few, and `work` begun again. Raises LockKeptError."""
        loop = asyncio.get_running_loop()
        until, wait = loop.time() + WAIT, IN_THREAD
        while True:
            try:
                return await loop.run_in_executor(self._pool, work, wait)
            except LockKeptError:
                if loop.time() >= until:
                    raise
            await asyncio.sleep(OPEN_AGAIN)
            wait = 0.0

    def _ready_handle(self, ref: AccountRef, wait: float) -> Handle:
        """Blocking."""
        handle = self.open_handle(ref, wait=wait)
        try:
            with contextlib.suppress(OSError):  # nobody waits for it: a read-only disk is served all the same
                leftovers.sweep(handle.fs, handle.root, self.tools.clock.now())
            _prepare(handle)
        except BaseException:
            handle.close()
            raise
        return handle

    def open_handle(
        self,
        ref: AccountRef,
        tools: Tools | None = None,
        *,
        wait: float = WAIT,
        first: Callable[[Handle], None] = lambda _: None,
    ) -> Handle:
        """Blocking: the directory (made at first use), the index made true. `tools` of his own are for whoever makes
        another; `first` is done before the index is looked at. Raises StorageError."""
        tools = tools or self.tools
        with whole():
            self._check_place()
            now = int(tools.clock.now())
            root = layout.open_account(
                tools.fs, self._domains, ref, tools.ids, now, removed=self._removed, standard=tools.standard
            )
            handle = Handle(tools, ref, root)
            try:
                with handle.lock.held(wait):
                    first(handle)
                    _load(handle)
            except BaseException:
                handle.close()
                raise
            return handle

    def _check_place(self) -> None:
        """Hands that exchange DATA/domains while we serve: what is written into the one that we hold open is not found
        any more. Raises StorageError until we are started again."""
        fs = self.tools.fs
        try:
            there = os.path.samestat(fs.stat(self._domains, self._place), fs.status(self._domains))
        except FileNotFoundError:
            there = False
        if not there:
            raise StorageError("the store was moved", code="storage-moved", path=self._place)

    def _measured(self, ref: AccountRef) -> int:
        """Blocking: what an account holds that never published it; it has then. Raises LockKeptError: nobody waits long
        for a sum, which is made again soon."""
        handle = self.open_handle(ref, wait=MEASURE_WAIT)
        try:
            with handle.lock.held(MEASURE_WAIT):
                octets = int(handle.writer.value("SELECT octets FROM state"))
                handle.lock.publish(packed(octets))
                return octets
        finally:
            handle.close()

    # -- closing -------------------------------------------------------------------------------------------------------

    def _evict(self, newest: Key) -> None:
        """Not the newest: whoever asked for it has not begun yet."""
        spare = len(self._open) - self._limit
        if spare > 0:
            idle = (key for key, entry in self._open.items() if not entry.handle.pins and key != newest)
            for key in list(islice(idle, spare)):
                self._let_go(key)

    @property
    def closing(self) -> bool:
        """Some that were let go are not closed yet: what is written before takes its time on a busy disk."""
        return bool(self._closing)

    def retire(self, settled: Callable[[Handle], bool]) -> int:
        """Close what nobody has used for a while and that is `settled`; how many were let go. Sessions that listen need
        no open account: looks read the word in its lock file. The set is in the order of use, so that the first that is
        not old enough ends it."""
        before = asyncio.get_running_loop().time() - IDLE_AFTER
        old = list(takewhile(lambda item: item[1].used < before, self._open.items()))
        idle = [key for key, entry in old if not (entry.handle.pins or entry.handle.waits) and settled(entry.handle)]
        for key in idle[:RETIRED_TOGETHER]:
            self._let_go(key)
        return min(len(idle), RETIRED_TOGETHER)

    def _let_go(self, key: Key) -> None:
        entry = self._open.pop(key)
        task = asyncio.create_task(self._close(entry))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, entry: Entry) -> None:
        await entry.writer.idle()
        await entry.handle.unpinned()  # somebody who got the entry before it left the set
        await entry.writer.idle()  # and whose work was taken back
        await asyncio.get_running_loop().run_in_executor(self._pool, _close_handle, entry.handle)

    async def release(self, ref: AccountRef) -> None:
        """Close one account now (it is about to be moved away)."""
        key = (ref.domain, ref.local)
        if key in self._open:
            self._let_go(key)
        await self._settled()

    async def _settled(self) -> None:
        while self._closing:
            await asyncio.wait(set(self._closing))

    async def close(self) -> None:
        """All of them, cleanly."""
        await self.imports.close()
        while self._opening:
            await asyncio.wait(set(self._opening.values()))
        for key in list(self._open):
            self._let_go(key)
        self._let_helpers_go()
        await self._settled()
        self.long_reads.shutdown(wait=False)


def _seen(opening: asyncio.Future[Entry]) -> None:
    """Who waited for an opening that failed may have left: its error is no traceback in the log."""
    if not opening.cancelled():
        opening.exception()


def _prepare(handle: Handle) -> None:
    """What SELECT begins with is asked here, for nothing, rather than on the loop first: the first question of a
    connection reads the schema, which takes as long as all of a later SELECT, and names are looked up on the disk. What
    is wrong with the index is found by whoever wants an answer."""
    db = handle.reader
    with contextlib.suppress(IndexDamagedError, StorageError), translated(), db.reading():
        inbox = catalog.by_name(db, INBOX)
        if inbox is not None:
            outside.found(handle, inbox.id)
            newcomers.peek(handle.fs, handle.root, inbox)
            records.first_unseen(db, replace(inbox, number=0))


def _load(handle: Handle) -> None:
    """Open the index; one that turns out to be damaged while it is read is made again."""
    try:
        with translated():
            batch.reload(handle)
            handle.dirty = handle.dirty or something_waits(handle.writer)  # whoever left it may be dead
    except IndexDamagedError as error:
        log.error("store-index-damaged", account=handle.ref.id, cause=str(error))
        batch.reload(handle, damaged=True)


def _condemn(handle: Handle, wait: float) -> None:
    """Throw a damaged index away, unless somebody did meanwhile; the next use makes it again."""
    with whole():
        lock = AccountLock(handle.fs, handle.root)  # of its own: the handle's may be held by its writer's thread
        try:
            with lock.held(wait):
                if handle.is_current() or handle.is_torn():
                    handle.discard_files()
        finally:
            lock.close()


def _close_handle(handle: Handle) -> None:
    """A clean stop when something was written; whatever fails then is found by the next opening."""
    try:
        if handle.touched and handle.is_current():
            with handle.lock.held(CLOSE_WAIT), translated():
                last_flush(handle, batch.ready(handle).generation)
                floors.settle(handle)
    except (MailError, OSError, IndexDamagedError) as error:
        log.warning("store-close-failed", account=handle.ref.id, cause=str(error))
    finally:
        handle.close()


def last_flush(handle: Handle, generation: int) -> None:
    """All that waits to be written into names. Under the account lock. Raises OSError where the disk is too full for
    some of it, with all else done."""

    def work(transaction: Transaction) -> tuple[bool, OSError | None]:
        full = flush(transaction)
        forget_deliveries(transaction)
        return transaction.unfinished, full

    unfinished, full = True, None
    while unfinished:
        unfinished, full = performed(handle, generation, work)
        generation += 1
    if full is not None:
        raise full


def performed(handle: Handle, generation: int, work: Callable[[Transaction], T]) -> T:
    """One operation, under the account lock."""
    transaction = Transaction(handle)
    transaction.begin(generation)
    try:
        with transaction.operation():
            result = work(transaction)
        transaction.commit()
    except BaseException:
        transaction.abort()
        raise
    return result
