"""The store of one installation: class `MaildirStore`, the only thing the composition root makes.

Knows the data directory and who serves whom; refuses to start over a directory that is not ours (fault 170). Longer
than its neighbours: what is asked of all accounts at once stands beside what makes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import stat
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import core.log
from core import heap
from core.clock import Clock, SystemClock
from core.config import Limits
from core.errors import MailError, StorageError, of_one
from core.ids import Ids, RandomIds
from message import facts
from message.content import Content
from message.facts import Facts
from message.header import Head
from store import catalog, glance, layout, misplaced, outside, recycle, structure, verify
from store.account import Account
from store.accounts import Accounts
from store.administration import Administration, Places
from store.changes import ChangeHub
from store.delivery import StagedMessage
from store.dovecot import convert
from store.faults import IndexDamagedError, line_of, of_accounts, translated, whole
from store.flusher import FLUSH_EVERY
from store.fsops import FileSystem, boot_id
from store.handle import Handle, Tools
from store.lockfile import LOCK_FILE, WORD_SIZE, LockKeptError, State, Word
from store.names import account_directory
from store.readers import Readers
from store.rebuilding import Rebuilding
from store.search.filler import Filler
from store.spool import SpoolFile
from store.store import AccountStore, Progress, Spool, Staged
from store.syncs import Syncs
from store.types import AccountRef, Hint

log = core.log.get(__name__)

# Blocking calls at once. 24 threads fought for the interpreter's lock: a delivery took half as much CPU again.
THREADS = 6
DESCRIPTORS_PER_ACCOUNT = 16
REBUILT_TOGETHER = 2  # accounts
MOST_OPEN = 1_000
WORTH_GIVING_BACK = 50  # closed accounts after which freed memory goes back to the system at once
QUIET = 3  # turns without a closing after which that of a few does: else those behind a wave keep 17 MiB
CHANGES = "changes"  # in run/: made when a store is first opened
_MARKER_TEXT = b"beffroi store, format 1\n"


def initialise(data: Path) -> None:
    """Make `data` a store: directories and the marker files without which no process starts. Harmless when repeated.
    Raises StorageError where one that was in use lacks its mail: a disk that is not mounted (fault 170)."""
    fs = FileSystem()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = fs.open_root(str(data))
    try:
        in_use = fs.exists(root, layout.MARKER) and fs.exists(root, f"run/{CHANGES}")
        if in_use and not fs.exists(root, f"{layout.DOMAINS}/{layout.MARKER}"):
            raise StorageError(
                f"{data / layout.DOMAINS}: the marker file {layout.MARKER} is missing (is its disk mounted?)",
                code="storage-missing",
            )
        for name in (layout.DOMAINS, layout.RECYCLE, layout.SPOOL, "run"):
            with contextlib.suppress(FileExistsError):
                fs.make_directory(root, name)
        domains = fs.open_directory(root, layout.DOMAINS)
        try:
            for directory in (root, domains):
                if not fs.exists(directory, layout.MARKER):
                    fs.replace_file(directory, layout.MARKER, _MARKER_TEXT)
        finally:
            fs.close(domains)
        fs.sync(root)
    finally:
        fs.close(root)


class MaildirStore:
    """Implements `store.store.Store`.

    `data`: the installation's directory, prepared by `initialise`. `clock`, `ids`, `limits`: of the house. `gather`:
    the scanner (tests give a small one). `open_accounts`: how many accounts stay open, None derives it from the limit
    of descriptors. `fs`: the calls (one with a recorder, or one that fails). `boot`: names this run of the kernel
    (tests simulate a power loss with another). `fold_accents`: searches find what differs in accents only.
    `standard`: name > special use of the folders of new accounts. `kernel_syncs`: see `store.syncs`.
    """

    def __init__(
        self,
        data: Path,
        *,
        clock: Clock | None = None,
        ids: Ids | None = None,
        limits: Limits | None = None,
        gather: Callable[[Content], Facts] | None = None,
        open_accounts: int | None = None,
        fs: FileSystem | None = None,
        boot: str | None = None,
        fold_accents: bool = True,
        standard: Mapping[str, str] = layout.STANDARD,
        kernel_syncs: bool = False,
    ) -> None:
        clock, limits = clock or SystemClock(), limits or Limits()
        self._scans_plainly = gather is None  # other processes can do it too
        self._has_helpers = gather is None and fs is None and len(os.sched_getaffinity(0)) > 1
        gather = gather or partial(facts.gather, limits=limits)
        self._data = data
        self._fs = fs or FileSystem()
        self._tools = Tools(
            self._fs,
            clock,
            ids or RandomIds(clock),
            limits,
            gather,
            boot_id() if boot is None else boot,
            fold_accents,
            standard,
        )
        self._limit = open_accounts or _affordable_accounts()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="store")
        self._syncs = Syncs(self._fs, kernel=kernel_syncs)
        self._filler = Filler()
        self._directories = contextlib.ExitStack()
        self._accounts: Accounts | None = None
        self._hub: ChangeHub | None = None
        self._administration: Administration | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._generations: dict[str, int] = {}

    @property
    def failed_syncs(self) -> int:
        """Syncs that failed since the start; after three, whoever accepts mail should stop (fault 152)."""
        return self._fs.failed_syncs

    @property
    def open_accounts(self) -> int:
        """How many accounts this process holds open."""
        return len(self._open_accounts)

    # -- life ----------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        await self._in_thread(self._open_directories)
        self._syncs.open()
        self._accounts = Accounts(
            self._tools,
            self._domains,
            self._pool,
            self._syncs,
            self._publish,
            self._limit,
            self._removed,
            self._make_helpers,
        )
        self._hub = ChangeHub(
            self._fs, self._changes, self._look, self._tools.ids.object_id()[:8], self._forget_generation
        )
        with whole():
            self._hub.open()
        places = Places(self._domains, self._recycle)
        self._administration = Administration(self._tools, places, self._accounts, self._pool, self.account)
        self._start(self._accounts.flusher.run())
        self._start(self._filler.run(self._accounts))
        self._start(self._run_retirements(self._accounts))
        self._start(self._administration.run_purges())
        self._start(self._hub.run_looks())

    def _make_helpers(self) -> Readers | None:
        """For one process of all that have this store open: the machine's cores are the same, and each front would
        start as many. The lock is on an open directory; the kernel frees it when we die. Raises OSError."""
        if not self._has_helpers:
            return None
        with contextlib.ExitStack() as stack:
            turn = self._fs.open_directory(self._domains, ".")
            stack.callback(self._fs.close, turn)
            if not self._fs.try_lock(turn):
                return None
            return Readers(self._tools.limits, behind=True, ended=stack.pop_all().close)

    async def _run_retirements(self, accounts: Accounts) -> None:
        """Until cancelled: accounts nobody uses are closed; their memory goes back once the last of a wave is, or of
        the few that came behind it."""
        closed = quiet = 0
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            let_go = accounts.retire(self._filler.settled)
            closed += let_go
            quiet = 0 if let_go or accounts.closing else quiet + 1
            if (closed >= WORTH_GIVING_BACK and quiet) or (closed and quiet >= QUIET):
                await self._in_thread(heap.give_back)
                closed = 0

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(_tell_death)
        self._tasks.append(task)

    def _open_directories(self) -> None:
        fs = self._fs
        try:
            root = self._keep(fs.open_root(str(self._data)))
            self._domains = self._keep(fs.open_directory(root, layout.DOMAINS))
            self._recycle = self._keep(fs.open_directory(root, layout.RECYCLE))
            self._spool = self._keep(fs.open_directory(root, layout.SPOOL))
            _check_directory(fs, root, self._data)
            _check_directory(fs, self._domains, self._data / layout.DOMAINS)
            run = self._keep(fs.open_directory(root, "run"))
            with contextlib.suppress(FileExistsError):
                fs.make_directory(run, CHANGES)
            self._changes = self._keep(fs.open_directory(run, CHANGES))
            fs.close(fs.scratch(self._spool))  # a read-only disk is told now
        except OSError as error:
            self._directories.close()
            raise StorageError(
                f"{self._data} is not a usable store: {_what(self._data, error)}", code="storage-missing"
            ) from error

    def _keep(self, fd: int) -> int:
        self._directories.callback(self._fs.close, fd)
        return fd

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._accounts is not None:
            await self._accounts.close()
            self._accounts = None
        if self._hub is not None:
            self._hub.close()
            self._hub = None
        await self._in_thread(self._directories.close)
        self._pool.shutdown(wait=False)
        self._syncs.close()
        self._filler.close()

    async def flush(self) -> None:
        """Now what the flusher does each second: flag letters into names, unlinking, the index synced. For tests and
        for whoever is about to copy the data directory. Raises StorageError, which names accounts that keep failing."""
        await self._open_accounts.flusher.flush_everything()

    async def fill_text(self, domain: str | None) -> None:
        """Now what the filler does when it is quiet: every message into its account's text index."""
        for ref in await self._in_thread(self._found, domain):
            await self._filler.fill(await self._open_accounts.use(ref))

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    @property
    def _open_accounts(self) -> Accounts:
        if self._accounts is None:
            raise StorageError("the store is not open")
        return self._accounts

    @property
    def _open_hub(self) -> ChangeHub:
        if self._hub is None:
            raise StorageError("the store is not open")
        return self._hub

    # -- mail ----------------------------------------------------------------------------------------------------------

    async def account(self, ref: AccountRef) -> AccountStore:
        await self._open_accounts.use(ref)
        return Account(self._open_accounts, self._open_hub, self._tools, self._pool, ref, self._recycle)

    def opens_alone(self, ref: AccountRef) -> bool:
        return not self._open_accounts.opening and self._open_accounts.opened(ref) is None

    def spool(self, *, limit: int, declared: int = 0) -> Spool:
        return SpoolFile(self._fs, self._spool, self._pool, limit=limit, declared=declared)

    async def stage(
        self, prefix: bytes | Head, content: Content, *, first: AccountRef, skip: int = 0, synced: bool = True
    ) -> Staged:
        staged = StagedMessage(self._open_accounts, self._tools, self._pool, self._syncs)
        await staged.write(prefix, content, first, skip, synced=synced)
        return staged

    # -- changes -------------------------------------------------------------------------------------------------------

    def _publish(self, hints: Sequence[Hint]) -> None:
        if self._hub is not None:
            self._hub.publish(hints)

    def _forget_generation(self, account_id: str) -> None:
        self._generations.pop(account_id, None)

    async def _look(self, ref: AccountRef) -> Sequence[Hint]:
        """Where the folders stand, when the lock file tells that something was committed; outside changes are found
        in accounts that are open. A look opens none where a glance will do."""
        entry = self._open_accounts.opened(ref)
        word = entry.handle.lock.read() if entry is not None else self._word(ref)
        if entry is not None and entry.handle.is_current():
            await self._examine(entry.handle, entry.writer.submit)
        if word is not None and self._generations.get(ref.id) == word.generation and word.state is not State.BUSY:
            return ()
        found = None
        if entry is None and word is not None:
            found = await self._in_thread(glance.folders, self._fs, self._domains, ref, word, self._tools.boot)
        if found is None:
            entry = await self._open_accounts.use(ref)
            with whole():
                found = [Hint(ref.id, row.id, row.modseq) for row in catalog.everything(entry.handle.reader)]
        if word is not None:
            self._generations[ref.id] = word.generation
        return list(found)

    async def _examine(self, handle: Handle, submit: Callable[..., Coroutine[Any, Any, None]]) -> None:
        with whole():
            if structure.differs(handle, handle.reader):
                with contextlib.suppress(StorageError):
                    await submit(lambda _transaction: None)  # before any change they agree
            rows = catalog.everything(handle.reader)
            odd = [row.id for row in rows if outside.suspicious(handle, row.id)]
        for folder_id in odd:
            with contextlib.suppress(StorageError):  # of the others is told all the same; who asks for it is refused
                await submit(lambda transaction, odd_id=folder_id: outside.examine(transaction, odd_id))

    def _word(self, ref: AccountRef) -> Word | None:
        """The lock file's word of an account that is not open here."""
        try:
            path = f"{ref.domain}/{account_directory(ref.local)}/{LOCK_FILE}"
            return Word.unpack(self._fs.read_file(self._domains, path, WORD_SIZE))
        except OSError:
            return None

    # -- administration ------------------------------------------------------------------------------------------------

    @property
    def administration(self) -> Administration:
        if self._administration is None:
            raise StorageError("the store is not open")
        return self._administration

    async def remove_account(self, ref: AccountRef) -> None:
        await self._open_accounts.release(ref)
        await self._open_accounts.patiently(partial(self._remove, ref))

    def _removed(self, ref: AccountRef) -> bool:
        return recycle.holds_account(self._fs, self._recycle, ref.id)

    def _remove(self, ref: AccountRef, wait: float) -> None:
        with whole():
            convert.forget(self._fs, self._domains, ref)
            if ref.id not in {found.id for found in verify.accounts_on_disk(self._fs, self._domains, ref.domain)}:
                return
        handle = self._open_accounts.open_handle(ref, wait=wait)
        try:
            with handle.lock.held(wait), whole():
                recycle.remove_account(handle, self._domains, self._recycle)
        finally:
            handle.close()

    async def verify(self, domain: str | None, progress: Progress | None = None) -> Sequence[str]:
        faults: list[str] = await self._in_thread(self._nameless, domain)
        found = await self._in_thread(self._found, domain)
        for done, ref in enumerate(found):
            if progress is not None:
                progress(done, len(found), 0)
            try:
                faults += await self._open_accounts.patiently(partial(self._verify, ref))
            except MailError as error:  # the others are looked at all the same
                faults.append(line_of(ref, error))
        return faults

    async def rebuild(self, domain: str | None, progress: Progress | None = None) -> int:
        """Accounts go on meanwhile; other processes go over to the new index at their next step. Several accounts at
        once, so that the reading processes always have something to do."""
        turns, loop = asyncio.Semaphore(REBUILT_TOGETHER), asyncio.get_running_loop()
        with contextlib.closing(Readers(self._tools.limits)) as readers:
            found = await self._in_thread(self._found, domain)
            waiting, messages = len(found), 0
            ahead = readers if self._scans_plainly else None

            def tell(more: int = 0) -> None:
                nonlocal messages
                messages += more
                if progress is not None:
                    progress(len(found) - waiting, len(found), messages)

            def indexed(count: int) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended, and this thread not yet
                    loop.call_soon_threadsafe(tell, count)

            async def rebuilt(ref: AccountRef) -> int | MailError:
                nonlocal waiting
                async with turns:
                    tell()
                    try:
                        return await self._rebuild(Rebuilding(self._open_accounts, ref, ahead, indexed))
                    except MailError as error:  # the others are made again all the same
                        return error
                    except Exception as error:  # a bug met in one: likewise
                        log.exception("store-rebuild-failed", account=ref.id)
                        return of_one(error)
                    finally:
                        waiting -= 1

            outcomes = await asyncio.gather(*(rebuilt(ref) for ref in found))
        failed = [(ref, each) for ref, each in zip(found, outcomes, strict=True) if isinstance(each, MailError)]
        if failed:
            raise of_accounts(failed)
        return sum(each for each in outcomes if isinstance(each, int))

    def _found(self, domain: str | None) -> list[AccountRef]:
        with whole():
            return list(verify.accounts_on_disk(self._fs, self._domains, domain, passing=True))

    def _nameless(self, domain: str | None) -> list[str]:
        with whole():
            return list(verify.nameless(self._fs, self._domains, domain))

    def _verify(self, ref: AccountRef, wait: float) -> list[str]:
        with whole():
            root = layout.open_account(self._fs, self._domains, ref, self._tools.ids, int(self._tools.clock.now()))
            try:
                missing = not verify.has_index(self._fs, root)
                amiss = misplaced.found(self._fs, root)
            finally:
                self._fs.close(root)
        told = verify.misplaced_lines(ref, amiss)
        if missing:
            return [*told, f"{ref.local}@{ref.domain}: index is missing"]
        try:
            return [*told, *self._verify_opened(ref, amiss, wait)]
        except LockKeptError:
            raise
        except MailError:
            if not told:  # which tell why
                raise
            return told

    def _verify_opened(self, ref: AccountRef, amiss: misplaced.Misplaced, wait: float) -> list[str]:
        handle = self._open_accounts.open_handle(ref, wait=wait)
        try:
            with handle.lock.held(wait), translated():
                return verify.verify_account(handle, amiss)
        except IndexDamagedError as error:
            return [f"{ref.address}: index is damaged: {error}"]
        finally:
            handle.close()

    async def _rebuild(self, rebuilding: Rebuilding) -> int:
        accounts = self._open_accounts
        try:
            await accounts.patiently(rebuilding.read)
            await accounts.patiently(rebuilding.install)
            return await accounts.patiently(rebuilding.catch_up)
        finally:
            closing = asyncio.get_running_loop().run_in_executor(self._pool, rebuilding.close)
            task = asyncio.current_task()
            if task is not None and not task.cancelling():  # else a step may go on for long: it is closed behind it
                await closing


