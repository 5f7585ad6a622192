"""What a workload did to the disk, in order: the store's own calls and SQLite's, with marks of who waited for what.

Every change is made and noted under one lock, so the order told is the order done, whatever the threads. A sync is
noted twice: what was changed before its beginning is durable at its end, nothing else is promised. Each sync carries
the place in the store that asked for it (`site`), so that a mutant can leave out exactly one of them.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import apsw

from store.fsops import Call, FileSystem

VFS, BASE = "torture", "unix"  # BASE by its name: "" would be ourselves, once we are the default
SITE_DEPTH = 4
_CHANGES = (
    "make_directory", "remove_directory", "create", "open_to_update", "nameless", "write", "copy_range", "reserve",
    "set_time", "truncate", "link", "link_open", "rename", "unlink",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SyncBegin:
    """A sync of `inode`, opened as `path`, was asked for at `site` (innermost function first)."""

    inode: int
    site: str
    path: str


@dataclass(frozen=True, slots=True)
class SyncEnd:
    """The sync that began at event number `begin` is over. `data_only`: times are not included."""

    begin: int
    inode: int
    data_only: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """What the workload tells: `what` is "begin" or "end" of a round, or "ack"; `value` belongs to it."""

    what: str
    value: Any


Event = Call | SyncBegin | SyncEnd | Mark


@dataclass(slots=True)
class Fault:
    """The `at`-th of `calls` from now on is refused with `number`, once; SQLite's are "xWrite" and "xSync"."""

    number: int
    calls: tuple[str, ...]
    at: int

    def meets(self, call: str) -> bool:
        self.at -= call in self.calls
        return call in self.calls and self.at == 0


class Tape:
    """The events so far, and what is to fail. Thread-safe."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.fault: Fault | None = None
        self.lock = threading.RLock()
        self._here = threading.local()

    def refuse(self, call: str) -> None:
        """Raises OSError when it is this one that is to fail."""
        with self.lock:
            if self.fault is not None and self.fault.meets(call):
                raise OSError(self.fault.number, os.strerror(self.fault.number))

    def mark(self, what: str, value: object) -> None:
        with self.lock:
            self.events.append(Mark(what, value))

    def note(self, call: Call) -> None:
        """The recorder that `FileSystem` calls."""
        with self.lock:
            if call.name in ("fsync", "fdatasync"):
                self.events.append(SyncEnd(self._here.begin, call.inode, call.name == "fdatasync"))
            else:
                self.events.append(call)

    def begin_sync(self, inode: int, site: str, path: str) -> int:
        with self.lock:
            self._here.begin = len(self.events)
            self.events.append(SyncBegin(inode, site, path))
            return int(self._here.begin)

    def end_sync(self, begin: int, inode: int) -> None:
        with self.lock:
            self.events.append(SyncEnd(begin, inode))


def call_site() -> str:
    """The innermost functions of the store that lead here, as `journal.append<transaction.journal<...`."""
    names: list[str] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and len(names) < SITE_DEPTH:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("store.") and not module.startswith(("store.fsops", "store.index")):
            names.append(f"{module.removeprefix('store.')}.{frame.f_code.co_name}")
        frame = frame.f_back
    return "<".join(names)


class RecordingFileSystem(FileSystem):
    """The real calls on a real disk, each noted in order."""

    def __init__(self, tape: Tape) -> None:
        super().__init__(tape.note)
        self._tape = tape

    def sync(self, fd: int) -> None:
        status = os.fstat(fd)
        kind = "names" if stat.S_ISDIR(status.st_mode) else "file"
        self._tape.begin_sync(status.st_ino, f"{kind} {call_site()}", self._paths.get(fd, "?"))
        self._tape.refuse("sync")
        super().sync(fd)

    def sync_data(self, fd: int) -> None:
        self._tape.begin_sync(os.fstat(fd).st_ino, f"data {call_site()}", self._paths.get(fd, "?"))
        self._tape.refuse("sync_data")
        super().sync_data(fd)


def _in_order(name: str) -> Callable[..., Any]:
    plain = getattr(FileSystem, name)

    def method(self: RecordingFileSystem, *arguments: Any) -> Any:
        with self._tape.lock:
            self._tape.refuse(name)
            return plain(self, *arguments)

    return method


for _name in _CHANGES:
    setattr(RecordingFileSystem, _name, _in_order(_name))


class RecordingVfs(apsw.VFS):
    """SQLite's default way to the disk, noted. While it lives it is the default of this process."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        super().__init__(VFS, BASE, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or not flags[0] & (
            apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
        ):
            return super().xOpen(name, flags)
        with self._tape.lock:
            fresh = not os.path.exists(path)
            file = RecordingFile(self._tape, path, name, flags)
            if fresh:
                parent = os.stat(os.path.dirname(path)).st_ino
                self._tape.note(Call("create", path, inode=file.inode, parent=parent))
            return file

    def xDelete(self, filename: str, syncdir: bool) -> None:
        with self._tape.lock:
            super().xDelete(filename, syncdir)
            self._tape.note(Call("unlink", filename, parent=os.stat(os.path.dirname(filename)).st_ino))


def _refused_by_sqlite(tape: Tape, call: str) -> None:
    """Raises apsw.Error."""
    try:
        tape.refuse(call)
    except OSError as error:
        raise (apsw.FullError if error.errno == errno.ENOSPC else apsw.IOError) from error


class RecordingFile(apsw.VFSFile):
    def __init__(self, tape: Tape, path: str, name: Any, flags: list[int]) -> None:
        super().__init__(BASE, name, flags)
        self._tape, self._path = tape, path
        self._log = path.endswith("-wal")
        self._unsynced = False
        self.inode = os.stat(path).st_ino

    @property
    def _checkpoints(self) -> bool:
        """Asked for by the checkpoint behind a COMMIT, whose failure SQLite keeps to itself: what is committed is. apsw
        would raise what is raised here out of that COMMIT, so it is not what fails."""
        if self._log:
            return not self._unsynced  # a commit syncs what it has written
        return not os.path.exists(f"{self._path}-journal")

    def xWrite(self, data: bytes, offset: int) -> None:
        with self._tape.lock:
            if self._log or not self._checkpoints:
                _refused_by_sqlite(self._tape, "xWrite")
            self._unsynced = True
            super().xWrite(data, offset)
            self._tape.note(Call("write", self._path, data=bytes(data), offset=offset, inode=self.inode))

    def xTruncate(self, newsize: int) -> None:
        with self._tape.lock:
            super().xTruncate(newsize)
            self._tape.note(Call("truncate", self._path, value=newsize, inode=self.inode))

    def xSync(self, flags: int) -> None:
        begin = self._tape.begin_sync(self.inode, f"sqlite {call_site()}", self._path)
        if not self._checkpoints:
            _refused_by_sqlite(self._tape, "xSync")
        super().xSync(flags)
        self._unsynced = False
        self._tape.end_sync(begin, self.inode)
