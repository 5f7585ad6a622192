"""Fixtures: an empty migrated database of each kind, and a directory on it."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.config import Limits
from core.ids import RandomIds
from directory.service import SqlDirectory
from migrations import runner
from tests.fakes import postgres

_names = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    try:
        with postgres.running() as server:
            runner.upgrade(server.create("migrated"))
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
def postgres_url(postgres_server: postgres.Postgres) -> Iterator[str]:
    name = f"test{next(_names)}"
    yield postgres_server.create(name, template="migrated")
    postgres_server.drop(name)


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
    yield directory
    await directory.close()


@pytest.fixture
async def directory(sqlite_url: str, clock: ManualClock) -> AsyncIterator[SqlDirectory]:
    """A directory on SQLite, for what does not depend on the database."""
    opened = await SqlDirectory.open(sqlite_url, clock=clock, ids=RandomIds(), limits=Limits())
    yield opened
    await opened.close()
