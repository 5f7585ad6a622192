"""A disk that fails: each call of each operation refused once, or from then on until it is mended (faults 149-154).

The n-th call that can fail does, n = 1, 2, … until an operation needs fewer. Then: the answer is a success or the exact
refusal, never anything else and never late; what was refused is not there, what was answered is; reading and deleting
work; when the disk is whole again everything works, and the store verifies. SQLite's own calls fail in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import apsw

from core.clock import ManualClock
from core.errors import ConflictError, NotFoundError, StorageError
from message.content import BytesContent
from store.fsops import FileSystem
from store.service import MaildirStore, initialise
from store.store import AccountStore
from store.transaction import Transaction, UndoFailedError
from store.types import Flag, Placement, Uid
from tests.torture.judge import Found, look
from tests.torture.load import mail
from tests.torture.recorder import BASE
from tests.torture.refused import with_a_flush
from tests.torture.workload import MAIRIE, VOISIN, WHOLE

PATIENCE = 20.0  # seconds after which an answer counts as none
MOST_CALLS = 300
OPENS = ("open_directory", "create", "nameless", "open_to_update", "open_to_read")
SYNCS = ("sync", "sync_data")
GROWS = ("make_directory", "create", "nameless", "open_to_update", "write", "reserve", "link", "link_open", "rename")
CHANGES = (*GROWS, *SYNCS, "set_time", "truncate", "unlink")


@dataclass(slots=True)
class Fault:
    """What fails: `calls` of the store and `sqlite` calls, with `number`; `code` of the refusal expected."""

    number: int
    calls: tuple[str, ...]
    sqlite: tuple[str, ...]
    codes: tuple[str, ...]


FAULTS = {
    "ENOSPC": Fault(errno.ENOSPC, (*GROWS, *SYNCS), ("xWrite", "xSync"), ("storage-full",)),
    "EIO": Fault(errno.EIO, CHANGES, ("xWrite", "xSync"), ("storage",)),
    "EDQUOT": Fault(errno.EDQUOT, GROWS, (), ("storage-full",)),
    "EMFILE": Fault(errno.EMFILE, OPENS, ("xOpen",), ("storage",)),
    "failing sync": Fault(errno.EIO, SYNCS, ("xSync",), ("storage",)),
    "bad journal": Fault(errno.EIO, ("sync_data", "truncate"), (), ("storage",)),  # as over a bad sector
}


@dataclass(slots=True)
class Trouble:
    """Counts the calls that can fail; the `at`-th does, and with `lasting` all behind it. 0: the disk is whole."""

    fault: Fault
    at: int = 0
    lasting: bool = False
    seen: int = 0
    failed: list[str] = field(default_factory=list)
    left_half: bool = False  # an undo failed, too: what was refused may be there for whoever looks next

    def meets(self, call: str, wanted: tuple[str, ...]) -> bool:
        if not self.at or call not in wanted:
            return False
        self.seen += 1
        if self.seen == self.at or (self.lasting and self.seen > self.at):
            self.failed.append(call)
            return True
        return False

    def mend(self) -> None:
        self.at = 0


class FailingFileSystem(FileSystem):
    """The real calls, with `trouble`."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__()
        self.trouble = trouble


def _may_fail(name: str) -> Callable[..., Any]:
    plain = getattr(FileSystem, name)

    def method(self: FailingFileSystem, *arguments: Any) -> Any:
        if self.trouble.meets(name, self.trouble.fault.calls):
            if name.startswith("sync"):
                self.failed_syncs += 1
            raise OSError(self.trouble.fault.number, os.strerror(self.trouble.fault.number))
        return plain(self, *arguments)

    return method


for _name in {*CHANGES, *OPENS}:
    setattr(FailingFileSystem, _name, _may_fail(_name))


