"""How the house reaches an SQL database: URL, engine, pragmas, timeouts, meaning of failures (drivers named here only).

SQLite: WAL, synchronous=FULL, foreign keys on, 5 s of patience for another writer; a transaction begun on an engine
with the option `immediate` takes the write lock at its start, so that it never fails half way on a stale read.
PostgreSQL: READ COMMITTED with timeouts. Refuses to know tables. Errors come out as `core.errors`: away or slow is
`TemporaryError` (security.md, faults 156 and 158).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    InvalidatePoolError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from core import log
from core.config import ConfigError
from core.errors import ConflictError, InvalidError, MailError, TemporaryError
from core.sqlite import identity

BUSY = 5.0  # seconds to wait for a lock, a free connection, a new connection
COMMAND = 10.0  # seconds for one statement on PostgreSQL
POOL = 5
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
# What may stand behind the question mark for PostgreSQL: asyncpg knows more, but takes no text for it.
_KNOWN = frozenset(
    "gsslib host krbsrvname passfile password port prepared_statement_cache_size service servicefile ssl "
    "target_session_attrs user".split()
)

# The database is away; connecting raises the drivers' own errors, before SQLAlchemy wraps anything.
_AWAY: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, TimeoutError)
with suppress(ImportError):  # the extra "postgres" may not be installed
    import asyncpg  # type: ignore[import-untyped]  # it ships no types

    _AWAY += (asyncpg.PostgresError, asyncpg.InterfaceError)


T = TypeVar("T")

_log = log.get(__name__)


class SchemaError(MailError):
    """The database is not of the version this program was written for (fault 157)."""

    code = "schema"


def async_url(url: str, key: str = "database.url") -> URL:
    """The configuration's `sqlite:///…` or `postgresql://…` with its asynchronous driver. Raises `ConfigError` in words
    for what a driver would fail at when it connects, as a fault of the program."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigError(f"{key}: not a database URL") from error
    kind = parsed.drivername.partition("+")[0]
    if kind not in DRIVERS:
        raise ConfigError(f"{key}: {kind} is not supported (sqlite or postgresql)")
    if "sslmode" in parsed.query:  # libpq's word; asyncpg's is ssl
        parsed = parsed.update_query_dict({"ssl": str(parsed.query["sslmode"])}).difference_update_query(["sslmode"])
    parsed = parsed.set(drivername=DRIVERS[kind])
    _check_arguments(parsed, key)
    return parsed


def _check_arguments(url: URL, key: str) -> None:
    """What the URL tells its driver: SQLAlchemy hands on whatever stands there."""
    dialect = url.get_dialect()
    try:
        told = dialect().create_connect_args(url)[1]
        dialect.import_dbapi()
    except ImportError as error:
        raise ConfigError(f"{key}: {url.get_backend_name()} needs the Python package {error.name}") from error
    except (ArgumentError, ValueError, TypeError) as error:
        raise ConfigError(f"{key}: not a database URL") from error
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise ConfigError(f"{key}: names no file (write sqlite:////var/lib/beffroi/directory.db)")
        return
    for name in sorted(set(url.query) - _KNOWN):
        raise ConfigError(f"{key}: {name} cannot stand behind the question mark (only {', '.join(sorted(_KNOWN))})")
    for port in [*_several(url.port), *_several(told.get("port"))]:  # SQLAlchemy hands no 0 on
        if not 0 < port < 65536:
            raise ConfigError(f"{key}: {port} is not a port (1 to 65535)")
    for host in _several(told.get("host")):
        if not host.startswith("/") and not _is_name(host):  # a directory holds the server's socket
            raise ConfigError(f"{key}: {host!r} is not a name of a host")


