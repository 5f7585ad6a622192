"""Text indexes filled in the background: of accounts that are open here and have been quiet for a while. Before that,
quiet or not, messages that are known by name alone are read (`store.unscanned`).

One thread, one turn at a time, a pause after each as long as the turn was, longer while anybody works: delivery and
sessions come first. Nothing depends on it: what is not filled is scanned when it is searched.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import core.log
from core.errors import MailError
from store import joining, records, unreadable, unscanned
from store.accounts import Accounts
from store.ending import ended
from store.entry import Entry
from store.faults import translated
from store.handle import Handle
from store.lockfile import State
from store.search import fill
from store.search.fill import Progress
from store.unscanned import START, Place

log = core.log.get(__name__)

LOOK_EVERY = 2.0  # seconds; an account that changed since the last look is left alone until the next
PAUSE = 0.01  # seconds at least between two turns
AGAIN_EVERY = 600.0  # seconds after which files that could not be read are tried again
BUSY_PAUSE = 0.2  # while somebody works with an account of this process


class Filler:
    """`close` after the task that runs `run` has ended."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="text")
        self._seen: dict[str, int] = {}  # account > generation of its index at the last look
        self._done: dict[str, int] = {}  # likewise when everything was filled

    async def run(self, accounts: Accounts) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self._look(accounts)  # which keeps no account while we sleep

    async def _look(self, accounts: Accounts) -> None:
        now = asyncio.get_running_loop().time()
        for entry in [each for each in accounts.entries() if each.handle.try_behind <= now]:
            await self._scan(accounts, entry, again=True)
        for entry in [each for each in accounts.entries() if each.handle.unscanned]:
            await self._scan(accounts, entry)
        for entry in self._wanting(accounts):
            await self._fill_quietly(accounts, entry)

    async def _scan(self, accounts: Accounts, entry: Entry, *, again: bool = False) -> None:
        """Until every message is read, or the account is closed. `again`: those that could not be read, when the
        account was opened and now and then."""
        loop, handle = asyncio.get_running_loop(), entry.handle
        if not accounts.holds(entry):  # it was let go while another was read, and is nobody's to open again
            return
        if again:
            handle.try_behind = loop.time() + AGAIN_EVERY
        else:
            handle.unscanned = False  # whoever adds such messages meanwhile says so
        try:
            await accounts.imports.over(handle.ref)
            if again:  # this look is no use of the account, or it would stay open
                with translated():
                    some = unreadable.some(handle.reader)
            else:
                some = await accounts.read(handle.ref, lambda it: records.some_named(it.reader))
            place: Place | None = START if some else None
            while place is not None and accounts.holds(entry) and handle.is_current():
                began = loop.time()
                place = await entry.writer.submit(partial(unscanned.scan_behind, place=place, again=again))
                await asyncio.sleep(max(PAUSE, loop.time() - began))
            while place is None and accounts.holds(entry) and handle.is_current() and joining.some(handle.reader):
                await entry.writer.submit(joining.join)
        except MailError as error:
            handle.unscanned = handle.unscanned or not again
            log.warning("store-scan-failed", account=handle.ref.id, code=error.code, **error.fields)
        except Exception:  # a bug met in one account must not keep the others from being read
            log.exception("store-scan-failed", account=handle.ref.id)

    def _wanting(self, accounts: Accounts) -> list[Entry]:
        """Accounts that stand where they stood at the last look, but not where they were filled."""
        entries = accounts.entries()
        generations = {entry.handle.ref.id: _generation(entry.handle) for entry in entries}
        quiet = [entry for entry in entries if self._seen.get(entry.handle.ref.id) == generations[entry.handle.ref.id]]
        self._seen = generations
        self._done = {account: seen for account, seen in self._done.items() if account in generations}
        return [entry for entry in quiet if self._done.get(entry.handle.ref.id) != generations[entry.handle.ref.id]]

    async def _fill_quietly(self, accounts: Accounts, entry: Entry) -> None:
        """Until all is filled, or the account changes or is closed."""
        loop, handle = asyncio.get_running_loop(), entry.handle
        generation = self._seen[handle.ref.id]
        while accounts.holds(entry) and handle.is_current() and _generation(handle) == generation:
            began = loop.time()
            try:
                progress = await self._turn(handle)
            except MailError as error:
                log.warning("store-text-failed", account=handle.ref.id, code=error.code, **error.fields)
                progress = Progress.DONE  # until the account changes
            if progress is not Progress.MORE:
                if progress is Progress.DONE:
                    self._done[handle.ref.id] = generation
                return
            working = any(each.handle.pins for each in accounts.entries())
            await asyncio.sleep(max(BUSY_PAUSE if working else PAUSE, loop.time() - began))

    async def fill(self, entry: Entry) -> None:
        """One account at once, to the end. Raises StorageError."""
        place: Place | None = START if records.some_named(entry.handle.reader) else None
        while place is not None:
            place = await entry.writer.submit(partial(unscanned.scan_behind, place=place))
        while joining.some(entry.handle.reader):
            await entry.writer.submit(joining.join)
        progress = Progress.MORE
        while progress is not Progress.DONE:
            progress = await self._turn(entry.handle)
            if progress is Progress.BUSY:
                await asyncio.sleep(BUSY_PAUSE)

    def settled(self, handle: Handle) -> bool:
        """Nothing is left to do in the account as it stands."""
        generation = _generation(handle)
        return not handle.unscanned and generation != -1 and self._done.get(handle.ref.id) == generation

    async def _turn(self, handle: Handle) -> Progress:
        """The account stays open until the thread is done with it, also when we are cancelled."""
        with handle.pinned():
            return await ended(asyncio.get_running_loop().run_in_executor(self._pool, fill.turn, handle))

    def close(self) -> None:
        self._pool.shutdown(wait=False)


def _generation(handle: Handle) -> int:
    """-1 while a writer is at work, and where the disk does not tell: one account is not the others' affair."""
    try:
        word = handle.lock.read()
    except OSError:
        return -1
    return -1 if word is None or word.state is State.BUSY else word.generation
