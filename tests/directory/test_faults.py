"""The database away, slow, locked, or cut off in the middle (security.md, faults 156 and 158)."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from core import database as seam
from core import sqlite
from core.clock import ManualClock
from core.config import ConfigError, Limits
from core.database import async_url
from core.errors import ConflictError, TemporaryError
from core.ids import RandomIds
from directory.repositories.accounts import Accounts
from directory.repositories.audit import Audit
from directory.service import SqlDirectory
from directory.types import LocalAccount, LoggedIn, LoginUnavailable
from tests.directory.helpers import GOOD, LOCAL, OPERATOR, at, commune, mailbox
from tests.fakes import postgres


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:////var/lib/x.db", "sqlite+aiosqlite:////var/lib/x.db"),
        ("postgresql://u@h/db", "postgresql+asyncpg://u@h/db"),
        ("postgres://u@h:5433/db?sslmode=require", "postgresql+asyncpg://u@h:5433/db?ssl=require"),
        ("postgresql+psycopg://u@h/db", "postgresql+asyncpg://u@h/db"),
    ],
)
def test_configured_urls_get_our_drivers(url: str, expected: str) -> None:
    assert async_url(url).render_as_string(hide_password=False) == expected


@pytest.mark.parametrize("url", ["", "x", "mysql://h/db", "sqlite"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        async_url(url)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://h:65536/db", "65536 is not a port"),
        ("postgresql://h:0/db", "0 is not a port"),
        ("postgresql://h:99999999999999999999/db", "99999999999999999999 is not a port"),
        ("postgresql://h/db?host=a:1&host=b:65536", "65536 is not a port"),
        ("postgresql://h:x/db", "not a database URL"),
        ("postgresql://a..b/db", "'a..b' is not a name of a host"),
        (f"postgresql://{'a' * 64}/db", "is not a name of a host"),
        ("postgresql://h/db?connect_timeout=5", "connect_timeout cannot stand behind the question mark"),
        ("sqlite://x", "not a database URL"),
        ("sqlite:///x?timeout=soon", "not a database URL"),
        ("sqlite://", "names no file"),
    ],
)
def test_what_a_driver_would_fail_at_is_told_in_words(url: str, told: str) -> None:
    """The driver raised OverflowError, UnicodeError or TypeError when it connected: a traceback on the command line."""
    with pytest.raises(ConfigError, match=rf"^database\.queue: .*{re.escape(told)}"):
        async_url(url, "database.queue")


@pytest.mark.parametrize("host", ["[::1]:65535", "base.dept.test:1", "bâse.test", "/db?host=/run/postgresql", ""])
def test_hosts_that_are_taken(host: str) -> None:
    assert async_url(f"postgresql://u@{host}").get_backend_name() == "postgresql"


async def test_f158_postgresql_stops_and_comes_back(postgres_server: postgres.Postgres, clock: ManualClock) -> None:
    postgres_server.drop("stopping")
    url = postgres_server.create("stopping", template="migrated")
    directory = await SqlDirectory.open(url, clock=clock, ids=RandomIds(), limits=Limits())
    await commune(directory, "Brou", "brou.test")
    anne = await mailbox(directory, "anne@brou.test", GOOD)
    await asyncio.to_thread(postgres_server.stop)
    try:
        clock.advance(10)
        for _ in range(2):
            with pytest.raises(TemporaryError):
                await directory.resolve(anne.address)
            with pytest.raises(TemporaryError):
                await directory.suspend(OPERATOR, anne.address)
            assert await directory.login("anne@brou.test", GOOD, protocol="imap", remote=LOCAL) == LoginUnavailable()
        with pytest.raises(TemporaryError):
            await SqlDirectory.open(url, clock=clock, ids=RandomIds(), limits=Limits())
    finally:
        await asyncio.to_thread(postgres_server.start)
    assert await directory.account_by_id(anne.id) == anne
    answer = await directory.login("anne@brou.test", GOOD, protocol="imap", remote=LOCAL)
    assert isinstance(answer, LoggedIn)
    assert answer.account == anne
    await directory.close()


async def test_f156_a_locked_sqlite_file_delays_writers_only_and_not_forever(
    sqlite_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seam, "BUSY", 0.3)
    directory = await SqlDirectory.open(sqlite_url, clock=clock, ids=RandomIds(), limits=Limits())
    await commune(directory, "Brou", "brou.test")
    anne = await mailbox(directory, "anne@brou.test")
    clock.advance(10)
    holder = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    begin = time.monotonic()
    with pytest.raises(TemporaryError):
        await directory.suspend(OPERATOR, anne.address)
    assert 0.2 < time.monotonic() - begin < 5.0
    assert await directory.account_by_id(anne.id) == anne
    holder.execute("ROLLBACK")
    holder.close()
    await directory.suspend(OPERATOR, anne.address)
    await directory.close()


async def test_sqlite_is_opened_durable_and_with_foreign_keys(directory: SqlDirectory) -> None:
    async with directory._database.read() as session:
        connection = await session.connection()
        values = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert values == ["wal", 2, 1, 5000]


def broken() -> OperationalError:
    return OperationalError("COMMIT", {}, Exception("connection lost"), connection_invalidated=True)


async def test_f158_a_commit_that_happened_behind_a_broken_connection_is_found(
    both: SqlDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = AsyncSession.commit

    async def lost_after(self: AsyncSession) -> None:
        await commit(self)
        raise broken()

    with monkeypatch.context() as patch:
        patch.setattr(AsyncSession, "commit", lost_after)
        organisation = await both.add_organisation(OPERATOR, "Brou")
    assert list(await both.organisations(OPERATOR)) == [organisation]


async def test_f158_a_commit_that_did_not_happen_is_not_assumed(
    both: SqlDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost_before(self: AsyncSession) -> None:
        await self.rollback()
        raise broken()

    with monkeypatch.context() as patch:
        patch.setattr(AsyncSession, "commit", lost_before)
        with pytest.raises(TemporaryError):
            await both.add_organisation(OPERATOR, "Brou")
    assert list(await both.organisations(OPERATOR)) == []
    again = await both.add_organisation(OPERATOR, "Brou")
    assert list(await both.organisations(OPERATOR)) == [again]


async def test_what_only_the_database_notices_is_a_conflict(
    both: SqlDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look before the change is blinded: the unique index stands behind it."""

    async def blind(self: Accounts, keys: object) -> set[str]:
        return set()

    await commune(both, "Brou", "brou.test")
    await mailbox(both, "anne@brou.test")
    monkeypatch.setattr(Accounts, "taken", blind)
    with pytest.raises(ConflictError):
        await mailbox(both, "ANNE@brou.test")
    with pytest.raises(ConflictError):
        await both.add_alias(OPERATOR, at("anne@brou.test"), [at("x@y.test")])


