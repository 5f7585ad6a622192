"""The store copied into another directory while it serves: every account's files, nothing that can be made again.

Each account is copied twice: first its messages, while it is used; then, under its lock, what changed meanwhile and its
side files. So the copy is one moment of the account, and nobody waits longer than the second look takes.

Numbers in the copy's side files are raised: after a restore no UID and no mod-sequence comes back that was given after
the backup, so mail programs never take one message for another (fault 167, promise P4) and need no new UIDVALIDITY.
A second backup into the same directory copies what is new. What the source's disk does not give is left out by name, an
earlier copy of it stays, and everything else is copied. Blocking: for a worker thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import core.log
from store import layout, sidefile
from store.fsops import FileSystem
from store.handle import folder_directory
from store.journal import JOURNAL
from store.lockfile import AccountLock, LockKeptError
from store.names import being_made, parse
from store.sidefile import ACCOUNT_FILE, FOLDER_FILE, FolderFile

log = core.log.get(__name__)

UIDS_AHEAD = 1_000_000  # more than a folder gets between a backup and its restore
MODSEQS_AHEAD = 1_000_000_000
UID_LAST = 0xFFFFFFFF
LOOKS = 5  # at a folder whose files change under us
SIDE_LIMIT = 64 * 1024 * 1024
NAMED = 1000  # at most, of what is left out
UNGIVEN = (errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE, errno.EUCLEAN, errno.EBADMSG)
NO_FILES = (errno.ELOOP, errno.ENXIO)  # of opening a link, or a socket


@dataclass(slots=True)
class Copied:
    """What a run did: `accounts`, but for the recycle bin; `messages` in the copy now, with those in it; `new` of them
    copied in this run. `left_out`: why, by the path below the data directory of a file, folder or account; past `NAMED`
    they stand in the log alone."""

    accounts: int = 0
    messages: int = 0
    new: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    more_left_out: bool = False


@dataclass(frozen=True, slots=True)
class _Side:
    """A folder's side files as they were at one moment; `account` with INBOX."""

    journal: bytes | None = None
    file: FolderFile | None = None
    account: bytes | None = None


def raised(file: FolderFile) -> FolderFile:
    """With numbers that nobody was given."""
    return replace(
        file,
        uid_floor=min(file.uid_floor + UIDS_AHEAD, UID_LAST),
        modseq_floor=file.modseq_floor + MODSEQS_AHEAD,
    )


