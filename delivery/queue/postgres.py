"""The queue on PostgreSQL: several instances, also on several machines, share one (design.md section 6).

Seam to SQLAlchemy's asynchronous engine. Each operation is a transaction of its own; `FOR UPDATE SKIP LOCKED` keeps
claims apart. A connection cut at COMMIT leaves the outcome unknown: the server is asked what became of the transaction,
nothing is assumed (fault 158).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from core import log
from core.database import create_engine, translated
from core.errors import TemporaryError
from delivery.queue import schema

T = TypeVar("T")

TRIES = 3  # of an operation that another transaction got in the way of
PAUSE = 0.2  # seconds between them, and between two questions what a lost commit came to
ASKING = 4.0  # seconds for these questions; whoever waits for an answer waits as long
SCHEMA_LOCK = 0x62656666  # any number: who makes or checks the tables goes alone

_log = log.get(__name__)


# NULL: it has written nothing, and nothing can be lost.
_TRANSACTION = text("SELECT pg_current_xact_id_if_assigned()::text")
_STATUS = text("SELECT pg_xact_status(CAST(CAST(:id AS text) AS xid8))")


class CommitUnknownError(TemporaryError):
    """The transaction was committed or not; the server could not be asked. `value`: what `run` returned; `status` tells
    later."""

    code = "queue-commit-unknown"

    def __init__(self, transaction: str, value: Any, cause: BaseException) -> None:
        super().__init__("try again later", transaction=transaction, cause=repr(cause))
        self.transaction = transaction
        self.value = value


def status(connection: Connection, transaction: str) -> bool | None:
    """Whether a transaction of `CommitUnknownError` was committed; None: it is not over yet. "" had nothing to lose."""
    if not transaction:
        return True
    word = str(connection.execute(_STATUS, {"id": transaction}).scalar())
    return None if word == "in progress" else word == "committed"


class PostgresDatabase:
    """Implements `delivery.queue.store.QueueStore`. Bound to the event loop that opened it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: AsyncEngine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        self._engine = create_engine(self._url, "database.queue")
        self._loop = asyncio.get_running_loop()
        try:
            await self.write(_prepare)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()

    async def read(self, look: Callable[[Connection], T]) -> T:
        with translated():
            async with self._opened().begin() as connection:
                return await connection.run_sync(look)

    def read_now(self, look: Callable[[Connection], T]) -> T:
        if self._loop is None:
            raise TemporaryError("the queue is closed", code="queue-closed")
        return asyncio.run_coroutine_threadsafe(self.read(look), self._loop).result()

    async def write(self, run: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Durable in any case: a server that crashes alone would forget the leases of workers that live on, and what
        they hold would be delivered by others, too."""
        for attempt in range(1, TRIES + 1):
            try:
                return await self._write(run)
            except CommitUnknownError as unknown:
                _log.warning("queue-commit-unknown", **unknown.fields)
                if await self._kept(unknown):
                    value: T = unknown.value
                    return value
                raise TemporaryError("try again later", code="queue-commit-lost", **unknown.fields) from unknown
            except TemporaryError as error:
                if attempt == TRIES or not _in_the_way(error):
                    raise
            await asyncio.sleep(PAUSE)
        raise AssertionError("the loop returns or raises")

    def leave_room(self, octets: int) -> None:
        """The server's disk is not ours."""

    async def tidy(self) -> None:
        """PostgreSQL cleans up by itself."""

    async def _write(self, run: Callable[[Connection], T]) -> T:
        """The value, after the commit. A cancelled caller waits for a commit that runs: its outcome has to be known."""
        with translated():
            async with self._opened().connect() as connection:
                transaction = await connection.begin()
                try:
                    value = await connection.run_sync(run)
                    transaction_id = (await connection.execute(_TRANSACTION)).scalar() or ""
                except BaseException:
                    await _rolled_back(connection)
                    raise
                commit = asyncio.ensure_future(transaction.commit())
                try:
                    await asyncio.shield(commit)
                except asyncio.CancelledError:
                    await asyncio.wait({commit})
                    raise
                except (SQLAlchemyError, OSError, TimeoutError) as error:
                    await connection.invalidate()
                    raise CommitUnknownError(transaction_id, value, error) from error
                return value

    async def _kept(self, unknown: CommitUnknownError) -> bool:
        """Raises `unknown` when it cannot be learnt: the caller says 4xx, and may cause one duplicate."""
        try:
            async with asyncio.timeout(ASKING):
                while True:
                    with contextlib.suppress(TemporaryError):
                        kept = await self.read(lambda connection: status(connection, unknown.transaction))
                        if kept is not None:
                            return kept
                    await asyncio.sleep(PAUSE)
        except TimeoutError:
            raise unknown from None

    def _opened(self) -> AsyncEngine:
        if self._engine is None:
            raise TemporaryError("the queue is closed", code="queue-closed")
        return self._engine


async def _rolled_back(connection: AsyncConnection) -> None:
    try:
        await connection.rollback()
    except (SQLAlchemyError, OSError, TimeoutError):  # a dead connection rolls back by itself
        await connection.invalidate()


def _prepare(connection: Connection) -> None:
    connection.execute(text(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})"))
    schema.check_version(connection)


def _in_the_way(error: TemporaryError) -> bool:
    """Serialisation failures and deadlocks (SQLSTATE class 40): the same again may succeed."""
    cause = error.__cause__
    state = getattr(getattr(cause, "orig", None), "sqlstate", "") or ""
    return str(state).startswith("40")
