"""Mail brought back from the recycle bin, or from a copy of a data directory, beside what the account has now.

It comes into folders below a new one ("Restauration 2026-11-22/Sent"), as APPEND would bring it: nothing that is there
is touched, flags, keywords and dates are kept, the quota holds, UIDs are new. A file of the recycle bin gets a second
name; a file of a copy is copied, because somebody else may change it. The source stays as it is. What the disk does not
give of it is left out by name, and everything else comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import count

import core.log
from core.errors import ConflictError, InvalidError, NotFoundError, QuotaError
from store import adopt, copies, place, records, stage, unreadable
from store.accounts import Accounts
from store.copies import CopiedFolder, CopiedMessage
from store.delivery import discarded
from store.ending import through
from store.entry import Entry
from store.faults import is_no_directory, of_a_file, whole
from store.fsops import FileSystem
from store.records import Prepared
from store.stage import TemporaryFile
from store.store import AccountStore
from store.types import DELIMITER, AccountRef, Placement, Restored, Room

log = core.log.get(__name__)

TOGETHER = 64  # messages a commit
TOLD = 50  # names of folders in a refusal
NAMED = 1000  # of what is left out; the log has the rest
OCTETS_TOGETHER = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """An account's directory, or one folder's (`single`), held open as `root`; `ours`: its files may get another
    name."""

    root: int
    single: bool
    ours: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """One folder to bring back, as `name` below the side folder."""

    source: Source
    folder: CopiedFolder
    messages: Sequence[CopiedMessage]


class Restoration:
    """One run for one account. Raises QuotaError before anything is made when it cannot all fit."""

    def __init__(self, accounts: Accounts, pool: Executor, fs: FileSystem, ref: AccountRef, date: str) -> None:
        self._accounts, self._pool, self._fs, self._ref = accounts, pool, fs, ref
        self._date = date
        self._left_out: list[str] = []

    async def run(self, account: AccountStore, sources: Sequence[Source], wanted: str | None) -> Restored:
        """`wanted`: only this folder and what is below it; None: all."""
        parts = await asyncio.get_running_loop().run_in_executor(self._pool, self._parts, sources, wanted)
        if not parts:  # nothing to make a folder for
            return Restored("", 0, 0, tuple(self._left_out))
        octets = sum(message.size for part in parts for message in part.messages)
        used, _ = await account.usage()
        room = await self._accounts.sums.room(self._ref)
        if (room.quota and used + octets > room.quota) or (room.spare is not None and octets > room.spare):
            raise QuotaError("what is to be restored does not fit into the quota", needed=octets)
        top = await self._top(account)
        restored = 0
        # What is above comes first: mail programs delete folders from below, and each making makes what is above it.
        for part in sorted(parts, key=lambda part: part.folder.name.split(DELIMITER)):
            name = await self._folder_for(account, top, part.folder)
            for chunk in _chunks(part.messages):
                restored += await self._bring(part, name, chunk)
        log.info("store-restored", account=self._ref.id, folders=len(parts), messages=restored)
        return Restored(top, len(parts), restored, tuple(self._left_out))

    def _parts(self, sources: Sequence[Source], wanted: str | None) -> list[_Part]:
        found: list[_Part] = []
        with whole():
            for source in sources:
                folders = self._folders(source, wanted)
                chosen = [folder for folder in folders if _is_wanted(folder.name, wanted)]
                if wanted is not None and not chosen and not self._left_out:
                    names = ", ".join(folder.name for folder in folders[:TOLD])
                    raise NotFoundError(f"the copy holds no folder {wanted}; it has {names}", code="no-folder")
                found += [_Part(source, folder, self._messages(source, folder)) for folder in chosen]
        # An empty folder that nobody made is not worth a name, and an account has six of them.
        return [part for part in found if part.messages or part.source.single]

    def _folders(self, source: Source, wanted: str | None) -> list[CopiedFolder]:
        def unread(directory: str, error: OSError) -> None:
            name = copies.label(directory)
            if _is_wanted(name, wanted) or name == directory:  # one of a long name may be any
                self.leave_out(name, error)

        return list(copies.folders(self._fs, source.root, unread, single=source.single))

    def _messages(self, source: Source, folder: CopiedFolder) -> Sequence[CopiedMessage]:
        try:
            return copies.messages(self._fs, source.root, folder)
        except OSError as error:
            if not (of_a_file(error) or is_no_directory(error)):
                raise
            self.leave_out(folder.name, error)
            return []

    def leave_out(self, what: str, error: OSError | str) -> None:
        cause = error if isinstance(error, str) else error.strerror or str(error)
        log.warning("store-not-restored", account=self._ref.id, what=what, cause=cause)
        if len(self._left_out) < NAMED:
            self._left_out.append(f"{what}: {cause}")
        elif len(self._left_out) == NAMED:
            self._left_out.append("more, which the log names (store-not-restored)")

    async def _top(self, account: AccountStore) -> str:
        for number in count(1):
            name = f"Restauration {self._date}" + (f" ({number})" if number > 1 else "")
            with contextlib.suppress(ConflictError):
                return (await account.create(name)).name
        raise AssertionError("count() ends")

    async def _folder_for(self, account: AccountStore, top: str, folder: CopiedFolder) -> str:
        """Below `top`; a name that is there already gets a number, one that is too deep or too long there becomes its
        last level, or its id."""
        last = folder.name.rpartition(DELIMITER)[2]
        for name in (folder.name, *(f"{folder.name} ({number})" for number in range(2, 10)), last, folder.file.id):
            with contextlib.suppress(ConflictError, InvalidError):
                return (await account.create(f"{top}{DELIMITER}{name}")).name
        return (await account.create(f"{top}{DELIMITER}{folder.file.id}.2")).name

    async def _bring(self, part: _Part, target: str, chunk: Sequence[CopiedMessage]) -> int:
        entry = await self._accounts.use(self._ref)
        loop, room = asyncio.get_running_loop(), Room(self._ref.quota)  # the ceiling was asked for all of it
        with entry.handle.pinned():
            opening = loop.run_in_executor(self._pool, self._open_all, entry, part, chunk)
            try:
                await asyncio.shield(opening)
            except asyncio.CancelledError:
                await through(opening)
                await discarded(self._pool, entry.handle.tools, [file for file, _ in opening.result()])
                raise
            files = opening.result()
            items = [(file, _placement(target, message, file)) for file, message in files]
            try:
                await entry.writer.submit(lambda transaction: place.append(transaction, items, room))
            finally:
                await discarded(self._pool, entry.handle.tools, [file for file, _ in files])
        return len(files)

    # -- in a worker thread ----------------------------------------------------------------------------------------

    def _open_all(
        self, entry: Entry, part: _Part, chunk: Sequence[CopiedMessage]
    ) -> list[tuple[TemporaryFile, CopiedMessage]]:
        files: list[tuple[TemporaryFile, CopiedMessage]] = []
        path = f"{part.folder.directory}/cur" if part.folder.directory else "cur"
        with whole(), _opened(self._fs, part.source.root, path) as cur:
            try:
                for message in chunk:
                    file = self._readable(entry, part, cur, message)
                    if file is not None:
                        files.append((file, message))
            except BaseException:
                for file, _ in files:
                    stage.discard(self._fs, file)
                raise
        return files

    def _readable(self, entry: Entry, part: _Part, cur: int, message: CopiedMessage) -> TemporaryFile | None:
        """None for what is no message (a link planted there, a file cut short), is gone, or cannot be read."""
        what = f"{part.folder.name}: file {message.name!r}"
        try:
            return self._open(entry, part.source, cur, message, what)
        except OSError as error:
            cause = self._cause(cur, message)
            if cause is None:  # it is our own disk that fails
                raise
            self.leave_out(what, cause)
            log.debug("store-restore-failed", cause=str(error))
        return None

    def _cause(self, cur: int, message: CopiedMessage) -> OSError | None:
        """Why its file cannot be read; None where it can."""
        try:
            unreadable.try_file(self._fs, cur, message.name, message.size)
        except OSError as error:
            if not (of_a_file(error) or is_no_directory(error)):
                raise
            return error
        return None

    def _open(self, entry: Entry, source: Source, cur: int, message: CopiedMessage, what: str) -> TemporaryFile | None:
        fs, tools = self._fs, entry.handle.tools
        fd = fs.open_to_read(cur, message.name)
        keep = False
        try:
            status = fs.status(fd)
            if not fs.is_plain(status) or status.st_size != message.size:
                self.leave_out(what, f"it has {status.st_size} octets, and {message.size} by its name")
                return None
            date = stage.sane_date(status.st_mtime)
            content = stage.file_content(fs, fd, message.size)
            if source.ours and (status.st_uid, status.st_dev) == (entry.handle.owner, entry.handle.device):
                email_id = records.email_id(stage.digest_of(content))
                keep = True
                return TemporaryFile(fd, Prepared(message.size, email_id, date, tools.gather(adopt.in_memory(content))))
            return stage.write(tools, entry.handle.root, b"", content, 0, date)
        except BaseException:
            keep = False
            raise
        finally:
            if not keep:
                fs.close(fd)


def _is_wanted(name: str, wanted: str | None) -> bool:
    return wanted is None or name == wanted or name.startswith(wanted + DELIMITER)


def _placement(target: str, message: CopiedMessage, file: TemporaryFile) -> Placement:
    return Placement(target, message.flags, message.keywords, file.prepared.internal_date)


def _chunks(messages: Sequence[CopiedMessage]) -> Iterator[list[CopiedMessage]]:
    """So few that nobody waits long for the account."""
    chunk: list[CopiedMessage] = []
    for message in messages:
        if chunk and (len(chunk) == TOGETHER or sum(item.size for item in chunk) + message.size > OCTETS_TOGETHER):
            yield chunk
            chunk = []
        chunk.append(message)
    if chunk:
        yield chunk


@contextlib.contextmanager
def _opened(fs: FileSystem, root: int, path: str) -> Iterator[int]:
    """A directory below `root`, level by level, never through a symbolic link."""
    fds = [root]
    try:
        for level in path.split("/"):
            fds.append(fs.open_directory(fds[-1], level))
        yield fds[-1]
    finally:
        for fd in fds[1:]:
            fs.close(fd)


@contextlib.contextmanager
def opened_copy(fs: FileSystem, data: str, ref: AccountRef, directory: str) -> Iterator[Source]:
    """The account's directory in a copy of a data directory. Raises NotFoundError when it is not there."""
    try:
        root = fs.open_root(os.path.abspath(data))
        try:
            with _opened(fs, root, f"domains/{ref.domain}/{directory}") as fd:
                yield Source(fd, single=False, ours=False)
        finally:
            fs.close(root)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"{data} holds no copy of {ref.address}", code="no-copy") from error