async def test_a_cancelled_operation_leaves_nothing_behind(both: SqlDirectory) -> None:
    for turn in range(10):
        task = asyncio.create_task(both.add_organisation(OPERATOR, f"O{turn}"))
        for _ in range(turn * 3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert (await both.add_organisation(OPERATOR, "Brou")).name == "Brou"
    names = [item.name for item in await both.organisations(OPERATOR)]
    assert names.count("Brou") == 1


async def test_a_connection_that_opens_for_whoever_was_cancelled_is_closed(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiosqlite dropped it: Python 3.13 warned of a database that was not closed."""
    began, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    class Watched(sqlite3.Connection):
        def close(self) -> None:
            super().close()
            closed.set()

    def slowly(place: str, timeout: float, check_same_thread: bool = True) -> sqlite3.Connection:
        began.set()
        assert go_on.wait(10)
        return Watched(place, timeout=timeout, check_same_thread=check_same_thread)

    monkeypatch.setattr(sqlite3, "connect", slowly)
    engine = seam.create_engine(sqlite_url)
    task = asyncio.create_task(engine.connect().start())
    assert await asyncio.to_thread(began.wait, 10)
    task.cancel()
    asyncio.get_running_loop().call_soon(go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(closed.wait, 10)
    await engine.dispose()


async def test_f169_what_cannot_be_audited_does_not_happen(
    directory: SqlDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise TemporaryError("no room for the audit")

    monkeypatch.setattr(Audit, "add", full)
    with pytest.raises(TemporaryError):
        await directory.add_organisation(OPERATOR, "Brou")
    monkeypatch.undo()
    assert not await directory.organisations(OPERATOR)


async def test_a_database_put_in_the_place_of_another_is_the_one_that_counts(
    sqlite_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A backup copied back under a running suite, which went on with the file that had no name any more. (With the old
    file's WAL left beside it SQLite would read that into the new one: the page of operations says to remove it.)"""
    monkeypatch.setattr(sqlite, "LOOK", 0.0)
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    directory = await SqlDirectory.open(sqlite_url, clock=clock, ids=RandomIds(), limits=Limits())
    await commune(directory, "Brou", "brou.test")
    anne = await mailbox(directory, "anne@brou.test")
    sqlite.backup(file, file.with_name("backup.db"))
    lea = await mailbox(directory, "lea@brou.test")
    assert await directory.account_by_id(lea.id) == lea
    await directory.resolve(anne.address)
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink()
    file.with_name("backup.db").rename(file)
    for _ in range(3):
        assert await directory.account_by_id(lea.id) is None
        assert await directory.resolve(anne.address) == LocalAccount(anne)
    await directory.suspend(OPERATOR, anne.address)
    assert capsys.readouterr().out.count("database-replaced") == 1
    file.unlink()
    with pytest.raises(TemporaryError):
        await directory.account_by_id(anne.id)
    assert not file.exists()  # an empty one would stand in the way of the right one
    await directory.close()