class Backup:
    """From the data directory `source` into `target`, both descriptors."""

    def __init__(self, fs: FileSystem, source: int, target: int) -> None:
        self._fs, self._source, self._target = fs, source, target
        self._where = ""  # the account's path below the data directory
        self._unread: set[str] = set()  # folders of it
        self.copied = Copied()

    def run(self) -> Copied:
        """Raises OSError; what is copied then is found by the next run."""
        self._tree(layout.DOMAINS, live=True)
        self._tree(layout.RECYCLE, live=False)
        self._file(self._source, self._target, layout.MARKER)
        for name in (layout.SPOOL, "run"):
            self._directory(self._target, name)
        self._fs.sync_all(self._target)
        return self.copied

    def _tree(self, name: str, *, live: bool) -> None:
        """Two levels of directories: domains and their accounts, bins and their entries."""
        fs = self._fs
        self._directory(self._target, name)
        with _pair(fs, self._source, self._target, name) as (source, target):
            self._file(source, target, layout.MARKER)
            outer_names = _directories(fs, source)
            for outer in outer_names:
                self._directory(target, outer)
                with self._each(f"{name}/{outer}"), _pair(fs, source, target, outer) as (inner, copy):
                    with self._each(f"{name}/{outer}/{ACCOUNT_FILE}"):
                        self._file(inner, copy, ACCOUNT_FILE)
                    present = _directories(fs, inner)
                    for entry in present:
                        self._where, self._unread = f"{name}/{outer}/{entry}", set()
                        with contextlib.suppress(FileNotFoundError), self._each(self._where):  # moved away under us
                            self._account(inner, copy, entry, live=live)
                    self._drop(copy, set(_directories(fs, copy)) - set(present))
            self._drop(target, set(_directories(fs, target)) - set(outer_names))

    def _account(self, source: int, target: int, entry: str, *, live: bool) -> None:
        """Or, in the recycle bin, a deleted folder, which is like an account that has INBOX alone."""
        fs = self._fs
        self._directory(target, entry)
        with _pair(fs, source, target, entry) as (root, copy):
            if live:
                self._all_messages(root, copy)
                with _locked(fs, root):
                    sides = self._look(root, copy)
            else:
                sides = self._look(root, copy)
            self._write(copy, sides)
        self.copied.accounts += live

    def _look(self, root: int, copy: int) -> dict[str, _Side]:
        """One moment of the account: what the first pass left, and what the side files say. Short, when there was a
        first pass."""
        fs = self._fs
        self._all_messages(root, copy)
        sides = {}
        present = _folders(fs, root)
        for directory in _lost(fs, root, present):
            self._leave_out(f"{self._where}/{directory}".rstrip("/"), "it has no cur/")
            self._unread.add(directory)
        for directory in dict.fromkeys(("", *present)):
            with self._each_folder(directory), folder_directory(fs, root, directory) as fd:
                sides[directory] = _Side(self._read(fd, JOURNAL), sidefile.read_folder(fs, fd))
        sides[""] = replace(sides[""], account=self._read(root, ACCOUNT_FILE)) if "" in sides else _Side()
        return sides

    def _write(self, copy: int, sides: dict[str, _Side]) -> None:
        fs = self._fs
        for directory, side in sides.items():
            with folder_directory(fs, copy, directory) as fd:
                for name, data in ((JOURNAL, side.journal), (ACCOUNT_FILE, side.account)):
                    if data is not None and data != self._read(fd, name):
                        fs.replace_file(fd, name, data)
                if side.file is not None and raised(side.file) != sidefile.read_folder(fs, fd):
                    sidefile.write_folder(fs, fd, raised(side.file))
                if _is_directory(fs, fd, "cur"):
                    self.copied.messages += _count(fs, fd)
        self._drop(copy, set(_folders(fs, copy)) - set(sides) - self._unread)
        self._directory(copy, "tmp")

    def _all_messages(self, root: int, copy: int) -> None:
        fs = self._fs
        for directory in _folders(fs, root):
            # The first: renamed or deleted under us.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._each_folder(directory):
                self._folder(root, copy, directory)

    def _folder(self, root: int, copy: int, directory: str) -> None:
        fs = self._fs
        if directory:
            self._directory(copy, directory)
        with folder_directory(fs, root, directory) as source, folder_directory(fs, copy, directory) as target:
            for name in layout.MAILDIR:
                self._directory(target, name)
            for name in ("cur", "new"):
                with _pair(fs, source, target, name) as (files, copies):
                    self._messages(files, copies, "/".join(part for part in (self._where, directory, name) if part))

    def _messages(self, source: int, target: int, where: str) -> None:
        """Until a look finds nothing new; a file may get another name, or go, while it is copied."""
        fs = self._fs
        for _ in range(LOOKS):
            names = set(fs.names(source))
            here = set(fs.names(target))
            by_base = {_base(name): name for name in here - names}
            missed = False
            for name in sorted(names - here):
                old = by_base.pop(_base(name), None)
                if old is not None:  # other flags by now
                    fs.rename(target, old, target, name)
                else:
                    with self._each(f"{where}/{name}"):
                        missed |= not self._message(source, target, name)
            for gone in by_base.values():
                fs.unlink(target, gone)
            if not missed:
                break

    def _message(self, source: int, target: int, name: str) -> bool:
        """False when it is gone, or has another name by now."""
        fs = self._fs
        try:
            fd = fs.open_to_read(source, name)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno in NO_FILES:  # planted there: it is not copied
                return True
            raise
        try:
            status = fs.status(fd)
            if not fs.is_plain(status):
                return True
            self._copy(fd, status, target, name)
        finally:
            fs.close(fd)
        self.copied.new += 1
        return True

    def _copy(self, fd: int, status: os.stat_result, target: int, name: str) -> None:
        fs, temporary = self._fs, f".{name}"[:200]
        with contextlib.suppress(FileNotFoundError):
            fs.unlink(target, temporary)
        made = fs.create(target, temporary)
        try:
            if status.st_size:
                fs.copy_range(fd, 0, status.st_size, made, 0)
            fs.set_time(made, int(status.st_mtime))
        except OSError:
            fs.unlink(target, temporary)
            raise
        finally:
            fs.close(made)
        fs.rename(target, temporary, target, name)

    # -- what the disk does not give -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _each(self, where: str) -> Iterator[None]:
        """It is left out, and nobody else; an account, too, whose lock somebody keeps all the time. What the target
        refuses, or a process without descriptors, ends the run."""
        try:
            yield
        except LockKeptError as error:
            self._leave_out(where, str(error))
        except OSError as error:
            if error.errno not in UNGIVEN:
                raise
            self._leave_out(where, error.strerror or str(error))

    @contextlib.contextmanager
    def _each_folder(self, directory: str) -> Iterator[None]:
        done = False
        with self._each(f"{self._where}/{directory}".rstrip("/")):
            yield
            done = True
        if not done:
            self._unread.add(directory)

    def _leave_out(self, where: str, cause: str) -> None:
        if where in self.copied.left_out:
            return
        log.error("backup-left-out", path=where, cause=cause)
        if len(self.copied.left_out) < NAMED:
            self.copied.left_out[where] = cause
        else:
            self.copied.more_left_out = True

    # -- small things ----------------------------------------------------------------------------------------------

    def _directory(self, parent: int, name: str) -> None:
        with contextlib.suppress(FileExistsError):
            self._fs.make_directory(parent, name)

    def _read(self, directory: int, name: str) -> bytes | None:
        try:
            return self._fs.read_file(directory, name, SIDE_LIMIT)
        except FileNotFoundError:
            return None

    def _file(self, source: int, target: int, name: str) -> None:
        """A small file, replaced as a whole."""
        data = self._read(source, name)
        if data is not None and data != self._read(target, name):
            self._fs.replace_file(target, name, data)

    def _drop(self, directory: int, names: set[str]) -> None:
        for name in names:
            layout.remove_tree(self._fs, directory, name)


