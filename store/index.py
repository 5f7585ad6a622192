"""The index file of one account: two connections to one SQLite file (apsw is touched here and in `faults` only).

The reader is used on the event loop thread alone, the writer by the one thread that holds the account lock; so a
reader never sees half a transaction. WAL with synchronous=NORMAL: the files are the truth, and `store.flusher` syncs a
dirty WAL at least every second. No live database file is ever opened by plain `open()`, but a WAL to be synced, which
has no locks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import apsw

from core.clock import Clock
from core.errors import StorageError
from store.faults import IndexDamagedError, IndexTornError
from store.fsops import FileSystem
from store.migrate import MIGRATIONS
from store.schema import NEW_LIFE, TABLES, VERSION

INDEX_FILE = "index.db"
RECENT_FILE = "index.recent"  # beside it, and of no use to another one (`store.newcomers`)
LOG_FILE = f"{INDEX_FILE}-wal"
SHARED_FILES = (INDEX_FILE, LOG_FILE, f"{INDEX_FILE}-shm")  # while it is open
INDEX_FILES = (INDEX_FILE, LOG_FILE, f"{INDEX_FILE}-shm", f"{INDEX_FILE}-journal", RECENT_FILE)
TICK = 0.1  # seconds; the kernel's file times advance every 10 ms at least
BUSY_MS = 5000  # fault 156
CACHE_KIB = 1024
CHECKPOINT_PAGES = 1000
BULK_CACHE_KIB = 16 * 1024

_Identity = tuple[tuple[int, int] | None, ...]  # device and inode of `SHARED_FILES`
Row = tuple[Any, ...]  # what SQLite gives: a seam


class _Reading:
    """A class, because each command comes through one."""

    __slots__ = ("_raw",)

    def __init__(self, raw: apsw.Connection) -> None:
        self._raw = raw

    def __enter__(self) -> None:
        self._raw.execute("BEGIN")

    def __exit__(self, *_: object) -> None:
        if self._raw.in_transaction:
            self._raw.execute("COMMIT")


class _Log:
    """How long the WAL was after our last commit. SQLite knows one such listener: its own, which copies the WAL into
    the database, while commits are `durable` or `bulk`, else this one. A class, for a connection would keep itself."""

    __slots__ = ("pages",)

    def __init__(self) -> None:
        self.pages = 0

    def __call__(self, _: apsw.Connection, __: str, pages: int) -> int:
        self.pages = pages
        return apsw.SQLITE_OK


class Connection:
    """Our few words over one apsw connection."""

    def __init__(self, path: str, *, create: bool) -> None:
        self._log = _Log()
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
        self._raw = apsw.Connection(path, flags=flags | apsw.SQLITE_OPEN_NOFOLLOW)
        # One is not made for each of what has no rows to be read, and of what is read to its end at once.
        self._runner, self._asker = self._raw.cursor(), self._raw.cursor()
        self._raw.set_busy_timeout(BUSY_MS)
        self._raw.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.all(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-{CACHE_KIB}")
        self._raw.set_wal_hook(self._log)

    def all(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        return self._raw.execute(sql, values).fetchall()

    def one(self, sql: str, values: Sequence[object] = ()) -> Row | None:
        """The row of a question that has one or none."""
        rows: list[Row] = self._asker.execute(sql, values).fetchall()
        return rows[0] if rows else None

    def value(self, sql: str, values: Sequence[object] = ()) -> Any:
        """The first column of the first row, None without a row."""
        row = self._raw.execute(sql, values).fetchone()
        return None if row is None else row[0]

    def run(self, sql: str, values: Sequence[object] = ()) -> None:
        """What gives no rows, which would stay open."""
        self._runner.execute(sql, values)

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        self._raw.executemany(sql, rows)

    @property
    def has_grown(self) -> bool:
        """The WAL, to which our last commit was added, is to be copied into the database."""
        return self._log.pages >= CHECKPOINT_PAGES

    def begin(self) -> None:
        """A write transaction. Its commit leaves the WAL to the flusher's next durable one: checkpoints write and sync,
        and nobody waits for an answer there."""
        self.run("BEGIN IMMEDIATE")

    @property
    def changes(self) -> int:
        return self._raw.changes()

    @property
    def in_transaction(self) -> bool:
        return self._raw.in_transaction

    def begin_at_once(self) -> bool:
        """Begin to write, or False when somebody else does just now."""
        self._raw.set_busy_timeout(0)
        try:
            self.run("BEGIN IMMEDIATE")
        except apsw.BusyError:
            return False
        finally:
            self._raw.set_busy_timeout(BUSY_MS)
        return True

    def reading(self) -> _Reading:
        """One consistent view over several questions; no await may happen inside."""
        return _Reading(self._raw)

    @contextlib.contextmanager
    def durable(self) -> Iterator[None]:
        """Commits inside are synced, and with them all earlier ones of this WAL, which is then copied into the database
        when it has grown."""
        self.all("PRAGMA synchronous=FULL")
        self._raw.wal_autocheckpoint(CHECKPOINT_PAGES)
        try:
            yield
        finally:
            self._log.pages = 0
            self._raw.set_wal_hook(self._log)
            self.all("PRAGMA synchronous=NORMAL")

    @contextlib.contextmanager
    def bulk(self) -> Iterator[None]:
        """Commits inside are copied into the database at once, and synced by `settle`: for a file nobody else has."""
        self._raw.wal_autocheckpoint(CHECKPOINT_PAGES)
        self.all(f"PRAGMA cache_size=-{BULK_CACHE_KIB}")
        try:
            yield
        finally:
            self._raw.set_wal_hook(self._log)

    @contextlib.contextmanager
    def roomy(self) -> Iterator[None]:
        """Changes inside may be large: a page that does not find room is written to the WAL at once, again when it is
        changed again, and then the commit reads the whole transaction back for its checksums."""
        self.all(f"PRAGMA cache_size=-{BULK_CACHE_KIB}")
        try:
            yield
        finally:
            self.all(f"PRAGMA cache_size=-{CACHE_KIB}")

    def shrink(self) -> None:
        """Empty the WAL into the database, as far as no other process reads in it just now."""
        self._raw.set_busy_timeout(0)
        try:
            self._raw.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.BusyError:
            pass
        finally:
            self._raw.set_busy_timeout(BUSY_MS)

    def settle(self) -> None:
        """Close the file that nobody else has open, the WAL emptied into it and gone."""
        self._raw.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        self._raw.close()

    def close(self) -> None:
        self._raw.close()


class Index:
    """Both connections, and the identity of the file they are on."""

    def __init__(self, fs: FileSystem, root: int, path: str, clock: Clock) -> None:
        """`root` is the account's directory, `path` its name without any symbolic link, as SQLite opens it."""
        self._fs = fs
        self._root = root
        self.writer = Connection(f"{path}/{INDEX_FILE}", create=True)
        self.reader: Connection | None = None
        self._path = path
        self._place = fs.status(root)
        self._clock = clock
        self._identity: _Identity = (None,)
        self._trusted = self._seen = -1  # times of the directory: with the first, our files are there
        self._seen_at = 0.0

    def check(self, account: str) -> bool:
        """True when the file is an index of ours of this version and account; False when it must be made."""
        while (version := self.writer.value("PRAGMA user_version")) != VERSION:
            if version not in MIGRATIONS:
                return False
            self._migrate(version)
        return bool(self.writer.value("SELECT account FROM state") == account)

    def _migrate(self, version: int) -> None:
        """One step, whole or not at all."""
        self.writer.run("BEGIN IMMEDIATE")
        try:
            MIGRATIONS[version](self.writer)
            self.writer.run(f"PRAGMA user_version={version + 1}")
            self.writer.run("COMMIT")
        except BaseException:
            if self.writer.in_transaction:  # a full disk ends it by itself (lang_transaction.html)
                self.writer.run("ROLLBACK")
            raise

    def make(self, account: str) -> None:
        """Empty tables in an empty file."""
        make_empty(self.writer, account)

    def attach(self) -> None:
        """Open the reader and remember which files these are. Raises IndexTornError where they are not the writer's."""
        self.writer.value("PRAGMA user_version")  # by now it has all three open
        self._identity = self._files()
        self.reader = Connection(f"{self._path}/{INDEX_FILE}", create=False)
        self.reader.value("PRAGMA user_version")
        if None in self._identity or self._files() != self._identity:
            raise IndexTornError("its files were deleted")

    def another(self) -> Connection:
        """A reader for a worker thread, which closes it. Raises StorageError where it would be another index's."""
        db = Connection(f"{self._path}/{INDEX_FILE}", create=False)
        try:
            if not self.is_current():
                raise StorageError("storage failed", code="storage-index")
        except BaseException:
            db.close()
            raise
        return db

    def is_current(self) -> bool:
        """False once a file was deleted or replaced under us. Whoever does that changes the directory's time, so it is
        enough to look at that; but not before it is so old that a change would give another. By its name: hands may
        have put another directory in its place, or its domain's."""
        found = self._found()
        if found is None:
            return False
        time = found.st_ctime_ns  # which nobody can set back, as rsync does with mtime
        if time == self._trusted:
            return True
        if self._files() != self._identity:
            return False
        now = self._clock.monotonic()
        if time != self._seen:
            self._seen, self._seen_at = time, now
        elif now - self._seen_at > TICK:
            self._trusted = time
        return True

    def is_in_place(self) -> bool:
        """What has the account's name is the directory that we opened."""
        return self._found() is not None

    def _found(self) -> os.stat_result | None:
        try:
            found = self._fs.stat(self._root, self._path)
        except OSError:  # who opens it is told
            return None
        return found if os.path.samestat(found, self._place) else None

    def is_torn(self) -> bool:
        """The file is there, and what SQLite keeps beside it is not: others would write what we do not see."""
        found = self._files()
        return found != self._identity and found[0] == self._identity[0] is not None

    def open_log(self) -> int:
        """The WAL, to be synced by whoever closes it. SQLite locks the database and its shared memory, so that closing
        another descriptor of the WAL takes no lock away. Raises OSError."""
        return self._fs.open_to_read(self._root, LOG_FILE)

    def _files(self) -> _Identity:
        return tuple(self._file(name) for name in SHARED_FILES)

    def _file(self, name: str) -> tuple[int, int] | None:
        try:
            status = self._fs.stat(self._root, name)
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    @property
    def read(self) -> Connection:
        if self.reader is None:
            raise IndexDamagedError("index is not attached")
        return self.reader

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()
        self.writer.close()


