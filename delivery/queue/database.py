"""The queue's database: readers from a pool, all writes of a process by one thread that commits them in groups.

Seam to SQLAlchemy's engines: the pragmas and the lock of SQLite are here and nowhere else. `synchronous=FULL`: what
this file holds was acknowledged (security.md finding 3). A group is one transaction and one sync; each member has its
own savepoint, so a refused one harms nobody. An error of the database itself fails the whole group, because SQLite
may have rolled all of it back.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import fcntl
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from core import log
from core.database import keep_to_file
from core.errors import ConflictError, MailError, StorageError, TemporaryError
from delivery.queue import schema
from delivery.queue.faults import FULL, not_its_fault, translated
from delivery.queue.prepared import driven
from store.fsops import FileSystem

T = TypeVar("T")

GROUP = 64  # operations in one commit
VACUUM = 512  # pages given back at a time
QUIET = 60.0  # seconds between two lines that tell of the same failure
UNSYNCED = 1.0  # seconds that a commit that is not durable by itself may stay so
BUSY = 5.0  # seconds a write waits for another process before it is refused with 4xx (fault 156)

_INCREMENTAL = 2  # PRAGMA auto_vacuum
# Another value each time: SQLite writes no page for the value that is there, and syncs nothing for no page.
_TOUCH = text(
    "INSERT INTO queue_about (key, value) VALUES ('synced', '0') "
    "ON CONFLICT (key) DO UPDATE SET value = (CAST(value AS INTEGER) + 1) % 1000000"
)

_log = log.get(__name__)


@dataclass(slots=True)
class _Operation(Generic[T]):
    """One write on its way through the thread; `future` is the only thing both sides touch."""

    run: Callable[[Connection], T]
    future: concurrent.futures.Future[T]
    durable: bool = True


class Database:
    """`read` and `write` take a function of an open connection inside a transaction.

    Raises `StorageError` when the disk is full or broken, `TemporaryError` when the database is busy or away,
    `ConflictError` for a key that exists, and whatever `MailError` the function raises.
    """

    def __init__(self, file: Path, *, busy: float = BUSY) -> None:
        self._file = file
        self._busy = busy
        self._inbox: queue.SimpleQueue[_Operation[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock_fd = -1
        self._fs = FileSystem()
        self._failing = ("", 0.0)  # the reason of a failed commit that was told, and when (monotonic)
        self._unsynced = 0.0  # since when (monotonic) something waits for a durable commit; 0.0: nothing does
        self._readers: Engine | None = None
        self._writer: Engine | None = None

    async def open(self) -> None:
        """Make or check the file. Raises `StorageError` with a clear word when it is damaged or of a newer version."""
        try:
            await asyncio.to_thread(self._open)
        except BaseException:
            await self.close()
            raise
        self._thread = threading.Thread(target=self._serve, name="queue-writer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Finish what was asked for, then let go of the file. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._inbox.put(None)
            await asyncio.to_thread(thread.join, self._busy + 10)
        for engine in (self._readers, self._writer):
            if engine is not None:
                engine.dispose()
        self._readers = self._writer = None
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    async def read(self, look: Callable[[Connection], T]) -> T:
        return await asyncio.to_thread(self.read_now, look)

    def read_now(self, look: Callable[[Connection], T]) -> T:
        """For callers that are in a thread already."""
        if self._readers is None:
            raise TemporaryError("the queue is closed", code="queue-closed")
        try:
            with self._readers.begin() as connection:
                return look(connection)
        except (SQLAlchemyError, OSError) as error:  # OSError: the file is gone
            raise translated(error, self._file.parent) from error

    async def write(self, run: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Returns after the commit, whose outcome is never unknown here. An operation that waited longer than the bound
        is withdrawn, never half known: once it runs its outcome is awaited, because a 4xx may only be said of what is
        not kept (promise P2)."""
        if self._thread is None:
            raise TemporaryError("the queue is closed", code="queue-closed")
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._inbox.put(_Operation(run, future, durable))
        waiter = asyncio.wrap_future(future)
        waiter.add_done_callback(_retrieve)
        try:
            done, _ = await asyncio.wait({waiter}, timeout=self._busy + 1)
        except asyncio.CancelledError:
            if not future.cancel():
                await _settled(waiter)
            raise
        if not done and future.cancel():
            raise TemporaryError("the queue is busy", code="queue-busy")
        return await waiter

    def leave_room(self, octets: int) -> None:
        """As the store does, which may lie on the same disk; results and notices find it, too. What is written stands
        in the WAL and in the file."""
        try:
            self._fs.leave_room(self._lock_fd, 2 * octets)
        except OSError as error:
            raise translated(error, self._file.parent) from error

    async def tidy(self) -> None:
        """Give some of the room of delivered messages back to the disk (SQLite keeps it otherwise)."""
        await self.write(_give_back)

    # --- the thread --------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        closing = False
        while not closing:
            try:
                first = self._inbox.get(timeout=self._patience())
            except queue.Empty:
                self._commit([], syncs=True)
                continue
            if first is None:
                break
            group = [first]
            with contextlib.suppress(queue.Empty):
                while len(group) < GROUP:
                    operation = self._inbox.get_nowait()
                    if operation is None:
                        closing = True
                        break
                    group.append(operation)
            self._commit(group)
        if self._unsynced:
            self._commit([], syncs=True)

    def _patience(self) -> float | None:
        """Seconds until what is not synced has to be; None: for ever."""
        return max(0.0, self._unsynced + UNSYNCED - time.monotonic()) if self._unsynced else None

    def _commit(self, group: list[_Operation[Any]], *, syncs: bool = False) -> None:
        """One transaction for all. Results are told only after the commit: commit, publish, acknowledge. `syncs`: what
        stands unsynced is durable afterwards, too. A durable group alone does not promise that: it may change nothing,
        and a commit without a page syncs nothing."""
        outcomes: list[tuple[_Operation[Any], Any, MailError | None]] = []
        now = time.monotonic()
        syncs = syncs or self._patience() == 0.0
        durable = syncs or any(item.durable for item in group)
        try:
            with self._exclusive(), self._writing(durable=durable) as connection:
                before = _changes(connection)
                if syncs:
                    connection.execute(_TOUCH)
                group = [operation for operation in group if operation.future.set_running_or_notify_cancel()]
                for operation in group:
                    outcomes.append((operation, *_attempt(operation, connection, alone=len(group) == 1 and not syncs)))
                changed = _changes(connection) != before
                if len(group) == 1 and outcomes[0][2] is not None and not syncs:
                    connection.rollback()
        except Exception as error:  # whatever it is, nothing of the group was kept and every caller must hear it
            self._unsynced = self._unsynced and now  # the next try is a moment away
            self._fail(group, error)
            return
        self._unsynced = 0.0 if syncs else self._unsynced or (now if changed and not durable else 0.0)
        for operation, value, refusal in outcomes:
            if refusal is None:
                operation.future.set_result(value)
            else:
                operation.future.set_exception(refusal)

    def _fail(self, group: list[_Operation[Any]], error: Exception) -> None:
        failure = translated(error, self._file.parent)
        reason = str(error.orig if isinstance(error, DBAPIError) else error)
        told, when = self._failing
        if reason != told or time.monotonic() >= when + QUIET:  # some who are refused come again each second
            _log.error("queue-write-failed", operations=len(group), error=reason, code=failure.code)
            self._failing = reason, time.monotonic()
        for operation in group:
            if operation.future.running() or operation.future.set_running_or_notify_cancel():
                operation.future.set_exception(failure)

    @contextlib.contextmanager
    def _writing(self, *, durable: bool = True) -> Iterator[Connection]:
        if self._writer is None:
            raise TemporaryError("the queue is closed", code="queue-closed")
        with self._writer.connect() as connection:
            _sync(connection, durable=durable)
            try:
                with connection.begin():
                    yield connection
            except DBAPIError:
                connection.invalidate()  # a connection that saw the disk fail is not trusted again (finding 2)
                raise

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """A blocking lock before BEGIN IMMEDIATE: SQLite's own busy polling starves writers (design.md section 5)."""
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    # --- opening -----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_fd = os.open(self._file.with_name("queue.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            _sync_left(self._file.with_name(self._file.name + "-wal"))
            # SQLite syncs what it writes, not the names that we made: power loss would take file and mail (fault 155).
            _sync_names(self._file.parent)
            _sync_names(self._file.parent.parent)
        except OSError as error:
            raise StorageError("the queue cannot be opened", code="queue-unreadable", error=str(error)) from error
        self._readers = _engine(self._file, "BEGIN", self._busy)
        self._writer = _engine(self._file, "BEGIN IMMEDIATE", self._busy)
        try:
            with self._exclusive(), self._writing() as connection:
                schema.check_version(connection)
        except SQLAlchemyError as error:
            failure = translated(error, self._file.parent)
            if failure.code == FULL:
                raise failure from error
            if not_its_fault(error.__cause__):  # nothing is to be moved away
                told = f"the queue {self._file} cannot be opened: {error.__cause__}"
                raise StorageError(told, code="queue-unreadable", error=str(error)) from error
            raise StorageError(
                f"the queue {self._file} is damaged or no database; restore it or move it away",
                code="queue-unreadable",
                error=str(error),
            ) from error