@contextlib.contextmanager
def _locked(fs: FileSystem, root: int) -> Iterator[None]:
    """The account's lock, also where the source is read-only; without its file there is no writer to wait for."""
    try:
        lock = _account_lock(fs, root)
    except FileNotFoundError:
        yield
        return
    try:
        with lock.held():
            yield
    finally:
        lock.close()


def _account_lock(fs: FileSystem, root: int) -> AccountLock:
    try:
        return AccountLock(fs, root)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
    return AccountLock(fs, root, reading=True)  # one who has the same disk writable elsewhere may serve


def _base(name: str) -> str:
    made = parse(name)
    return made.base if made else name


def _directories(fs: FileSystem, parent: int) -> list[str]:
    """Not those that begin with a dot: accounts that are being made or adopted."""
    return [name for name in fs.names(parent) if not name.startswith(".") and _is_directory(fs, parent, name)]


def _folders(fs: FileSystem, root: int) -> list[str]:
    """The directories of an account's folders, INBOX's ("") first; not those that are being made."""
    names = [name for name in fs.names(root) if name.startswith(".") and not being_made(name)]
    return [name for name in ["", *sorted(names)] if _is_directory(fs, root, f"{name}/cur" if name else "cur")]


def _lost(fs: FileSystem, root: int, present: Sequence[str]) -> list[str]:
    """Folders that have a side file and no cur/, as fsck may leave them: nothing of them can be copied, and what an
    earlier run copied stays."""
    lost = [] if "" in present or not fs.exists(root, ACCOUNT_FILE) else [""]
    for name in fs.names(root):
        if name.startswith(".") and not being_made(name) and name not in present:
            with contextlib.suppress(NotADirectoryError):
                lost += [name] if fs.exists(root, f"{name}/{FOLDER_FILE}") else []
    return lost


def _count(fs: FileSystem, folder: int) -> int:
    fd = fs.open_directory(folder, "cur")
    try:
        return len(fs.names(fd))
    finally:
        fs.close(fd)


def _is_directory(fs: FileSystem, parent: int, name: str) -> bool:
    """Or cannot be looked at: whoever opens it is told, and what an earlier run copied of it is not dropped."""
    try:
        fs.close(fs.open_directory(parent, name))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno not in UNGIVEN:
            raise
    return True


@contextlib.contextmanager
def _pair(fs: FileSystem, source: int, target: int, name: str) -> Iterator[tuple[int, int]]:
    """The same directory on both sides."""
    first = fs.open_directory(source, name)
    try:
        second = fs.open_directory(target, name)
        try:
            yield first, second
        finally:
            fs.close(second)
    finally:
        fs.close(first)
