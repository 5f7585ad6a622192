"""Fixtures: an empty migrated database of each kind, and a directory on it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from core.clock import ManualClock
from core.config import Limits
from core.ids import RandomIds
from directory.models import Base, StateRow
from directory.service import SqlDirectory
from migrations import runner
from tests.directory.desk import ANNE, Desk
from tests.directory.helpers import GOOD, commune, mailbox
from tests.fakes import postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    try:
        with postgres.running() as server:
            runner.upgrade(server.create("migrated"))
            server.create("shared", template="migrated")
            yield server
    except postgres.MissingPostgres as error:
        pytest.fail(f"PostgreSQL is needed: {error}")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "directory.db"
    runner.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    shutil.copy(sqlite_template, tmp_path / "directory.db")
    return f"sqlite:///{tmp_path}/directory.db"


@pytest.fixture
def postgres_url(postgres_server: postgres.Postgres) -> str:
    """One database for all tests; `both` empties it."""
    return postgres_server.url("shared")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    return str(request.getfixturevalue(fixture))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def both(url: str, clock: ManualClock) -> AsyncIterator[SqlDirectory]:
    """A directory on SQLite and, again, on PostgreSQL."""
    directory = await SqlDirectory.open(url, clock=clock, ids=RandomIds(), limits=Limits())
    if url.startswith("postgresql"):
        await empty(directory)
    yield directory
    await directory.close()


async def empty(directory: SqlDirectory) -> None:
    names = ", ".join(table.name for table in Base.metadata.sorted_tables if table is not StateRow.__table__)
    async with directory._database.write() as session:
        await session.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
        await session.execute(text("UPDATE directory_state SET version = 0, operator_postmaster = NULL"))


@pytest.fixture
async def directory(sqlite_url: str, clock: ManualClock) -> AsyncIterator[SqlDirectory]:
    """A directory on SQLite, for what does not depend on the database."""
    opened = await SqlDirectory.open(sqlite_url, clock=clock, ids=RandomIds(), limits=Limits())
    yield opened
    await opened.close()


@pytest.fixture
async def desk(directory: SqlDirectory, sqlite_url: str, clock: ManualClock) -> AsyncIterator[Desk]:
    await commune(directory, "Brou", "brou.test")
    await mailbox(directory, ANNE, GOOD)
    opened = Desk(sqlite_url, clock, Limits(exempt=["10.9.0.0/16"]))
    yield opened
    await opened.close()


@pytest.fixture
async def elsewhere(sqlite_url: str, clock: ManualClock) -> AsyncIterator[SqlDirectory]:
    """Another process on the same database."""
    opened = await SqlDirectory.open(sqlite_url, clock=clock, ids=RandomIds(), limits=Limits())
    yield opened
    await opened.close()