def make_empty(db: Connection, account: str) -> None:
    """Tables in an empty file, of a generation that is never a living index's."""
    db.run("BEGIN IMMEDIATE")
    db.run(TABLES)
    db.run(f"INSERT INTO state VALUES (1, ?, -1, 0, 0, 0, {NEW_LIFE})", (account,))  # noqa: S608 - constant text
    db.run(f"PRAGMA user_version={VERSION}")
    db.run("COMMIT")


def discard(fs: FileSystem, root: int) -> None:
    """Throw the index files away; who has them open notices by `is_current`."""
    for name in INDEX_FILES:
        with contextlib.suppress(FileNotFoundError):
            fs.unlink(root, name)


def open_sound(fs: FileSystem, root: int, path: str, account: str, clock: Clock) -> Index | None:
    """The index that lies there; None when it is damaged, another account's, or of another version (fault 157)."""
    try:
        index = Index(fs, root, path, clock)
    except (apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError):
        return None
    except apsw.IOError as error:
        if (
            getattr(error, "extendedresult", 0) != apsw.SQLITE_IOERR_SHORT_READ
        ):  # its WAL was deleted while others have it open
            raise
        return None
    try:
        sound = index.check(account)
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, apsw.IOError):
        sound = False
    except BaseException:  # a full disk: the index stays as it is
        index.close()
        raise
    if not sound:
        index.close()
        return None
    return index
