"""One account as protocols and delivery see it: its folders, its size, what is appended to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

import core.log
from core.errors import InvalidError, MailError, NotFoundError, StorageError, of_one
from message.content import Content
from store import catalog, copy, expunge, folders, newcomers, place, records, recycle, sidefile, structure
from store.accounts import Accounts
from store.changes import ChangeHub
from store.delivery import discarded, stage_all
from store.entry import Entry
from store.faults import whole
from store.handle import Handle, Tools
from store.importing import Unread
from store.index import Connection
from store.mailbox import FolderView, glanced
from store.names import folder_name
from store.stage import SMALL, TemporaryFile
from store.store import Mailbox
from store.transaction import Transaction
from store.types import INBOX, AccountRef, Appended, Folder, Hint, Placement, Room, Snapshot

T = TypeVar("T")
log = core.log.get(__name__)
TOGETHER = 500  # folders whose recent messages are counted between two turns of the loop


class Account:
    """Implements `store.store.AccountStore`. Light: the heavy parts live in `Accounts` and come and go."""

    __slots__ = ("_accounts", "_hub", "_pool", "_recycle_root", "_ref", "_tools")

    def __init__(
        self, accounts: Accounts, hub: ChangeHub, tools: Tools, pool: Executor, ref: AccountRef, recycle_root: int
    ) -> None:
        self._accounts, self._hub, self._tools, self._pool = accounts, hub, tools, pool
        self._ref, self._recycle_root = ref, recycle_root

    @property
    def ref(self) -> AccountRef:
        return self._ref

    async def _entry(self) -> Entry:
        return await self._accounts.use(self._ref)

    async def _read(self, ask: Callable[[Connection], T]) -> T:
        return await self._accounts.read(self._ref, lambda handle: ask(handle.reader))

    async def _write(self, work: Callable[[Transaction], T]) -> T:
        return await (await self._entry()).writer.submit(work)

    # -- folders -------------------------------------------------------------------------------------------------------

    async def _agreed(self) -> bool:
        """Whether folders were changed by hand, which the index knows now. A disk that does not let it know keeps
        nobody from what it knew."""
        if not await self._accounts.read(self._ref, lambda handle: structure.differs(handle, handle.reader)):
            return False
        with contextlib.suppress(StorageError):
            await self._write(_nothing)
        return True

    async def folders(self) -> Sequence[Folder]:
        await self._agreed()
        return await self._read(catalog.values)

    async def folder(self, name: str) -> Folder | None:
        try:
            wanted = folder_name(name)
        except InvalidError:  # a name that cannot exist does not
            return None
        row = await self._accounts.read(self._ref, lambda handle: catalog.by_name(handle.reader, wanted), once=True)
        if row is None and await self._agreed():
            row = await self._read(lambda db: catalog.by_name(db, wanted))
        return None if row is None else row.value()

    async def recent(self, folders: Sequence[Folder]) -> Sequence[int]:
        found: list[int] = []
        for start in range(0, len(folders), TOGETHER):
            if start:
                await asyncio.sleep(0)
            some = folders[start : start + TOGETHER]
            found += await self._accounts.read(self._ref, partial(_recent, folders=some))
        return found

    async def mailbox(self, name: str) -> Mailbox:
        folder = await self.folder(name)
        if folder is None:
            raise NotFoundError("no such folder", code="no-folder")
        return self.opened(folder)

    async def glance(self, name: str, *, take_recent: bool = False) -> Snapshot | None:
        try:
            wanted = folder_name(name)
        except InvalidError:
            return None

        def ask(handle: Handle) -> Snapshot | None:
            row = catalog.by_name(handle.reader, wanted)
            return None if row is None else glanced(handle, row, take_recent=take_recent)

        return await self._accounts.read(self._ref, ask)

    def opened(self, folder: Folder) -> Mailbox:
        return FolderView(self._accounts, self._ref, folder.id, self._pool)

    async def create(self, name: str, *, special_use: str = "", subscribed: bool = True) -> Folder:
        made = partial(folders.create, name=name, special_use=special_use, subscribed=subscribed)
        row = await self._write(made)
        return row.value()

    async def rename(self, old: str, new: str) -> None:
        if folder_name(old) == INBOX:
            await self._write(lambda transaction: _empty_inbox_into(transaction, new))
        else:
            await self._write(lambda transaction: folders.rename(transaction, old, new))

    async def delete(self, name: str) -> None:
        bin_of_account = partial(recycle.opened, self._tools.fs, self._recycle_root, self._ref)
        await self._write(lambda transaction: folders.delete(transaction, name, bin_of_account))

    async def subscribe(self, name: str, subscribed: bool) -> None:
        await self._write(lambda transaction: folders.subscribe(transaction, name, subscribed))

    async def subscriptions(self) -> Sequence[str]:
        """Reads the account's side file for names without a folder."""
        present = await self._read(catalog.subscribed)
        entry = await self._entry()
        with whole():
            file = sidefile.read_account(entry.handle.fs, entry.handle.root)
        return list(dict.fromkeys([*present, *(file.subscriptions if file else ())]))

    # -- messages ------------------------------------------------------------------------------------------------------

    async def append(self, items: Sequence[tuple[Content, Placement]]) -> Sequence[Appended]:
        (outcome,) = await self.append_each([items])
        if isinstance(outcome, MailError):
            raise outcome
        return outcome

    async def append_each(
        self, commands: Sequence[Sequence[tuple[Content, Placement]]]
    ) -> Sequence[Sequence[Appended] | MailError]:
        """All octets are synced before the first command is submitted, and all are submitted before the writer begins:
        they are one batch, in their order."""
        room = await self._accounts.sums.room(self._ref)
        entry = await self._entry()
        staged: list[TemporaryFile] = []
        with entry.handle.pinned():
            try:
                flat = [item for items in commands for item in items]
                together = max(map(len, commands))  # of one command
                await stage_all(self._pool, self._accounts.syncs, entry, flat, staged, together=together)
                files = iter(staged)
                submitted = [
                    self._submit(entry, [(next(files), placement) for _, placement in items], room)
                    for items in commands
                ]
                outcomes = await _outcomes(submitted)
            finally:
                await discarded(self._pool, self._tools, staged)
            self._scan_behind(entry, commands, staged, outcomes)
            return outcomes

    def _scan_behind(
        self,
        entry: Entry,
        commands: Sequence[Sequence[tuple[Content, Placement]]],
        staged: Sequence[TemporaryFile],
        outcomes: Sequence[Sequence[Appended] | MailError],
    ) -> None:
        """What was acknowledged unread is at hand still."""
        files = iter(staged)
        for items, outcome in zip(commands, outcomes, strict=True):
            mine = [next(files) for _ in items]
            if isinstance(outcome, MailError):
                continue
            unread = [
                Unread(made.uid, content.read(0, content.size), file.prepared.internal_date)
                for (content, _), file, made in zip(items, mine, outcome, strict=True)
                if not file.prepared.email_id and made.folder_id == outcome[0].folder_id
            ]
            if unread:
                self._accounts.imports.begin(entry, outcome[0].folder_id, unread)

    @staticmethod
    async def _submit(entry: Entry, pairs: Sequence[tuple[TemporaryFile, Placement]], room: Room) -> Sequence[Appended]:
        return await entry.writer.submit(
            lambda transaction: place.append(transaction, pairs, room),
            small=len(pairs) == 1 and pairs[0][0].prepared.size <= SMALL,
        )

    async def usage(self) -> tuple[int, int]:
        row = await self._read(lambda db: db.one("SELECT octets, messages FROM state"))
        return (row[0], row[1]) if row else (0, 0)

    async def organisation_usage(self) -> int:
        if not self._ref.organisation_quota:
            return 0
        return await self._accounts.sums.used(self._ref.organisation_id)

    def listen(self, callback: Callable[[Hint], None]) -> Callable[[], None]:
        return self._hub.listen(self._ref, callback)


