"""The schema: from nothing to now, once, whole or not at all, and never under a newer database."""

from __future__ import annotations

import ast
import asyncio
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from core.clock import SystemClock
from core.config import Limits
from core.database import SchemaError, create_engine
from core.errors import TemporaryError
from core.ids import RandomIds
from directory.database import SCHEMA
from directory.models import Base
from directory.service import SqlDirectory
from migrations import runner
from tests.fakes.postgres import Postgres

VERSIONS = Path(runner.__file__).parent / "versions"


def fresh(kind: str, tmp_path: Path, server: Postgres) -> str:
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/new.db"
    server.drop("fresh")
    return server.create("fresh")


def differences(url: str) -> list[object]:
    def compare(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, Base.metadata))

    async def go() -> list[object]:
        engine = create_engine(url)
        async with engine.connect() as connection:
            found = await connection.run_sync(compare)
        await engine.dispose()
        return found

    return asyncio.run(go())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_from_empty_to_head_and_again_changes_nothing(kind: str, tmp_path: Path, postgres_server: Postgres) -> None:
    url = fresh(kind, tmp_path, postgres_server)
    assert runner.current(url) is None
    runner.upgrade(url)
    assert runner.current(url) == runner.head()
    runner.upgrade(url)
    assert runner.current(url) == runner.head()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_models_and_migrated_schema_agree(kind: str, tmp_path: Path, postgres_server: Postgres) -> None:
    url = fresh(kind, tmp_path, postgres_server)
    runner.upgrade(url)
    assert differences(url) == []


def test_the_program_and_the_migrations_mean_the_same_version() -> None:
    assert runner.head() == SCHEMA


def test_the_database_file_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    runner.upgrade(f"sqlite:///{tmp_path}/new.db")
    assert stat.S_IMODE((tmp_path / "new.db").stat().st_mode) == 0o600


def test_asking_for_the_version_makes_no_file(tmp_path: Path) -> None:
    assert runner.current(f"sqlite:///{tmp_path}/new.db") is None
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_started_twice_at_once_it_happens_once(kind: str, tmp_path: Path, postgres_server: Postgres) -> None:
    url = fresh(kind, tmp_path, postgres_server)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            runner.upgrade(url)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert runner.current(url) == runner.head()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_f147_cut_off_half_way_it_has_not_happened(
    kind: str, tmp_path: Path, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh(kind, tmp_path, postgres_server)

    def half(connection: Connection, _to: str) -> None:
        connection.execute(text("CREATE TABLE half (id INTEGER)"))
        raise OSError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(runner, "_upgrade", half)
        with pytest.raises(TemporaryError):
            runner.upgrade(url)
    runner.upgrade(url)
    assert differences(url) == []


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_f157_a_newer_database_is_refused_and_not_touched(
    kind: str, tmp_path: Path, postgres_server: Postgres
) -> None:
    url = fresh(kind, tmp_path, postgres_server)
    await asyncio.to_thread(runner.upgrade, url)
    engine = create_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await engine.dispose()
    with pytest.raises(SchemaError, match=r"9999.*newer program"):
        await asyncio.to_thread(runner.upgrade, url)
    assert await asyncio.to_thread(runner.current, url) == "9999"
    with pytest.raises(SchemaError, match="newer program"):
        await open_directory(url)


async def test_f157_an_empty_database_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="beffroi migrate"):
        await open_directory(f"sqlite:///{tmp_path}/new.db")


async def test_f157_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "new.db").write_bytes(b"\x00\xffnot a database" * 1000)
    url = f"sqlite:///{tmp_path}/new.db"
    with pytest.raises(SchemaError, match="damaged"):
        await open_directory(url)
    for look in (runner.current, runner.upgrade):
        with pytest.raises(SchemaError, match="damaged"):
            await asyncio.to_thread(look, url)


def test_what_would_orphan_mail_is_refused_by_the_database_itself(sqlite_url: str) -> None:
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("INSERT INTO organisation VALUES ('o', 'O', 'o', 'active', 0, 0)")
        connection.execute("INSERT INTO domain VALUES ('d', 'd.test', 'o', 'active', 0)")
        connection.execute("INSERT INTO address VALUES ('a', 'a@d.test', 'a', 'd')")
        for table in ("organisation", "domain"):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(f"DELETE FROM {table}")
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("INSERT INTO address VALUES ('b', 'a@d.test', 'A', 'd')")
    connection.close()


def test_versions_are_frozen() -> None:
    """They import nothing of ours: they may not change when a model does."""
    for path in VERSIONS.glob("0*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.module in ("__future__", "alembic"), path.name


async def open_directory(url: str) -> None:
    directory = await SqlDirectory.open(url, clock=SystemClock(), ids=RandomIds(), limits=Limits())
    await directory.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_from_0001_every_mailbox_keeps_its_password(kind: str, tmp_path: Path, postgres_server: Postgres) -> None:
    url = fresh(kind, tmp_path, postgres_server)
    runner.upgrade(url, to="0001")
    execute(
        url,
        "INSERT INTO organisation VALUES ('o', 'O', 'o', 'active', 0)",
        "INSERT INTO domain VALUES ('d', 'd.test', 'o', 'active', NULL, 0)",
        "INSERT INTO address VALUES ('a', 'a@d.test', 'a', 'd')",
        "INSERT INTO account VALUES ('i', 'a', 'o', '', 0, 'active', 0)",
        "INSERT INTO credential VALUES ('c', 'i', 'password', 'hash', '', '', '', NULL, 0)",
    )
    runner.upgrade(url)
    assert runner.current(url) == runner.head()
    assert execute(url, "SELECT secret_hash, bare_lines, scram FROM credential") == [("hash", 0, "")]
    assert execute(url, "SELECT kind FROM account") == [("person",)]
    assert execute(url, "SELECT * FROM domain") == [("d", "d.test", "o", "active", 0)]


IDENTITY = "SELECT identity FROM directory_state"


def test_each_new_directory_is_another_one_and_stays_itself(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "two")]
    for url in urls:
        runner.upgrade(url)
    [[(one,)], [(two,)]] = found = [execute(url, IDENTITY) for url in urls]
    assert len({"", one, two}) == 3
    runner.upgrade(urls[0])
    assert execute(urls[0], IDENTITY) == found[0]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_backup_from_before_is_brought_up_to_the_same_identity(
    kind: str, tmp_path: Path, postgres_server: Postgres
) -> None:
    """Its own queue would be refused to it else."""
    found = []
    for _ in range(2):
        url = fresh(kind, tmp_path, postgres_server)
        runner.upgrade(url, to="0004")
        execute(
            url,
            *(
                f"INSERT INTO organisation VALUES ('{i}', '{i}', '{i}', 'active', {at}, 0)"
                for i, at in (("b", 2), ("c", 1))
            ),
        )
        runner.upgrade(url)
        found += execute(url, IDENTITY)
        (tmp_path / "new.db").unlink(missing_ok=True)
    assert found == [("c",)] * 2


def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    """All in one transaction; the rows of the last one."""

    def work(connection: Connection) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        for statement in statements:
            result = connection.execute(text(statement))
            rows = [tuple(row) for row in result] if result.returns_rows else []
        return rows

    async def go() -> list[tuple[object, ...]]:
        engine = create_engine(url)
        async with engine.begin() as connection:
            rows = await connection.run_sync(work)
        await engine.dispose()
        return rows

    return asyncio.run(go())