def _what(data: Path, error: OSError) -> str:
    """Why it cannot be opened, and what to do about it: `init` makes a new one, and never what one lacks."""
    where = data / os.fsdecode(error.filename or "")
    if isinstance(error, FileNotFoundError):
        new = "; a new installation: beffroi init" if where == data else ""
        return f"{where}: {error.strerror} (is its disk mounted?{new})"
    if not isinstance(error, PermissionError):
        return f"{where}: {error.strerror}"
    try:
        owner = f" (it belongs to user number {where.stat().st_uid}; we are {os.geteuid()})"
    except OSError:
        owner = ""
    return f"{where}: {error.strerror}{owner}"


def _check_directory(fs: FileSystem, directory: int, path: Path) -> None:
    """Ours by its marker, writable by us alone, on a file system that tells "a" from "A" (row 112)."""
    if not fs.exists(directory, layout.MARKER):
        raise FileNotFoundError(2, f"the marker file {layout.MARKER} is missing", str(path))
    if fs.exists(directory, layout.MARKER.upper()):
        raise OSError(22, "the file system does not tell upper from lower case")
    status = fs.status(directory)
    if status.st_mode & (stat.S_IWOTH | stat.S_IWGRP):
        raise PermissionError(1, "others may write into it", str(path))
    if os.geteuid() != status.st_uid:  # root too: the files it would make could not be read by the suite
        raise PermissionError(1, "run as the user to whom it belongs", str(path))


def _affordable_accounts() -> int:
    """An open account holds about a dozen descriptors; half of what the process may have goes to them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = MOST_OPEN if soft == resource.RLIM_INFINITY else soft // 2 // DESCRIPTORS_PER_ACCOUNT
    return max(8, min(MOST_OPEN, allowed))


def _tell_death(task: asyncio.Task[None]) -> None:
    """A background task ends by cancellation only; anything else is a bug that must be seen."""
    if not task.cancelled() and task.exception() is not None:
        log.error("store-task-died", cause=repr(task.exception()))