def _nothing(_transaction: Transaction) -> None:
    """Before any change folders and index agree."""


def _recent(handle: Handle, folders: Sequence[Folder]) -> list[int]:
    """Of each of them; of one that is gone whatever was there."""
    db, fs, root = handle.reader, handle.fs, handle.root
    numbers = catalog.numbers(db, folders[0].id if len(folders) == 1 else "")
    asked = [(numbers.get(each.id, 0), each.uidvalidity) for each in folders]
    firsts = newcomers.every(fs, root, asked)
    if firsts is None:
        newcomers.ensure(fs, root, db)
        firsts = newcomers.every(fs, root, asked) or [newcomers.FIRST] * len(folders)
    found = [0] * len(folders)  # nothing is recent in most
    for at, (each, first) in enumerate(zip(folders, firsts, strict=True)):
        if first < each.uidnext:
            extent = catalog.Brief(numbers.get(each.id, 0), each.uidvalidity, each.uidnext, each.messages)
            found[at] = records.recent(db, extent, first)
    return found


async def _outcomes(
    submitted: Sequence[Coroutine[None, None, Sequence[Appended]]],
) -> Sequence[Sequence[Appended] | MailError]:
    """A bug in one of several is that one's answer: the others are committed, and must be told so (promise P2)."""
    outcomes: list[Sequence[Appended] | MailError] = []
    for outcome in await asyncio.gather(*submitted, return_exceptions=True):
        if isinstance(outcome, Exception) and not isinstance(outcome, MailError) and len(submitted) > 1:
            log.error("store-append-failed", exc_info=outcome)
            outcome = of_one(outcome)
        if isinstance(outcome, BaseException) and not isinstance(outcome, MailError):
            raise outcome
        outcomes.append(outcome)
    return outcomes


def _empty_inbox_into(transaction: Transaction, new: str) -> None:
    """INBOX renamed: its messages move to a new folder, an empty INBOX stays (RFC 9051 6.3.6)."""
    inbox = folders.existing(transaction, INBOX)
    folders.make_parents(transaction, new)
    folders.create(transaction, new, subscribed=inbox.subscribed)
    copy.move(transaction, inbox.id, expunge.EVERYTHING, new)
