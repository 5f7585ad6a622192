"""The queue's SQL on a real PostgreSQL: nothing in it is SQLite's alone but what `database` keeps to itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from antispam.greylist import Greylisting, Terms
from core.address import parse
from core.database import create_engine
from core.errors import NotFoundError
from core.status import accepted, deferred
from delivery.destinations import Destinations
from delivery.next_hop import Routes
from delivery.outcome import Backoff, Rules
from delivery.queue import (
    administration,
    allowance,
    claims,
    content,
    entering,
    greylist,
    holds,
    leases,
    orphans,
    picking,
    planning,
    reports,
    results,
    schema,
    tls_counts,
    vacations,
)
from delivery.queue import backlog as backlogs
from delivery.queue.backlog import Backlog
from delivery.queue.leases import NONE, Lease, Looks
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.types import Action, Picked, QueuedMessage, Result, ResultKind
from message.content import BytesContent
from tests.fakes.postgres import running

T = TypeVar("T")
NOW = 1_790_000_000.0
RULES = Rules(Backoff((300,), 432_000, 14_400), now=lambda: NOW, chance=lambda: 0.5)
HEAD = b"From: a@one.test\r\n\r\n"


@pytest.fixture
async def engine() -> AsyncIterator[AsyncEngine]:
    with running() as server:
        made = create_engine(server.create("queue"))
        yield made
        await made.dispose()


async def test_every_operation_of_the_queue(engine: AsyncEngine) -> None:
    """One story, so that each statement meets rows that another one left."""

    async def run(act: Callable[[Connection], T]) -> T:
        async with engine.begin() as connection:
            return await connection.run_sync(act)

    await run(schema.metadata.create_all)
    to = tuple(NewRecipient(parse(f"x@{name}.test"), "o1") for name in ("good", "bad", "late"))
    to += (NewRecipient(parse("x@gone.test"), "o1", wait=1.0),)
    new = NewMessage("q1", parse("a@one.test"), BytesContent(HEAD + b"x" * 600_000), to, local_prefix=b"X: y\r\n")
    ids = await run(lambda c: entering.enqueue(c, new, now=NOW, lease=NONE))
    assert len(set(ids)) == 4
    rules, four = allowance.Rules(5, 100, 100), [f"{number}@two.test" for number in range(4)]
    assert (await run(lambda c: allowance.charge(c, "acc", four, rules, NOW))).answer is allowance.Answer.GRANTED
    assert (await run(lambda c: allowance.charge(c, "acc", four, rules, NOW))).answer is allowance.Answer.DAILY
    assert not await run(lambda c: allowance.unlock(c, "acc"))
    for reason in (holds.Hold.LOCK, holds.Hold.SUSPENSION):
        await run(partial(holds.hold_accounts, account_ids=["acc"], reason=reason))
    to_hold = NewMessage("q0", None, BytesContent(HEAD), (NewRecipient(parse("x@held.test")),), account_id="acc")
    await run(lambda c: entering.enqueue(c, to_hold, now=NOW, lease=NONE))
    await run(lambda c: holds.free_accounts(c, ["acc"], holds.Hold.LOCK))
    assert (await run(lambda c: administration._show(c, None, "q0"))).held_by == ("suspension",)
    await run(lambda c: holds.free_accounts(c, ["acc"], holds.Hold.SUSPENSION))
    assert not (await run(lambda c: administration._show(c, None, "q0"))).held
    await run(lambda c: holds.hold_accounts(c, ["acc"], holds.Hold.LOCK))
    await run(lambda c: orphans.mark(c, ["acc"], NOW))
    assert (await run(lambda c: administration._show(c, None, "q0"))).held_by == ("lock", "removal")
    assert await run(holds.concerned) == {"acc"}
    await run(lambda c: orphans.unmark(c, ["acc"], NOW))
    assert await run(lambda c: orphans.end(c, RULES.judge, marked_before=NOW, now=NOW)) == []
    await run(lambda c: orphans.mark(c, ["acc"], NOW))
    assert len(await run(lambda c: orphans.end(c, RULES.judge, marked_before=NOW, now=NOW))) == 1
    await run(lambda c: results.remove(c, "q0"))
    await run(lambda c: entering.refund(c, "acc", 1, NOW))
    assert await run(lambda c: entering.sent_recently(c, "acc", NOW)) == 3
    assert await run(claims.next_due) == NOW

    window = Destinations(9, Routes({}).next_hop).selection()
    taken = await run(lambda c: claims.claim(c, window, (), now=NOW, lease=Lease("w1", NOW + 60, 60.0)))
    assert [len(job.recipients) for job in taken] == [1, 1, 1]
    assert taken[0].message.local_prefix == b"X: y\r\n"
    database: Any = None
    loaded = await run(lambda c: content.load(c, database, "q1", new.content.size, len(HEAD)))
    assert (loaded.head, loaded.size) == (HEAD, new.content.size)
    renewed = Lease("w1", NOW + 90, 60.0)
    assert await run(lambda c: leases.renew(c, renewed, but={NOW + 60})) == 0
    assert await run(lambda c: leases.renew(c, renewed, but=())) == 3
    assert await run(lambda c: leases.of_others(c, "w2")) == [renewed]
    looks = Looks(0.0, {}).next([renewed], 50.0, 60.0)
    assert looks.over() == []
    assert looks.next([renewed], 110.0, 60.0).over() == [renewed]
    await run(lambda c: leases.free(c, [Lease("w1", NOW + 60, 60.0)], NOW))  # renewed meanwhile: nothing is taken

    outcomes = [
        Result(ids[0], ResultKind.DELIVERED, accepted()),
        Result(ids[1], ResultKind.FAILED, deferred("no", "no")),
        Result(ids[2], ResultKind.DEFERRED, deferred("busy", "busy")),
    ]
    settled = await run(lambda c: results.apply(c, outcomes, RULES.judge, owner="w1", now=NOW))
    assert [item.outcome.state.value for item in settled] == ["delivered", "failed", "waiting"]
    backlog = Backlog("gone.test", NOW + 300, deferred("away", "away", "4.4.1"), "", NOW - 1e6, NOW - 1e5)
    assert await run(lambda c: backlogs.put_off(c, backlog, RULES.judge, now=NOW + 2)) == ([], 0)
    assert await run(lambda c: planning.pull_back(c, now=NOW, horizon=1.0)) == 2

    for ahead, back in ((50.0, 0.0), (50.0, 0.0), (40.0, 10.0), (40.0, 0.0)):
        stand = planning.Stand("m", "b", ahead)
        assert await run(partial(planning.replan, stand=stand, now=NOW)) == back

    [debt] = await run(lambda c: reports.debts(c, NOW))
    report = NewMessage("r1", None, BytesContent(HEAD), (NewRecipient(parse("a@one.test"), "o1", local=True),))
    await run(lambda c: reports.settle(c, debt, report, now=NOW))
    listed = await run(lambda c: administration._list(c, "o1", 10))
    assert [item.queue_id for item in listed] == ["q1", "r1"]
    assert await run(lambda c: administration._list(c, "o2", 10)) == []
    with pytest.raises(NotFoundError):
        await run(lambda c: administration._show(c, "o2", "q1"))
    newest = await run(picking.last)
    assert newest == "r1"
    assert await run(lambda c: picking.part(c, "o1", Picked(domain="late.test", held=False), "drop", "", newest)) == [
        "q1"
    ]
    late = partial(picking.act, organisation_id=None, picked=Picked(domain="late.test"), queue_ids=["q1"], now=NOW)
    actions: tuple[Action, ...] = ("hold", "retry", "release", "drop")
    for action in actions:
        gone = await run(partial(late, action=action))
    assert gone == [("q1", "a@one.test", "x@late.test", "o1")]
    shapes = await run(lambda c: picking.shape(c, "o1", "domain", NOW + 600))
    assert [(item.name, item.total, item.counts[2]) for item in shapes] == [("", 1, 1), ("gone.test", 1, 1)]
    assert await run(lambda c: leases.give_back(c, owner="w1", now=NOW)) == 0
    await run(lambda c: results.remove(c, ["q1"]))
    assert [item.queue_id for item in await run(lambda c: administration._list(c, None, 10))] == ["r1"]


async def meanwhile(engine: AsyncEngine, first: Callable[[Connection], object], then: Callable[[Connection], T]) -> T:
    """`then` runs while the transaction of `first` is open, until it waits for it or is done; then that commits."""

    async def run() -> T:
        async with engine.begin() as connection:
            return await connection.run_sync(then)

    async def waits() -> bool:
        async with engine.begin() as connection:
            return bool((await connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))).scalar())

    async with asyncio.TaskGroup() as group, engine.begin() as connection:
        await connection.run_sync(first)
        other = group.create_task(run())
        async with asyncio.timeout(30):
            while not other.done() and not await waits():
                await asyncio.sleep(0.01)
    return other.result()


def enters(connection: Connection) -> None:
    new = NewMessage("q1", None, BytesContent(HEAD), (NewRecipient(parse("x@one.test")),), account_id="acc")
    entering.enqueue(connection, new, now=NOW, lease=NONE)


def suspends(connection: Connection) -> None:
    holds.hold_accounts(connection, ["acc"], holds.Hold.SUSPENSION)


async def shown(engine: AsyncEngine) -> QueuedMessage:
    async with engine.begin() as connection:
        return await connection.run_sync(lambda c: administration._show(c, None, "q1"))


TERMS = Terms(300.0, 3600.0, 86_400.0, 100)
STAND = planning.Stand("m", "b", 50.0)
TLS_KEY = tls_counts.TlsKey(1, "r.test", "{}", "", "", "", "", "")


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda c: planning.replan(c, STAND, NOW), (0.0, 0.0)),
        (lambda c: tls_counts.add(c, {TLS_KEY: 2}), (None, None)),
        (lambda c: tls_counts.claim(c, 1, "r.test", now=NOW, term=9.0), (None, None)),  # there are no counts
        (lambda c: greylist.ask(c, "k", NOW, TERMS), (Greylisting.NEW, Greylisting.NEW)),
        (lambda c: vacations.tell_once(c, "acc", ("x@one.test", "y@one.test"), NOW), (True, False)),
    ],
    ids=["clock", "tls", "claim", "greylist", "vacation"],
)
async def test_two_who_make_the_same_row_at_the_same_moment(
    engine: AsyncEngine, act: Callable[[Connection], object], told: tuple[object, object]
) -> None:
    """Two workers that start together for the first time, say: the second's operation failed as a whole."""
    heard: list[object] = []
    async with engine.begin() as connection:
        await connection.run_sync(schema.metadata.create_all)
    await meanwhile(engine, lambda c: heard.append(act(c)), lambda c: heard.append(act(c)))
    assert tuple(heard) == told
    async with engine.begin() as connection:
        counts = await connection.run_sync(lambda c: tls_counts.counts(c, 1, "r.test"))
    assert sum(counts.values()) in (0, 4)


