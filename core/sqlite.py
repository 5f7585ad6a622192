"""What SQLite itself offers beside statements: a consistent copy of a database that others write to, and whether any of
them has written since the last look.

A plain copy of the file could tear: half of a transaction, or a database without its WAL.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

BUSY = 30.0  # seconds a writer may hold us up
LOOK = 2.0  # seconds that a watch may be mistaken in which file it watches


def backup(source: Path, target: Path, *then: Callable[[sqlite3.Connection], object]) -> None:
    """`target` becomes what `source` was at one moment, one file without a WAL, readable by its owner alone; the
    functions of `then` change the copy. It is replaced as a whole, and durable when this returns. `source` may lie on a
    disk that is read-only. Raises FileNotFoundError, sqlite3.Error, OSError."""
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such database")
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(temporary)) as copy:
        _copy_pages(source, copy, temporary.with_name(f"{temporary.name}.still"))
        copy.execute("PRAGMA journal_mode=DELETE")
        for change in then:
            change(copy)
        copy.commit()
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(target)


def _copy_pages(source: Path, copy: sqlite3.Connection, still: Path) -> None:
    """A database in WAL mode cannot be opened where its -shm would have to be made (sqlite.org/wal.html, "Read-Only
    Databases"). Nobody has it open then, or that file were there; so its own files, copied, are one moment of it."""
    try:
        with closing(sqlite3.connect(source, timeout=BUSY)) as live:
            live.backup(copy)
            return
    except sqlite3.OperationalError:
        if not os.statvfs(source).f_flag & os.ST_RDONLY or source.with_name(f"{source.name}-shm").exists():
            raise
    made = [(source.with_name(source.name + end), still.with_name(still.name + end)) for end in ("", "-wal")]
    try:
        for ours, theirs in made:
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(ours, theirs)
        with closing(sqlite3.connect(still, timeout=BUSY)) as live:
            live.backup(copy)
    finally:
        for end in ("", "-wal", "-shm"):
            still.with_name(still.name + end).unlink(missing_ok=True)


def identity(file: Path) -> tuple[int, int] | None:
    """Which file has this name now; None without one. An open connection keeps to the file that it opened, whatever
    has its name by now: a backup that was copied back, say."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Watch:
    """Whether anybody, here or in another process, has committed to a database since the last look. A look takes
    microseconds (it compares a number in the WAL's shared memory) and waits for nobody, so the event loop makes it.
    That another file has the name is seen at most 2 s later, and is a change, too."""

    def __init__(self, file: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._monotonic = monotonic
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None  # one for all looks
        self._seen: int | None = None
        self._opened: tuple[int, int] | None = None
        self._same_until = 0.0

    def moved(self) -> bool:
        """True at the first look, and whenever it cannot be known."""
        now = self._monotonic()
        if now >= self._same_until:
            self._same_until = now + LOOK
            if self._connection is not None and identity(self._file) != self._opened:
                self.close()
        seen, self._seen = self._seen, self._version()
        return self._seen is None or self._seen != seen

    def close(self) -> None:
        connection, self._connection, self._cursor, self._seen = self._connection, None, None, None
        if connection is not None:
            connection.close()

    def _version(self) -> int | None:
        try:
            cursor = self._cursor or self._open()
            version: int = cursor.execute("PRAGMA data_version").fetchone()[0]
            return version
        except sqlite3.Error:
            return None

    def _open(self) -> sqlite3.Cursor:
        self._opened = identity(self._file)  # before: a file that comes in between is seen at the next look
        uri = f"{self._file.absolute().as_uri()}?mode=rw"
        self._connection = sqlite3.connect(uri, uri=True, timeout=0.0, isolation_level=None, check_same_thread=False)
        self._cursor = self._connection.cursor()
        return self._cursor