def _several(value: T | list[T] | None) -> list[T]:
    """Of a URL with several hosts SQLAlchemy makes lists."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _is_name(host: str) -> bool:
    """What the resolver can be asked for; what is longer or has an empty label, `getaddrinfo` raises for."""
    try:
        return bool(host.encode("idna")) and host.isprintable() and " " not in host
    except UnicodeError:
        return False


def create_engine(url: str, key: str = "database.url") -> AsyncEngine:
    """An engine with our pragmas and timeouts; connects at first use. `key` is where the configuration has `url`.
    Raises `ConfigError`."""
    parsed = async_url(url, key)
    if parsed.get_backend_name() == "sqlite":
        options = {"timeout": BUSY, "async_creator_fn": _opened}
        engine = create_async_engine(parsed, connect_args=options, pool_timeout=BUSY)
        event.listen(engine.sync_engine, "connect", _sqlite_pragmas)
        event.listen(engine.sync_engine, "begin", _sqlite_begin)
        if parsed.database and parsed.database != ":memory:":
            keep_to_file(engine.sync_engine, Path(parsed.database))
        return engine
    return create_async_engine(
        parsed,
        connect_args={"timeout": BUSY, "command_timeout": COMMAND},
        pool_size=POOL,
        max_overflow=POOL,
        pool_timeout=BUSY,
        pool_recycle=1800,
        pool_pre_ping=True,  # a server that came back is noticed before a statement is lost on a dead connection
    )


async def _opened(*place: str, **options: Any) -> aiosqlite.Connection:
    """A connection, or none: whoever is cancelled while aiosqlite opens one has it drop, unclosed, what its thread
    opens meanwhile. Opening a file is short, so that is waited for."""
    connection = aiosqlite.connect(*place, **options)
    connection._thread.daemon = True  # as SQLAlchemy does for its own
    opening = asyncio.ensure_future(connection)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        with suppress(Exception):
            async with asyncio.timeout(BUSY):
                await (await opening).close()
        raise


def keep_to_file(engine: Engine, file: Path, *, made: bool = False) -> None:
    """What is asked of a SQLite engine is asked of the file that has the name now. A pool's connections keep to the one
    they opened: after another was put in its place they would go on reading, and worse, writing into a file without a
    name. And where a file was, no empty one is made while there is none. (Replacing a database is for a stopped suite:
    SQLite's WAL has the name, too. docs/operations.md tells so; this bounds what forgetting it costs.) `made`: the
    caller has made the file, so this engine's first connection makes none either."""
    opened: set[tuple[int, int]] = set()

    def connect(*_: object) -> None:
        if (made or opened) and identity(file) is None:
            raise FileNotFoundError(f"{file} is gone")

    def connected(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        found = identity(file)
        record.info["file"] = found
        if found is not None and found not in opened:
            if opened:
                _log.error("database-replaced", file=str(file))
            opened.add(found)

    def checkout(_connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        found = identity(file)
        if found is None:
            raise FileNotFoundError(f"{file} is gone")
        if found != record.info["file"]:
            raise InvalidatePoolError

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", checkout)


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
    """Errors of database and driver as ours. What a unique index or a foreign key refuses is a conflict; callers look
    first, so only a race gets here (security.md row 130)."""
    try:
        yield
    except IntegrityError as error:
        raise ConflictError("it was changed meanwhile; try again", code="conflict", cause=str(error.orig)) from error
    except DataError as error:
        raise InvalidError("a value cannot be stored", code="invalid-value", cause=str(error.orig)) from error
    except DBAPIError as error:
        raise unavailable(str(error.orig)) from error
    except StatementError as error:  # a value the driver cannot even send
        raise InvalidError("a value cannot be stored", code="invalid-value", cause=str(error.orig)) from error
    except _AWAY as error:
        raise unavailable(repr(error)) from error


@contextmanager
def told_damaged(what: str) -> Iterator[None]:
    """Around `translated`, where a database is looked at first: one that is no database, or a broken one, is named as
    such with a `SchemaError` (fault 157). Trying again later would not help."""
    try:
        yield
    except TemporaryError as error:
        if type(error.__cause__) is DatabaseError:  # its subclasses are errors of operation, this one is of content
            raise SchemaError(f"{what} is damaged ({error.fields['cause']})") from error
        raise


def unavailable(cause: str) -> TemporaryError:
    return TemporaryError("database unavailable", code="database-unavailable", cause=cause)