async def test_a_message_that_enters_while_its_account_is_suspended_is_held(engine: AsyncEngine) -> None:
    """Neither saw the other: the message left."""
    async with engine.begin() as connection:
        await connection.run_sync(schema.metadata.create_all)
    await meanwhile(engine, enters, suspends)
    assert (await shown(engine)).held_by == ("suspension",)


async def test_a_message_that_enters_while_its_account_is_resumed_is_not_held(engine: AsyncEngine) -> None:
    """It had read the hold, and whoever took that away did not see it: it stayed for ever."""
    async with engine.begin() as connection:
        await connection.run_sync(schema.metadata.create_all)
        await connection.run_sync(suspends)
    await meanwhile(engine, enters, lambda c: holds.free_accounts(c, ["acc"], holds.Hold.SUSPENSION))
    assert not (await shown(engine)).held


@pytest.mark.parametrize("suspended_first", [False, True])
async def test_an_account_is_suspended_while_it_is_warned_for_the_first_time(
    engine: AsyncEngine, suspended_first: bool
) -> None:
    """Both make its row: the second failed."""

    def warns(connection: Connection) -> None:
        five = [f"{number}@two.test" for number in range(5)]
        assert allowance.charge(connection, "acc", five, allowance.Rules(5, 100, 100), NOW).warn

    async with engine.begin() as connection:
        await connection.run_sync(schema.metadata.create_all)
    await meanwhile(engine, *((suspends, warns) if suspended_first else (warns, suspends)))
    async with engine.begin() as connection:
        [row] = (await connection.execute(select(schema.sending))).all()
    assert (row.warned_at, row.holds) == (NOW, holds.Hold.SUSPENSION.value)


