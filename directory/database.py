"""The database seam: engine, transactions, and what its failures mean to us (SQLAlchemy's engine is made here only).

SQLite: WAL, synchronous=FULL, foreign keys on, 5 s of patience for another writer; a writing transaction takes the
write lock at its start, so that it never fails half way on a stale read. PostgreSQL: READ COMMITTED with timeouts.
Refuses to know tables. Errors come out as `core.errors`: away or slow is `TemporaryError` (faults 156, 158).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from core.config import ConfigError
from core.errors import MailError, TemporaryError
from directory.codes import refusal

SCHEMA = "0001"  # the migration this code was written for; a test holds it equal to migrations.runner.head()
BUSY = 5.0  # seconds to wait for a lock, a free connection, a new connection
COMMAND = 10.0  # seconds for one statement on PostgreSQL
TRANSACTION = 20.0  # seconds for a whole transaction
POOL = 5
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}

# The database is away; connecting raises the drivers' own errors, before SQLAlchemy wraps anything.
_AWAY: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, TimeoutError)
with suppress(ImportError):  # the extra "postgres" may not be installed
    import asyncpg  # type: ignore[import-untyped]  # it ships no types

    _AWAY += (asyncpg.PostgresError, asyncpg.InterfaceError)


class CommitUnknown(TemporaryError):
    """The connection broke while committing: done or not, nobody knows yet (fault 158)."""


class SchemaError(MailError):
    """The database is not of the version this program was written for (fault 157)."""

    code = "schema"


def async_url(url: str) -> URL:
    """The configuration's `sqlite:///…` or `postgresql://…` with its asynchronous driver. Raises `ConfigError`."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigError("database.url: not a database URL") from error
    kind = parsed.drivername.partition("+")[0]
    if kind not in DRIVERS:
        raise ConfigError(f"database.url: {kind} is not supported (sqlite or postgresql)")
    if "sslmode" in parsed.query:  # libpq's word; asyncpg's is ssl
        parsed = parsed.update_query_dict({"ssl": str(parsed.query["sslmode"])}).difference_update_query(["sslmode"])
    return parsed.set(drivername=DRIVERS[kind])


def create_engine(url: str) -> AsyncEngine:
    """An engine with our pragmas and timeouts; connects at first use."""
    parsed = async_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_async_engine(parsed, connect_args={"timeout": BUSY}, pool_timeout=BUSY)
        event.listen(engine.sync_engine, "connect", _sqlite_pragmas)
        event.listen(engine.sync_engine, "begin", _sqlite_begin)
        return engine
    return create_async_engine(
        parsed,
        connect_args={"timeout": BUSY, "command_timeout": COMMAND},
        pool_size=POOL,
        max_overflow=POOL,
        pool_timeout=BUSY,
        pool_recycle=1800,
    )


def _sqlite_pragmas(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by `_sqlite_begin`, not by the driver's guesses
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={int(BUSY * 1000)}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def translated() -> Iterator[None]:
    """Errors of database and driver as ours. What a unique index refuses is a conflict; the services look first,
    so only a race gets here (security.md row 130)."""
    try:
        yield
    except IntegrityError as error:
        raise refusal("conflict", cause=str(error.orig)) from error
    except DataError as error:
        raise refusal("invalid-value", cause=str(error.orig)) from error
    except DBAPIError as error:
        raise TemporaryError("directory unavailable", code="directory-unavailable", cause=str(error.orig)) from error
    except StatementError as error:  # a value the driver cannot even send
        raise refusal("invalid-value", cause=str(error.orig)) from error
    except _AWAY as error:
        raise TemporaryError("directory unavailable", code="directory-unavailable", cause=repr(error)) from error


class Database:
    """Transactions on one engine. Whoever holds a session holds a connection: no peer is awaited inside."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(immediate=True)

    @property
    def engine(self) -> AsyncEngine:
        return self._engine

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session that changes nothing. Raises `TemporaryError`."""
        with translated():
            async with asyncio.timeout(TRANSACTION), AsyncSession(self._engine, expire_on_commit=False) as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends, rolled back when it raises. Raises `TemporaryError`,
        `ConflictError`, and `CommitUnknown` when the connection broke during the commit itself."""
        with translated():
            async with asyncio.timeout(TRANSACTION), AsyncSession(self._writing, expire_on_commit=False) as session:
                yield session
                await session.flush()
                await _commit(session)

    async def check_schema(self) -> None:
        """Raises `SchemaError` unless the database is of exactly our version, `TemporaryError` when it is away."""
        found = await self._revision()
        if found != SCHEMA:
            hint = "run: beffroi migrate" if not found or found < SCHEMA else "it belongs to a newer program"
            raise SchemaError(f"the directory has version {found or 'none'}, this program needs {SCHEMA}; {hint}")

    async def _revision(self) -> str:
        async with self.read() as session:
            connection = await session.connection()
            if not await connection.run_sync(lambda sync: sync.dialect.has_table(sync, "alembic_version")):
                return ""
            return str(await session.scalar(text("SELECT version_num FROM alembic_version")) or "")

    async def close(self) -> None:
        await self._engine.dispose()


async def _commit(session: AsyncSession) -> None:
    try:
        await session.commit()
    except IntegrityError:
        raise
    except (DBAPIError, OSError, TimeoutError) as error:
        raise CommitUnknown("directory unavailable", code="directory-unavailable", cause=repr(error)) from error
