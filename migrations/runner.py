"""Bring a database to the version of this program, or say why not. Synchronous; alembic is touched here, in env.py
and in the versions only.

A migration is one transaction on both databases, behind a lock: killed half way it has not happened, started twice it
happens once (fault 147). A database newer than the program is refused and left alone (fault 157).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from core.database import SchemaError, async_url, create_engine, told_damaged, translated

T = TypeVar("T")

PATIENCE = 60.0  # seconds a migration may take, waiting for another one included
_LOCK = 0x6265_6666  # "beff": the advisory lock of migrations on PostgreSQL


def head() -> str:
    """The version this program was written for."""
    return str(_script().get_current_head())


def current(url: str) -> str | None:
    """The version of the database, None when it is empty. Raises `SchemaError` when it is damaged,
    `TemporaryError` when it is away; not inside an event loop."""
    return None if _missing(url) else asyncio.run(_run(url, _revision))


def upgrade(url: str, *, to: str = "head") -> None:
    """To `head` (tests stop at an older version); does nothing when it is there. Raises `SchemaError`,
    `TemporaryError`; not inside an event loop (use `asyncio.to_thread`)."""
    missing = _missing(url)
    if missing:
        with translated():
            # A new file belongs to its owner alone: it holds password hashes. SQLite gives its side files its mode.
            os.close(os.open(missing, os.O_CREAT | os.O_WRONLY, 0o600))
    asyncio.run(_run(url, lambda connection: _upgrade(connection, to)))


def check_known(found: str | None) -> None:
    """Raises `SchemaError` for a version that this program has never heard of: a newer one made it."""
    if found is not None and found not in {script.revision for script in _script().walk_revisions()}:
        raise SchemaError(
            f"the directory has version {found}, made by a newer program than this one ({head()}); it was not touched",
            found=found,
        )


def _upgrade(connection: Connection, to: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    check_known(_revision(connection))
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def _run(url: str, work: Callable[[Connection], T]) -> T:
    """`work` in one transaction that holds the write lock from its start."""
    engine = create_engine(url)
    try:
        with told_damaged("the directory's database"), translated():
            async with asyncio.timeout(PATIENCE), engine.execution_options(immediate=True).begin() as connection:
                return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _missing(url: str) -> str:
    """The path of a SQLite file that does not exist yet, else "". An existing one is never opened by us beside
    SQLite: closing it would drop the locks of this process on it."""
    parsed = async_url(url)
    path = parsed.database if parsed.get_backend_name() == "sqlite" else None
    return path if path and not os.path.exists(path) else ""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
