"""What an administrator does with whole accounts: the recycle bin, mail brought back, mail that nobody owns.

Implements `store.store.StoreAdministration`. Refuses to know who may do it: callers compare `organisation_id`.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import core.log
from core.errors import ConflictError, InvalidError, MailError, NotFoundError
from store import backup, copies, layout, mending, recycle, sidefile, verify
from store.accounts import Accounts
from store.dovecot import source
from store.dovecot.convert import Conversion
from store.faults import is_no_directory, line_of, of_a_file, storage_error, whole
from store.handle import Tools, folder_directory
from store.names import account_directory
from store.restore import Restoration, Source, opened_copy
from store.store import AccountStore
from store.types import AccountRef, Adopted, Recycled, Restored

log = core.log.get(__name__)
T = TypeVar("T")

DAY = 86_400
PURGE_EVERY = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Places:
    """Descriptors of DATA/domains and DATA/recycle."""

    domains: int
    recycle: int


class Administration:
    """One per open store."""

    def __init__(
        self,
        tools: Tools,
        places: Places,
        accounts: Accounts,
        pool: Executor,
        account: Callable[[AccountRef], Awaitable[AccountStore]],
    ) -> None:
        self._tools, self._places, self._accounts, self._pool, self._account = tools, places, accounts, pool, account

    async def _in_thread(self, work: Callable[[], T]) -> T:
        def run() -> T:
            with whole():
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    async def _patiently(self, work: Callable[[float], T]) -> T:
        """The same for what locks an account, told how many seconds it may wait."""

        def run(wait: float) -> T:
            with whole():
                return work(wait)

        return await self._accounts.patiently(run)

    # -- the recycle bin -----------------------------------------------------------------------------------------------

    async def recycled(self, organisation_id: str | None = None) -> Sequence[Recycled]:
        found = await self._in_thread(partial(recycle.contents, self._tools.fs, self._places.recycle))
        return [item for item in found if organisation_id in (None, item.organisation_id)]

    async def restore(self, ref: AccountRef, items: Sequence[Recycled]) -> Restored:
        restoration = self._restoration(ref)
        with contextlib.ExitStack() as stack:
            sources = []
            for item in items:
                _check_owner(ref, item)
                try:
                    fd = stack.enter_context(recycle.entry(self._tools.fs, self._places.recycle, item))
                except OSError as error:
                    if is_no_directory(error):
                        raise NotFoundError("no such item in the recycle bin", code="no-item") from error
                    if not of_a_file(error):
                        raise storage_error(error) from error
                    restoration.leave_out(item.id, error)
                    continue
                sources.append(Source(fd, single=bool(item.folder), ours=True))
            return await restoration.run(await self._account(ref), sources, None)

    async def restore_copy(self, ref: AccountRef, data: Path, folder: str | None = None) -> Restored:
        with opened_copy(self._tools.fs, str(data), ref, account_directory(ref.local)) as source:
            return await self._restoration(ref).run(await self._account(ref), [source], folder)

    def _restoration(self, ref: AccountRef) -> Restoration:
        today = datetime.datetime.fromtimestamp(self._tools.clock.now()).date()
        return Restoration(self._accounts, self._pool, self._tools.fs, ref, today.isoformat())

    async def give_back(self, ref: AccountRef, item: Recycled) -> Restored:
        _check_owner(ref, item)
        if item.folder:
            raise NotFoundError("a folder comes back beside the others", code="no-account-item")
        await self._accounts.release(ref)
        await self._patiently(partial(self._give_back, ref, item))
        log.info("store-given-back", account=ref.id, item=item.id)
        return Restored("", 0, item.messages)

    def _give_back(self, ref: AccountRef, item: Recycled, wait: float) -> None:
        fs, places = self._tools.fs, self._places
        with contextlib.suppress(FileNotFoundError), recycle.entry(fs, places.recycle, item):
            self._check_empty(ref, wait, put_aside=True)
            try:
                recycle.give_back(fs, places.domains, places.recycle, ref, item)
            except FileExistsError:
                raise ConflictError("somebody else's mail lies at this address", code="mailbox-occupied") from None
            return
        raise NotFoundError("no such item in the recycle bin", code="no-item")

    def _check_empty(self, ref: AccountRef, wait: float, *, put_aside: bool = False) -> None:
        """Raises ConflictError when a message is in the account already; what else it has can be put aside.
        LockKeptError."""
        if ref.id not in {
            found.id for found in verify.accounts_on_disk(self._tools.fs, self._places.domains, ref.domain)
        }:
            return
        handle = self._accounts.open_handle(ref, wait=wait)
        try:
            with handle.lock.held(wait):
                if handle.writer.value("SELECT messages FROM state"):
                    raise ConflictError("the mailbox holds mail already", code="mailbox-not-empty")
                if put_aside:
                    recycle.remove_account(handle, self._places.domains, self._places.recycle, recycle.EMPTY)
        finally:
            handle.close()

    # -- another server's mail -----------------------------------------------------------------------------------------

    async def adopt(self, ref: AccountRef, maildir: Path, *, finish: bool) -> Adopted:
        await self._accounts.release(ref)
        adopted = await self._patiently(partial(self._adopt, ref, str(maildir), finish))
        if finish:
            await self._account(ref)  # the index is made now, not at the first login
        log.info("store-adoption-done", account=ref.id, messages=adopted.messages, copied=adopted.copied, finish=finish)
        return adopted

    def _adopt(self, ref: AccountRef, maildir: str, finish: bool, wait: float) -> Adopted:
        fs = self._tools.fs
        try:
            origin = fs.open_root(maildir)
        except NotADirectoryError as error:
            raise source.not_a_directory(fs, maildir) from error
        except OSError as error:
            raise NotFoundError(f"{maildir}: {error.strerror}", code="no-maildir") from error
        try:
            source.check(fs, origin, maildir)
            domain = layout.open_domain(fs, self._places.domains, ref.domain)
            try:
                conversion = Conversion(self._tools, domain, ref, origin, maildir)
                if finish:
                    self._check_empty(ref, wait)
                adopted = conversion.prepare()
                if finish:
                    self._check_empty(ref, wait, put_aside=True)
                    conversion.place()
            finally:
                fs.close(domain)
        except FileExistsError:
            raise ConflictError("somebody else's mail lies at this address", code="mailbox-occupied") from None
        except PermissionError as error:
            raise InvalidError(f"{maildir}: {error.filename or ''} {error.strerror}", code="no-maildir") from error
        finally:
            fs.close(origin)
        return adopted

    # -- mail that nobody owns ---------------------------------------------------------------------------------------

    async def organisation_octets(self, organisation_id: str) -> int:
        return await self._accounts.sums.used(organisation_id)

    async def on_disk(self, domain: str | None = None) -> Sequence[AccountRef]:
        fs, domains = self._tools.fs, self._places.domains
        return await self._in_thread(lambda: list(verify.accounts_on_disk(fs, domains, domain, passing=True)))

    async def left_alone(self, domain: str | None) -> Sequence[str]:
        found = list[str]()
        for ref in await self.on_disk(domain):
            found += await self._in_thread(partial(self._left_alone, ref))
        return found

    def _left_alone(self, ref: AccountRef) -> list[str]:
        fs = self._tools.fs
        try:
            with folder_directory(fs, self._places.domains, f"{ref.domain}/{account_directory(ref.local)}") as root:
                return list(verify.left_alone(fs, root, ref, self._tools.limits.message_octets))
        except FileNotFoundError:  # removed meanwhile
            return []

    async def leftover(self, domain: str, local: str) -> AccountRef | None:
        return next((ref for ref in await self.on_disk(domain) if ref.local == local.casefold()), None)

    async def raise_numbers(self, domain: str | None) -> tuple[int, Sequence[str]]:
        left_out, done = list(await self._in_thread(partial(self._nameless, domain))), 0
        for ref in await self.on_disk(domain):
            try:
                await self._accounts.release(ref)
                unread = await self._patiently(partial(self._raise_numbers, ref))
                await self._account(ref)  # its index is made again
            except MailError as error:  # the others need it all the same
                left_out.append(line_of(ref, error))
            else:
                left_out += unread
                done += 1
        return done, left_out

    def _nameless(self, domain: str | None) -> list[str]:
        return list(verify.nameless(self._tools.fs, self._places.domains, domain))

    def _raise_numbers(self, ref: AccountRef, wait: float) -> list[str]:
        """A line for each folder that keeps its numbers, because it cannot be read or written."""
        handle = self._accounts.open_handle(ref, wait=wait, first=mending.complete)
        unread: list[str] = []
        try:
            with handle.lock.held(wait):
                fs, root = handle.fs, handle.root
                for folder in copies.folders(fs, root, lambda *told: unread.append(verify.unopened(ref, *told))):
                    with folder_directory(fs, root, folder.directory) as fd:
                        sidefile.write_folder(fs, fd, backup.raised(folder.file))
                handle.discard_files()
        finally:
            handle.close()
        return unread

    # -- the purge ----------------------------------------------------------------------------------------------------

    async def purge(self) -> int:
        now = int(self._tools.clock.now())
        before = now - self._tools.limits.recycle_days * DAY
        return await self._in_thread(partial(recycle.purge, self._tools.fs, self._places.recycle, before, now))

    async def run_purges(self) -> None:
        """Until cancelled; not at once, so that a short command does nothing but its work."""
        while True:
            await asyncio.sleep(PURGE_EVERY)
            try:
                await self.purge()
            except Exception:  # a disk that fails now may work at the next turn
                log.exception("store-purge-failed")


def _check_owner(ref: AccountRef, item: Recycled) -> None:
    """Never another commune's mail (promise P8): as if it were not there."""
    if not item.organisation_id or item.organisation_id != ref.organisation_id:
        raise NotFoundError("no such item in the recycle bin", code="no-item")