def _changes(connection: Connection) -> int:
    """Rows that this connection has changed so far."""
    raw = connection.connection.driver_connection
    assert raw is not None  # checked out just now
    return int(raw.total_changes)


def _sync(connection: Connection, *, durable: bool) -> None:
    """NORMAL does not sync the WAL at its commit; the next FULL one syncs the same file, so that nothing acknowledged
    ever stands behind something that is lost. A new connection is FULL."""
    if connection.info.get("durable", True) != durable:
        raw = connection.connection.dbapi_connection
        assert raw is not None  # checked out just now
        raw.cursor().execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.info["durable"] = durable


def _sync_left(wal: Path) -> None:
    """What a killed process wrote less than a second ago and did not sync: from now on others build on it. SQLite locks
    nothing in this file, so that opening it beside SQLite takes no lock away, and a full disk has room for a sync."""
    try:
        descriptor = os.open(wal, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _sync_names(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give_back(connection: Connection) -> None:
    """One page a statement: the pragma frees a page at each step, and the driver steps statements without rows once."""
    free = connection.exec_driver_sql("PRAGMA freelist_count").scalar() or 0
    for _ in range(min(VACUUM, free)):
        connection.exec_driver_sql("PRAGMA incremental_vacuum(1)")


def _attempt(operation: _Operation[Any], connection: Connection, *, alone: bool) -> tuple[Any, MailError | None]:
    """In a savepoint of its own; one that is alone has the whole transaction, which its caller rolls back."""
    try:
        with contextlib.nullcontext() if alone else _savepoint(connection):
            return operation.run(connection), None
    except MailError as error:
        return None, error
    except IntegrityError as error:
        return None, ConflictError("already queued", code="queue-duplicate", error=str(error.orig))
    except DBAPIError:
        raise
    except Exception as error:  # a bug in one operation, undone by its savepoint
        _log.exception("queue-operation-failed")
        return None, TemporaryError("the queue is unavailable", code="queue-operation", error=repr(error))


@contextlib.contextmanager
def _savepoint(connection: Connection) -> Iterator[None]:
    """SQLAlchemy's own takes as long as all that an operation does."""
    driven(connection, "SAVEPOINT operation")
    try:
        yield
    except BaseException:
        driven(connection, "ROLLBACK TO operation")
        driven(connection, "RELEASE operation")
        raise
    driven(connection, "RELEASE operation")


def _engine(file: Path, begin: str, busy: float) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        connect_args={"timeout": busy, "check_same_thread": False, "isolation_level": None},
        pool_size=4,
        max_overflow=4,
    )

    def connect(connection: Any, _record: object) -> None:
        # It counts only before the first table is made, and setting it writes a page though nothing changes: on a full
        # disk nobody could read.
        if connection.execute("PRAGMA auto_vacuum").fetchone() != (_INCREMENTAL,):
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "journal_size_limit=67108864",
        ):
            connection.execute(f"PRAGMA {pragma}")

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)  # the driver's own transactions are off (isolation_level None)

    keep_to_file(engine, file, made=True)
    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", start)
    return engine


async def _settled(waiter: asyncio.Future[Any]) -> None:
    """Until a write that runs has ended, however often its caller is cancelled: it still reads the message's bytes,
    which the caller will let go of."""
    while not waiter.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({waiter})


def _retrieve(future: asyncio.Future[Any]) -> None:
    """A caller that was cancelled leaves a result nobody fetches; that is no fault worth a warning."""
    if not future.cancelled():
        future.exception()
