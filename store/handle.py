"""One account open in this process: its directory, lock, index connections and the descriptors of its folders.

Knows when its index is not the one it opened any more. Refuses to know what is stored in it. Descriptors are kept in
two bounded sets, one for the event loop and one for the thread that holds the account lock, so that neither closes
what the other is using.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import core.log
from core.clock import Clock
from core.config import Limits
from core.errors import StorageError
from core.ids import Ids
from message.content import Content
from message.facts import Facts
from store import index as index_file
from store import sidefile
from store.fsops import FileSystem
from store.index import Connection, Index
from store.layout import STANDARD
from store.lockfile import AccountLock
from store.types import AccountRef

if TYPE_CHECKING:
    from store.records import Prepared

log = core.log.get(__name__)

MOST_TOLD = 1000  # odd files told in the log while an account is open
MOST_LEFT = 100  # files left alone in a folder whose own times are compared at each SELECT: 0.2 ms
OPEN_FOLDERS = 24  # descriptors of cur/ kept open on each side


class ReadingAhead(Protocol):
    """`store.readers.Readers`, while indexes are made again."""

    def wanted(self, messages: int) -> bool: ...

    def read(self, directory: str, names: Sequence[str]) -> Iterator[tuple[str, Prepared | None]]: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What every part of the store is given: calls, time, names, bounds, the scanner, which boot this is, and the
    folders a new account starts with (name > special use, without INBOX)."""

    fs: FileSystem
    clock: Clock
    ids: Ids
    limits: Limits
    gather: Callable[[Content], Facts]
    boot: str
    fold_accents: bool = True  # in searches: what differs in accents only is found too
    standard: Mapping[str, str] = field(default_factory=lambda: STANDARD)
    readers: ReadingAhead | None = None  # other processes that read messages for this one
    indexed: Callable[[int], None] = lambda _: None  # told of messages that an index made beside has, in a thread


class Descriptors:
    """The cur/ directories of an account's folders, by folder id (so that a rename changes nothing). One that hands put
    another in the place of is the folder's no more, and what is put there is lost: so between two `trim`s each is
    compared once with what has its name."""

    def __init__(self, fs: FileSystem, root: int) -> None:
        self._fs, self._root = fs, root
        self._open: OrderedDict[str, int] = OrderedDict()
        self._compared: set[str] = set()
        self._replaced: list[int] = []  # may still be in use

    def cur(self, folder_id: str, directory: str) -> int:
        """Raises OSError."""
        if folder_id in self._compared:
            return self._open[folder_id]
        fd = self._open.pop(folder_id, None)
        if fd is not None and not self._is_there(fd, directory):
            self._replaced.append(fd)
            fd = None
        fd = self._open[folder_id] = open_cur(self._fs, self._root, directory) if fd is None else fd
        self._compared.add(folder_id)
        return fd

    def _is_there(self, fd: int, directory: str) -> bool:
        try:
            found = self._fs.stat(self._root, f"{directory}/cur" if directory else "cur")
        except OSError:  # who opens it is told
            return False
        return os.path.samestat(found, self._fs.status(fd))

    def trim(self) -> None:
        """Close the longest unused ones past the bound; only where no descriptor given out is still in use."""
        self._compared.clear()
        while self._replaced:
            self._fs.close(self._replaced.pop())
        while len(self._open) > OPEN_FOLDERS:
            self._fs.close(self._open.popitem(last=False)[1])

    def close(self) -> None:
        self.trim()
        while self._open:
            self._fs.close(self._open.popitem()[1])


@contextlib.contextmanager
def folder_directory(fs: FileSystem, root: int, directory: str) -> Iterator[int]:
    """The directory that holds a folder's side file and journal; INBOX's ("") is the account's own."""
    if not directory:
        yield root
        return
    fd = fs.open_directory(root, directory)
    try:
        yield fd
    finally:
        fs.close(fd)


def open_cur(fs: FileSystem, root: int, directory: str) -> int:
    with folder_directory(fs, root, directory) as parent:
        return fs.open_directory(parent, "cur")


AGAIN = 5.0  # seconds after which a folder that could not be read is tried again


@dataclass(slots=True)
class Looked:
    """When the account's directory was compared with the index (`store.structure`): the time it had, and when that was,
    by the clock; `settled`: it had it long enough to show any change; `again`: when it is compared all the same, for a
    folder could not be read."""

    time: int = -1
    at: float = 0.0
    settled: int = -1
    again: float = math.inf