class FailingVfs(apsw.VFS):
    """SQLite's calls with the same trouble. While it lives it is the default of this process."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        super().__init__("failing", BASE, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        if self.trouble.meets("xOpen", self.trouble.fault.sqlite):
            raise apsw.CantOpenError
        return FailingFile(self.trouble, name, flags)


class FailingFile(apsw.VFSFile):
    def __init__(self, trouble: Trouble, name: Any, flags: list[int]) -> None:
        super().__init__(BASE, name, flags)
        self._trouble = trouble

    def _check(self, call: str) -> None:
        if self._trouble.meets(call, self._trouble.fault.sqlite):
            raise apsw.FullError if self._trouble.fault.number == errno.ENOSPC else apsw.IOError

    def xWrite(self, data: bytes, offset: int) -> None:
        self._check("xWrite")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self._check("xSync")
        super().xSync(flags)


# -- operations --------------------------------------------------------------------------------------------------------

Operation = Callable[[MaildirStore, AccountStore], Awaitable[object]]


async def _deliver(store: MaildirStore, _account: AccountStore) -> None:
    async with await store.stage(b"", BytesContent(mail("new")), first=MAIRIE, synced=False) as staged:
        await staged.deliver(MAIRIE, Placement(delivery_id="new maire"))


async def _append(_store: MaildirStore, account: AccountStore) -> None:
    placement = Placement("Archive", keywords=("Nouveau",))
    await account.append([(BytesContent(mail(f"new{number}")), placement) for number in range(2)])


async def _copy(_store: MaildirStore, account: AccountStore) -> None:
    await (await account.mailbox("INBOX")).copy([(1, 2)], "Archive")


async def _move(_store: MaildirStore, account: AccountStore) -> None:
    await (await account.mailbox("INBOX")).move([(1, 2)], "Archive")


async def _expunge(_store: MaildirStore, account: AccountStore) -> None:
    await (await account.mailbox("INBOX")).expunge([(1, 1)], only_deleted=False)


async def _flags(_store: MaildirStore, account: AccountStore) -> None:
    await (await account.mailbox("INBOX")).store_flags(WHOLE, add=Flag.FLAGGED, add_keywords=("Autre",))


async def _create(_store: MaildirStore, account: AccountStore) -> None:
    await account.create("E/f")


async def _rename(_store: MaildirStore, account: AccountStore) -> None:
    await account.rename("D", "Z")


async def _rename_inbox(_store: MaildirStore, account: AccountStore) -> None:
    """Its mail moves to a folder that is made for it."""
    await account.rename("INBOX", "Z")


async def _delete(_store: MaildirStore, account: AccountStore) -> None:
    await account.delete("D/e")


def _flushed(operation: Operation) -> Operation:
    """In one batch with a flush."""

    async def both(store: MaildirStore, account: AccountStore) -> None:
        async with with_a_flush():
            await operation(store, account)

    return both


OPERATIONS: dict[str, Operation] = {
    "deliver": _deliver,
    "append": _append,
    "copy": _copy,
    "move": _move,
    "expunge": _expunge,
    "flags": _flags,
    "create": _create,
    "rename": _rename,
    "rename INBOX": _rename_inbox,
    "delete": _delete,
    "move with a flush": _flushed(_move),
    "expunge with a flush": _flushed(_expunge),
    "flags with a flush": _flushed(_flags),
}


@dataclass(slots=True)
class Case:
    operation: str
    fault: str
    at: int
    lasting: bool

    def __str__(self) -> str:
        return f"{self.operation}, {self.fault} at call {self.at}{' and ever after' if self.lasting else ''}"


@contextlib.contextmanager
def failing(trouble: Trouble) -> Iterator[FailingFileSystem]:
    plain = Transaction._undo

    def undo(transaction: Transaction, links: int, steps: int) -> None:
        try:
            plain(transaction, links, steps)
        except UndoFailedError:
            trouble.left_half = True
            raise

    vfs = FailingVfs(trouble)
    try:
        with patch.object(Transaction, "_undo", undo):
            yield FailingFileSystem(trouble)
    finally:
        vfs.unregister()


async def one(data: Path, case: Case) -> tuple[list[str], bool]:
    """Violations, and whether the operation came to the call that fails."""
    trouble = Trouble(FAULTS[case.fault])
    initialise(data)
    with failing(trouble) as fs:
        store = MaildirStore(data, clock=ManualClock(), fs=fs)
        await store.open()
        try:
            lines = await _examined(store, case, trouble)
        finally:
            trouble.mend()
            await store.close()
    return [f"{case} ({', '.join(trouble.failed[:3])}): {line}" for line in lines], bool(trouble.failed)


async def _examined(store: MaildirStore, case: Case, trouble: Trouble) -> list[str]:
    account = await store.account(MAIRIE)
    await account.create("D/e")
    await account.append([(BytesContent(mail(f"old{number}")), Placement(keywords=("Urgent",))) for number in range(3)])
    await store.flush()
    before = await look(account)
    trouble.at, trouble.lasting = case.at, case.lasting
    lines: list[str] = []
    refused = False
    try:
        async with asyncio.timeout(PATIENCE):
            await OPERATIONS[case.operation](store, account)
    except StorageError as error:
        refused = True
        if error.code not in trouble.fault.codes:
            lines.append(f"refused with {error.code} {error.fields}")
    except TimeoutError:
        lines.append("no answer")
    half = case.lasting and trouble.left_half  # docs/reliability.md: a disk that fails twice
    lines += await _while_failing(store, account, case.operation, before, refused=refused, half=half)
    trouble.mend()
    return [*lines, *await _mended(store, account, case.operation, before, refused, case.lasting)]


async def _while_failing(
    store: MaildirStore, account: AccountStore, operation: str, before: Found, *, refused: bool, half: bool
) -> list[str]:
    """Reading works whatever fails; a refused change shows nothing, or, where its undo failed, too, nothing but itself
    (`half`)."""
    try:
        now = await _seen(account, before, half)
    except StorageError as error:  # without a descriptor nothing can be opened, and that is what is said
        return [] if "Too many open files" in str(error.fields) else [f"cannot be read: {error.fields}"]
    lines = _beyond(operation, before, now)
    if refused and not half and _visible(now) != _visible(before):
        lines.append("a refused change is visible")
    mailbox = await account.mailbox("INBOX")
    for folder_id, uid in now.mail:
        if folder_id == mailbox.folder_id:
            try:
                file = await mailbox.open(Uid(uid))
                await file.read(0, file.size)
                file.close()
            except (StorageError, NotFoundError) as error:
                if "Too many open files" not in str(error.fields):
                    lines.append(f"UID {uid} cannot be read: {error!r} {error.fields}")
    return lines


async def _seen(account: AccountStore, before: Found, half: bool) -> Found:
    """A folder that was refused and is there all the same has mail that the index cannot be told of."""
    try:
        return await look(account)
    except StorageError:
        if not half:
            raise
    return await look(account, before.folders)


def _visible(found: Found) -> object:
    """What a client sees; numbers may have been used up by a refused change."""
    folders = {(folder.id, folder.name, folder.messages, folder.unseen) for folder in found.folders.values()}
    return folders, dict(found.mail)


def _beyond(operation: str, before: Found, now: Found) -> list[str]:
    """What goes or comes that nothing of the operation, whole or in parts, takes away or brings."""
    what = operation.partition(" ")[0]
    had, has = ({item.email_id for item in found.mail.values()} for found in (before, now))
    gone, names = had - has, {folder.name for folder in before.folders.values()}
    lines = [f"{len(gone)} messages are gone"] if len(gone) > (what == "expunge") else []
    if has - had and what not in ("deliver", "append"):
        lines.append(f"{len(has - had)} messages came")
    if before.folders.keys() - now.folders.keys() and what != "delete":
        lines.append("a folder is gone")
    came = {folder.name for folder in now.folders.values()} - names
    if came - {"E", "E/f", "Z", "Z/e"}:
        lines.append(f"folders came: {sorted(came)}")
    return lines


async def _mended(
    store: MaildirStore, account: AccountStore, operation: str, before: Found, refused: bool, lasting: bool
) -> list[str]:
    lines: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE):
            if refused:
                # what a disk that fails for good kept from being undone may be there for the next writer to complete
                with contextlib.suppress(*([ConflictError, NotFoundError] if lasting else [])):
                    await OPERATIONS[operation](store, account)
            after = await look(account)
            lines += _beyond(operation, before, after)
            if _visible(after) == _visible(before):
                lines.append("the change was answered and did not happen")
            await store.flush()
            await (await account.mailbox("INBOX")).expunge(WHOLE, only_deleted=False)
            async with await store.stage(b"", BytesContent(mail("last")), first=VOISIN) as staged:
                for ref in (MAIRIE, VOISIN):
                    await staged.deliver(ref, Placement())
            lines += [f"verify: {line}" for line in await store.verify(None)]
            shown = await look(account)
            await store.rebuild(None)
            if _visible(await look(account)) != _visible(shown):
                lines.append("rebuilt otherwise")
    except (StorageError, TimeoutError) as error:
        lines.append(f"does not recover: {error!r} {getattr(error, 'fields', '')}")
    return lines


async def every_call(room: Path, operation: str, fault: str, *, lasting: bool, step: int = 1) -> tuple[list[str], int]:
    """Violations, and how many calls were made to fail."""
    violations: list[str] = []
    for count, at in enumerate(range(1, MOST_CALLS, step)):
        lines, met = await one(room / f"{operation}-{fault}-{at}-{lasting}", Case(operation, fault, at, lasting))
        violations += lines
        if not met:
            return violations, count
    return violations, count
