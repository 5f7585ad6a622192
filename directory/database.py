"""Transactions of the directory, on the engine that `core.database` makes. Refuses to know tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from core.database import SchemaError, told_damaged, translated
from core.errors import TemporaryError
from core.sqlite import Watch

SCHEMA = "0005"  # the migration this code was written for; a test holds it equal to migrations.runner.head()
TRANSACTION = 20.0  # seconds for a whole transaction


class CommitUnknown(TemporaryError):
    """The connection broke while committing: done or not, nobody knows yet (fault 158)."""

    code = "database-unavailable"


class Database:
    """Transactions on one engine. Whoever holds a session holds a connection: no peer is awaited inside. `watch` tells
    at once of every commit, of other processes, too; None where the database cannot (PostgreSQL)."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        file = engine.url.database if engine.url.get_backend_name() == "sqlite" else None
        self.watch = Watch(Path(file)) if file and file != ":memory:" else None
        self._writing = engine.execution_options(immediate=True)

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
        committing = False
        with translated():
            try:
                async with asyncio.timeout(TRANSACTION), AsyncSession(self._writing, expire_on_commit=False) as session:
                    yield session
                    await session.flush()
                    committing = True
                    await session.commit()
            except IntegrityError:
                raise  # refused at the commit: certainly not done
            except (DBAPIError, OSError, TimeoutError) as error:
                if committing:
                    raise CommitUnknown("database unavailable", cause=repr(error)) from error
                raise

    async def check_schema(self) -> None:
        """Raises `SchemaError` unless the database is whole and of exactly our version, `TemporaryError` when it is
        away (fault 157)."""
        with told_damaged("the directory's database"):
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
        if self.watch is not None:
            self.watch.close()
        await self._engine.dispose()