class Handle:
    """See the module. `pins` counts batches under way; the pool closes only what nobody pins."""

    def __init__(self, tools: Tools, ref: AccountRef, root: int) -> None:
        self.tools = tools
        self.fs = tools.fs
        self.ref = ref
        self.root = root
        status = self.fs.status(root)
        self.owner, self.device = status.st_uid, status.st_dev
        self.lock = AccountLock(self.fs, root)
        self.reading = Descriptors(self.fs, root)
        self.writing = Descriptors(self.fs, root)
        self.pins = 0
        self.closes: asyncio.Event | None = None  # of who waits until nobody pins it
        self.dirty = False  # something waits for the flusher
        self.unsynced = False  # so does the index alone, to be synced
        self.behind = False  # and one more turn of it would not be enough
        self.grown: set[str] = set()  # folders whose journal got lines since it was last looked at
        self.compacted: dict[str, int] = {}  # octets of a journal after it was written again
        self.structure = Looked()
        self.left_in_new: dict[str, object] = {}  # by a folder's id: what its new/ was before a look (`store.outside`)
        self.empty_new: dict[str, tuple[int, int]] = {}  # likewise: one that was empty, its inode and ctime
        self.left_in_cur: dict[str, dict[str, int]] = {}  # likewise: names left alone in cur/, and their ctimes
        self.unscanned = True  # the index may know messages by their names alone
        self.try_asked = self.try_behind = 0.0  # when files that could not be read are tried next, by the loop's time
        self.touched = False  # something was written since the last clean stop
        self._told: set[tuple[str, str]] = set()
        self._index: Index | None = None
        self._retired: list[Connection] = []

    @property
    def index(self) -> Index:
        if self._index is None:
            raise StorageError("the account is not open", code="storage")
        return self._index

    @property
    def reader(self) -> Connection:
        """For the event loop thread alone."""
        return self.index.read

    @property
    def writer(self) -> Connection:
        """For the holder of the account lock alone."""
        return self.index.writer

    @property
    def waits(self) -> bool:
        """For the flusher."""
        return self.dirty or self.unsynced

    def pinned(self) -> contextlib.AbstractContextManager[None]:
        """On the event loop: whoever works with the account beyond one step keeps it open. Each message does so three
        times, and nothing is made for it."""
        return self

    def __enter__(self) -> None:
        self.pins += 1

    def __exit__(self, *_: object) -> None:
        self.pins -= 1
        if self.closes is not None and not self.pins:
            self.closes.set()

    async def unpinned(self) -> None:
        """Until nobody pins it: for the one who closes it."""
        if self.pins:
            self.closes = asyncio.Event()
            await self.closes.wait()

    def tell_once(self, event: str, name: str, **fields: object) -> None:
        """What is wrong with a file: in the log, once while the account is open."""
        told = event, name.partition(":2,")[0]
        if told not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(told)
            log.warning(event, account=self.ref.id, **fields)

    def leave_in_cur(self, folder_id: str, name: str, status: os.stat_result) -> None:
        """It can be no message as it is; it is looked at again once that changes (`store.outside`)."""
        left = self.left_in_cur.setdefault(folder_id, {})
        if len(left) < MOST_LEFT:
            left[name] = status.st_ctime_ns

    def tell_unread(self, name: str, error: OSError) -> None:
        """A message's file that cannot be read."""
        self.tell_once("store-message-unread", name, file=name, cause=str(error))

    def read_cur(self, folder_id: str, directory: str) -> int:
        """A folder's cur/ for the event loop thread; good until the next call."""
        self.reading.trim()
        return self.reading.cur(folder_id, directory)

    def is_current(self) -> bool:
        return self._index is not None and self._index.is_current()

    def is_displaced(self) -> bool:
        """Hands moved the account's directory away: what is written here is not found under its name."""
        return self._index is not None and not self._index.is_in_place()

    def is_torn(self) -> bool:
        """Some of its files are gone, and it must not be used any more, by anybody."""
        return self._index is not None and self._index.is_torn()

    def load(self) -> bool:
        """Open the index. False: it had to be made empty, and the files must be read. Under the account lock."""
        self._check_owner()
        torn = self.is_torn()
        self._retire()
        if torn:
            index_file.discard(self.fs, self.root)
        index, found = self._opened()
        try:
            index.attach()
        except BaseException:
            index.close()
            raise
        self._index = index
        self.unscanned = True
        return found

    def _check_owner(self) -> None:
        """The directory belongs to this account: never another's that had the address before (promise P8)."""
        file = sidefile.read_account(self.fs, self.root)
        if file is None:
            highest = int(self.tools.clock.now())
            file = sidefile.AccountFile(self.ref.id, self.ref.organisation_id, highest)
            sidefile.write_account(self.fs, self.root, file)
        if file.id != self.ref.id:
            raise StorageError("the mailbox is not available", code="storage-owner", found=file.id, wanted=self.ref.id)

    def _retire(self) -> None:
        """Stop using an index. Its reader may be at work on the event loop, which closes it later."""
        if self._index is not None:
            self._index.writer.close()
            if self._index.reader is not None:
                self._retired.append(self._index.reader)
            self._index = None

    def let_index_go(self) -> None:
        """Whoever uses the account next opens it again. Under the account lock."""
        self._retire()

    def close_retired(self) -> None:
        """On the event loop thread."""
        while self._retired:
            self._retired.pop().close()

    def _opened(self) -> tuple[Index, bool]:
        """The present index, or a new one where it is absent, damaged, another account's or another version's."""
        for name in index_file.INDEX_FILES:
            self._refuse_odd(name)
        path = self.fs.real_path(self.root)
        fresh = not self.fs.exists(self.root, index_file.INDEX_FILE)
        if not fresh:
            index = index_file.open_sound(self.fs, self.root, path, self.ref.id, self.tools.clock)
            if index is not None:
                return index, True
        index_file.discard(self.fs, self.root)
        index = Index(self.fs, self.root, path, self.tools.clock)
        index.make(self.ref.id)
        return index, False

    def _refuse_odd(self, name: str) -> None:
        """A symbolic link or a directory planted in the place of an index file is removed or refused (row 109)."""
        if self.fs.exists(self.root, name) and not self.fs.is_plain(self.fs.stat(self.root, name)):
            self.fs.unlink(self.root, name)

    def discard_files(self) -> None:
        """The files alone; who has them open notices."""
        index_file.discard(self.fs, self.root)

    def discard_index(self) -> None:
        self._retire()
        index_file.discard(self.fs, self.root)

    def install(self, directory: int, name: str) -> None:
        """A file made elsewhere becomes the index, after `discard_index`."""
        self.fs.rename(directory, name, self.root, index_file.INDEX_FILE)
        self.fs.sync(self.root)

    def close(self) -> None:
        """Nobody uses the handle any more."""
        self._retire()
        self.close_retired()
        self.reading.close()
        self.writing.close()
        self.lock.close()
        self.fs.close(self.root)