async def test_the_last_two_recipients_of_a_message_end_side_by_side_and_the_message_goes(engine: AsyncEngine) -> None:
    """Each transaction saw the other's recipient open still and left the message to it: nobody removed it."""
    to = tuple(NewRecipient(parse(f"x@{name}.test"), "o1") for name in ("one", "two"))
    async with engine.begin() as connection:
        await connection.run_sync(schema.metadata.create_all)
        new = NewMessage("q1", parse("a@one.test"), BytesContent(HEAD), to)
        ids = await connection.run_sync(lambda c: entering.enqueue(c, new, now=NOW, lease=NONE))
        window = Destinations(9, Routes({}).next_hop).selection()
        await connection.run_sync(lambda c: claims.claim(c, window, (), now=NOW, lease=Lease("w", NOW + 60, 60.0)))

    async def end(id_: int, applied: asyncio.Event, other: asyncio.Event) -> None:
        done = [Result(id_, ResultKind.DELIVERED, accepted())]
        async with engine.begin() as connection:
            await connection.run_sync(lambda c: results.apply(c, done, RULES.judge, owner="w", now=NOW))
            applied.set()
            with contextlib.suppress(TimeoutError):  # who has to wait for us cannot be waited for
                await asyncio.wait_for(other.wait(), 1)

    first, second = asyncio.Event(), asyncio.Event()
    await asyncio.gather(end(ids[0], first, second), end(ids[1], second, first))
    async with engine.begin() as connection:
        assert await connection.run_sync(lambda c: administration._list(c, None, 10)) == []
        assert (await connection.execute(select(schema.message.c.queue_id))).all() == []
