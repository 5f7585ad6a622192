"""A queue of the version before, with mail in it, is brought up to this one; nothing of it is lost (fault 168)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from core.address import parse
from core.clock import ManualClock
from core.database import create_engine as create_async
from core.envelope import AT_ONCE, Schedule
from core.errors import StorageError
from delivery.queue import schema
from delivery.queue.claims import Candidate, Choice
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from message.content import BytesContent
from tests.fakes.postgres import running
from tests.fakes.queue_versions import BYTES, make_version, make_version_1, multiply

COUNT = (
    "SELECT (SELECT count(*) FROM queue_message), (SELECT count(*) FROM queue_chunk), "
    "(SELECT count(*) FROM queue_recipient WHERE state IN ('waiting', 'claimed') OR lease_until > 0)"
)
INDEXES = "SELECT name FROM sqlite_master WHERE type = 'index'"


def everything(page: Sequence[Candidate]) -> Choice:
    return Choice(tuple((item.id,) for item in page), frozenset())


async def check(queue: Queue) -> None:
    """What was there is as it was, and what is new works beside it."""
    [shown] = await queue.administration.list(None)
    assert (shown.queue_id, shown.sender, shown.schedule) == ("old", "a@one.test", AT_ONCE)
    [recipient] = shown.recipients
    assert (recipient.attempts, recipient.last_status) == (3, "451 4.4.1 away")
    urgent = NewMessage(
        "new", None, BytesContent(BYTES), (NewRecipient(parse("c@two.test")),), schedule=Schedule(priority=4),
        submitter="maire@one.test",
    )  # fmt: skip
    await queue.enqueue(urgent)
    claimed = await queue.claim(everything)
    assert [item.message.queue_id for item in claimed] == ["new", "old"]
    old = claimed[1]
    assert {item.message.submitter for item in claimed} == {"maire@one.test", ""}
    assert (old.message.local_prefix, old.recipients[0].dsn.notify) == (b"X: y\r\n", frozenset({"FAILURE"}))
    content = await queue.content(old.message)
    assert content.read(0, content.size) == BYTES


def test_every_earlier_version_has_its_step() -> None:
    assert len(schema.UPGRADES) == schema.VERSION - 1


@pytest.mark.parametrize("version", range(1, schema.VERSION))
async def test_f168_a_queue_of_any_earlier_version_is_upgraded_with_its_mail(tmp_path: Path, version: int) -> None:
    file = tmp_path / "queue" / "queue.db"
    file.parent.mkdir()
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        make_version(connection, version)
    engine.dispose()
    clock = ManualClock(1_790_000_100.0)
    for opened in range(2):  # once upgraded it stays so
        queue = Queue(file, tmp_path / "run", clock=clock)
        await queue.open()
        found = await queue._database.read(
            lambda c: c.exec_driver_sql("SELECT value FROM queue_about WHERE key = 'version'").scalar()
        )
        assert found == str(schema.VERSION)
        indexes = set(await queue._database.read(lambda c: c.exec_driver_sql(INDEXES).scalars().all()))
        assert "queue_due_next" in indexes
        assert not indexes & set(schema.FORMER_INDEXES)
        if opened == 1:
            await check(queue)
        await queue.close()


async def test_what_was_held_before_reasons_were_kept_stays_held_for_the_likely_one(tmp_path: Path) -> None:
    file = tmp_path / "queue.db"
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        make_version_1(connection)
        multiply(connection, 2)
        for statement in (
            "CREATE TABLE queue_sending (account_id VARCHAR(64) NOT NULL PRIMARY KEY, locked_at DOUBLE NOT NULL, "
            "warned_at DOUBLE NOT NULL)",
            "INSERT INTO queue_sending VALUES ('hijacked', 1790000000.0, 0)",
            "UPDATE queue_message SET account_id = 'hijacked' WHERE queue_id = 'old1'",
            "UPDATE queue_recipient SET held = TRUE WHERE queue_id != 'old'",
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()
    queue = Queue(file, tmp_path / "run", clock=ManualClock(1_790_000_100.0))
    await queue.open()
    shown = {item.queue_id: item.held_by for item in await queue.administration.list(None)}
    assert shown == {"old": (), "old1": ("lock",), "old2": ("administrator",)}
    assert await queue.administration.unlock("hijacked")
    assert [item.queue_id for item in await queue.administration.list(None) if item.held] == ["old2"]
    await queue.close()


MANY = 10_000


async def test_f168_ten_thousand_queued_messages_are_upgraded_and_the_older_program_refuses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "queue" / "queue.db"
    file.parent.mkdir()
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        make_version_1(connection)
        multiply(connection, MANY - 1)
    engine.dispose()
    clock = ManualClock(1_790_000_100.0)
    queue = Queue(file, tmp_path / "run", clock=clock)
    await queue.open()
    assert await queue._database.read(lambda c: c.exec_driver_sql(COUNT).one()) == (MANY, MANY, MANY)
    claimed = await queue.claim(everything)
    assert claimed
    for item in claimed:
        content = await queue.content(item.message)
        assert content.read(0, content.size) == BYTES
    await queue.close()
    before = file.read_bytes()
    monkeypatch.setattr(schema, "VERSION", 1)  # the program before, which knew no further
    monkeypatch.setattr(schema, "UPGRADES", ())
    older = Queue(file, tmp_path / "run", clock=clock)
    with pytest.raises(StorageError) as refused:
        await older.open()
    assert refused.value.code == "queue-version"
    assert "install the newer program" in str(refused.value)
    assert file.read_bytes() == before
    monkeypatch.undo()
    again = Queue(file, tmp_path / "run", clock=clock)
    await again.open()
    assert await again._database.read(lambda c: c.exec_driver_sql(COUNT).one()) == (MANY, MANY, MANY)
    await again.close()


async def test_f168_on_postgresql_too(tmp_path: Path) -> None:
    with running() as server:
        for version in range(1, schema.VERSION):
            url = server.create(f"queue{version}")
            engine = create_async(url)
            async with engine.begin() as connection:
                await connection.run_sync(make_version, version)
            await engine.dispose()
            clock = ManualClock(1_790_000_100.0)
            queue = Queue(tmp_path / "unused", tmp_path / "run", clock=clock, url=url)
            await queue.open()
            await check(queue)
            await queue.close()
