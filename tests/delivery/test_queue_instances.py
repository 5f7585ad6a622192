"""One queue on a real PostgreSQL, two instances on it: nothing twice, nothing lost, and faults of the way (f158)."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncTransaction

from core.address import parse
from core.clock import ManualClock
from core.database import create_engine
from core.errors import RefusedError, TemporaryError
from core.status import deferred, refused
from delivery.queue import results
from delivery.queue.allowance import Answer, Rules
from delivery.queue.claims import Candidate, Choice
from delivery.queue.postgres import CommitUnknownError, PostgresDatabase
from delivery.queue.queue import LEASE, Queue
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.types import Job, Result, ResultKind
from message.content import BytesContent
from tests.delivery.conftest import World
from tests.delivery.runner import MAIL, empty, put, running, until
from tests.fakes.postgres import Postgres
from tests.fakes.postgres import running as postgres

T = TypeVar("T")
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as started:
        yield started


class Shared(World):
    """A commune whose queue is PostgreSQL's; `second` is another instance on it."""

    url = ""

    def another_queue(self, lease: float = LEASE, home: str = "") -> Queue:
        return Queue(
            self.config.queue_file, self.config.run_dir, clock=self.clock, url=self.url, lease=lease, home=home
        )


@pytest.fixture
async def shared(server: Postgres, tmp_path: Path) -> AsyncIterator[Shared]:
    Shared.url = await asyncio.to_thread(server.create, f"q{next(NUMBERS)}")
    made = Shared(tmp_path)
    made.directory.account("maire@ville.test")
    await made.queue.open()
    yield made
    await made.queue.close()


def everything(page: Sequence[Candidate]) -> Choice:
    return Choice(tuple((item.id,) for item in page), frozenset())


async def test_what_an_instance_accepted_comes_into_its_own_mailboxes_whoever_brings_the_rest_away(
    shared: Shared,
) -> None:
    """Bounces of one commune were put into the mail store of another machine, or dropped there as relaying."""
    ours, theirs = shared.another_queue(home="mx1.dept.test"), shared.another_queue(home="mx2.dept.test")
    for queue in (ours, theirs):
        await queue.open()
    local, far = NewRecipient(parse("maire@ville.test"), local=True), NewRecipient(parse("x@far.test"))
    await ours.enqueue(NewMessage("q1", parse("maire@ville.test"), BytesContent(MAIL), (local, far)))
    [away] = await theirs.claim(everything)
    assert [str(item.address) for item in away.recipients] == ["x@far.test"]
    assert await theirs.next_due() is None
    refusal = Result(away.recipients[0].id, ResultKind.FAILED, refused("no", "remote-refused", "5.1.1"))
    await theirs.apply([refusal], shared.rules.judge)
    assert await theirs.debts() == []
    [debt] = await ours.debts()
    report = NewMessage("q2", None, BytesContent(MAIL), (NewRecipient(parse("maire@ville.test"), local=True),))
    await ours.settle(debt, report)
    assert await theirs.claim(everything) == []
    assert {item.message.queue_id for item in await ours.claim(everything)} == {"q1", "q2"}
    for queue in (ours, theirs):
        await queue.close()


async def test_a_queue_belongs_to_the_directory_that_came_first(shared: Shared) -> None:
    """Two that come at once, too: an instance with another one forgot the absences and limits of all others."""
    second = shared.another_queue()
    await second.open()
    for directory in ("one", "two"):
        await second.is_not_of_another(directory)  # nobody's, and nobody's still
    met = await asyncio.gather(shared.queue.belong_to("one"), second.belong_to("two"), return_exceptions=True)
    [refusal] = [error for error in met if error is not None]
    assert isinstance(refusal, RefusedError)
    assert refusal.code == "queue-of-another"
    owner, other = ("one", "two") if met[0] is None else ("two", "one")
    for queue in (shared.queue, second):
        await queue.belong_to(owner)
        with pytest.raises(RefusedError):
            await queue.belong_to(other)
        await queue.is_not_of_another(owner)
        with pytest.raises(RefusedError):
            await queue.is_not_of_another(other)
    await second.assign(other)
    await shared.queue.belong_to(other)
    with pytest.raises(RefusedError):
        await shared.queue.belong_to(owner)
    await second.close()


async def test_two_instances_deliver_each_message_once(shared: Shared) -> None:
    second = shared.another_queue()
    await second.open()
    seen: Counter[str] = Counter()
    by: Counter[str] = Counter()

    def agent(name: str) -> Any:
        class Counting:
            async def deliver(self, job: Job) -> list[Result]:
                seen.update(f"{job.queue_id} {item.address}" for item in job.recipients)
                by[name] += 1
                await asyncio.sleep(0.005)
                return await inner.deliver(job)

        return Counting()

    inner = shared.remote
    shared.remote = agent("first")
    first_scheduler = shared.scheduler()
    shared.remote = agent("second")
    second_scheduler = shared.scheduler(second, run_dir=shared.config.data / "run2")
    ids = [await put(shared, f"a@d{n % 7}.test", f"b@d{n % 7}.test") for n in range(60)]
    async with running(first_scheduler), running(second_scheduler):
        await until(lambda: empty(shared), 60.0)
    assert len(seen) == 2 * len(ids)
    assert set(seen.values()) == {1}
    assert by["first"] > 0
    assert by["second"] > 0
    await second.close()


async def test_charges_of_one_account_side_by_side_are_exact_and_none_fails(shared: Shared) -> None:
    """Of messages that go to one mailbox here and enter no queue, too: their first of an hour met at the same row, and
    somebody's message was refused for it."""
    second, rules = shared.another_queue(), Rules(recipients=8, new_recipients=1000, hijack=1000)
    await second.open()

    async def charge(number: int) -> Answer:
        queue = second if number % 2 else shared.queue
        keys = [f"{number % 4}@far.test"]
        if number % 3:
            return (await queue.charge("acc", keys, rules)).answer
        new = NewMessage(
            f"q{number}", parse("maire@ville.test"), BytesContent(MAIL), (NewRecipient(parse("x@far.test")),)
        )
        return (await queue.enter([new], "acc", keys, rules))[0].answer

    found = Counter(await asyncio.gather(*map(charge, range(16))))
    assert found == {Answer.GRANTED: 8, Answer.DAILY: 8}
    asked = shared.another_queue()  # those who charged remember for 2 s what they saw last
    await asked.open()
    assert await asked.sent_recently("acc") == 8
    await asked.close()
    await second.close()


async def test_a_large_message_and_its_report_go_the_whole_way(shared: Shared) -> None:
    content = MAIL + b"x" * 76 * 10_000 + b"\r\n"
    refused = Result(0, ResultKind.FAILED, deferred("no", "no"))
    shared.remote.answer = lambda job: [Result(item.id, refused.kind, refused.status) for item in job.recipients]
    sizes: list[int] = []
    answer = shared.remote.answer

    class Reading:
        async def deliver(self, job: Job) -> list[Result]:
            data = await asyncio.to_thread(job.content.read, 0, job.content.size)
            sizes.append(len(data))
            return answer(job)

    shared.remote = Reading()  # type: ignore[assignment]  # wraps it
    async with running(shared.scheduler()):
        new = NewMessage("q1", parse("maire@ville.test"), BytesContent(content), (NewRecipient(parse("x@far.test")),))
        await shared.queue.enqueue(new)
        await until(lambda: shared.store.inbox("maire@ville.test"), 60.0)
        await until(lambda: empty(shared), 60.0)
    assert sizes == [len(content)]
    assert len(shared.store.inbox("maire@ville.test")) == 1


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """While it holds "after" or "before", the next COMMIT is answered by nobody: it happened, or it did not. "away":
    it happened, and for a while nobody can be asked."""
    armed: list[str] = []
    real, ask = AsyncTransaction.commit, PostgresDatabase._kept

    async def commit(self: AsyncTransaction) -> None:
        when = armed[-1] if armed else ""
        if when == "before":
            await self.rollback()
        else:
            await real(self)
        if when:
            if when != "away":
                armed.pop()
            raise ConnectionResetError("cut at COMMIT")

    async def kept(self: PostgresDatabase, unknown: CommitUnknownError) -> bool:
        if armed and armed.pop() == "away":
            raise unknown
        return await ask(self, unknown)

    monkeypatch.setattr(AsyncTransaction, "commit", commit)
    monkeypatch.setattr(PostgresDatabase, "_kept", kept)
    return armed


@pytest.mark.parametrize("charged", [False, True])
@pytest.mark.parametrize("when", ["after", "before"])
async def test_f158_a_message_whose_commit_was_cut_is_asked_for_not_guessed(
    shared: Shared, cut: list[str], when: str, charged: bool
) -> None:
    """Messages that are accepted enter several at a time and with their charge."""
    news = [
        NewMessage(name, parse("maire@ville.test"), BytesContent(MAIL), (NewRecipient(parse(f"{name}@far.test")),))
        for name in ("q1", "q2")
    ]

    async def enter() -> list[list[int]]:
        if charged:
            return (await shared.queue.enter(news, "acc", ["x"], Rules(5, 5, 5)))[1]
        return await shared.queue.enqueue_all(news)

    cut.append(when)
    if when == "after":
        ids = await enter()
        claimed = await shared.queue.claim(everything)
        assert sorted(item.recipients[0].id for item in claimed) == [id_ for [id_] in ids]
    else:
        with pytest.raises(TemporaryError):
            await enter()
        assert await shared.queue.administration.list(None) == []
    assert await shared.queue.sent_recently("acc") == (charged and when == "after")


async def test_f158_a_message_that_has_left_before_it_was_asked_for_was_kept(
    shared: Shared, cut: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    second, ask = shared.another_queue(), PostgresDatabase._kept
    await second.open()

    async def slowly(self: PostgresDatabase, unknown: CommitUnknownError) -> bool:
        async with running(shared.scheduler(second)):
            await until(lambda: empty(shared))
        await second.close()
        return await ask(self, unknown)

    monkeypatch.setattr(PostgresDatabase, "_kept", slowly)
    new = NewMessage("q1", parse("maire@ville.test"), BytesContent(MAIL), (NewRecipient(parse("x@far.test")),))
    cut.append("after")
    assert len(await shared.queue.enqueue(new)) == 1
    assert [job.queue_id for job in shared.remote.jobs] == ["q1"]


async def test_f158_what_a_commit_came_to_is_asked_for_until_the_server_answers(
    shared: Shared, cut: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, faults = PostgresDatabase.read, [TemporaryError("away")]

    async def read(self: PostgresDatabase, look: Callable[[Connection], T]) -> T:
        if faults:
            raise faults.pop()
        return await real(self, look)

    monkeypatch.setattr(PostgresDatabase, "read", read)
    cut.append("after")
    await put(shared, "x@far.test")
    assert not faults
    assert len(await shared.queue.claim(everything)) == 1


@pytest.mark.parametrize(("when", "granted", "counted"), [("after", True, 2), ("before", False, 0), ("away", False, 0)])
async def test_f158_what_was_told_4xx_costs_nothing_whatever_became_of_the_commit(
    shared: Shared, cut: list[str], when: str, granted: bool, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A charge whose commit was lost had been counted though the client heard 451."""
    monkeypatch.setattr("delivery.queue.refunds.PAUSE", 0.01)
    cut.append(when)
    asked = shared.queue.charge("acc", ["x", "y"], Rules(5, 5, 5))
    if granted:
        assert (await asked).answer is Answer.GRANTED
    else:
        with pytest.raises(TemporaryError):
            await asked
    await until(lambda: _counted(shared, counted))


@pytest.mark.parametrize("when", ["after", "before", "away"])
async def test_f158_a_refund_whose_commit_was_cut_is_given_once(
    shared: Shared, cut: list[str], when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delivery.queue.refunds.PAUSE", 0.01)
    assert (await shared.queue.charge("acc", ["x", "y"], Rules(9, 9, 9))).total == 2
    assert (await shared.queue.charge("acc", ["x", "y", "z"], Rules(9, 9, 9))).total == 5
    cut.append(when)
    await shared.queue.refund("acc", 3)
    await until(lambda: _counted(shared, 2))
    await until(lambda: not shared.queue._refunds._waiting)
    assert await _counted(shared, 2)


async def _counted(shared: Shared, recipients: int) -> bool:
    shared.queue._sent.clear()
    return await shared.queue.sent_recently("acc") == recipients


async def test_f158_a_claim_whose_commit_was_cut_holds_nothing_for_ever(shared: Shared, cut: list[str]) -> None:
    await put(shared, "x@far.test")
    cut.append("away")
    with pytest.raises(TemporaryError):
        await shared.queue.claim(everything)
    assert await shared.queue.claim(everything) == []
    await shared.queue.renew()
    assert len(await shared.queue.claim(everything)) == 1


@pytest.mark.parametrize("when", ["after", "away"])
async def test_f158_a_result_whose_commit_was_cut_is_written_once(shared: Shared, cut: list[str], when: str) -> None:
    await put(shared, "x@far.test", sender="etranger@loin.test")
    [claimed] = await shared.queue.claim(everything)
    result = Result(claimed.recipients[0].id, ResultKind.FAILED, deferred("no", "no"))
    cut.append(when)
    if when == "away":
        with pytest.raises(TemporaryError):
            await shared.queue.apply([result], shared.rules.judge)
    else:
        assert len(await shared.queue.apply([result], shared.rules.judge)) == 1
    assert await shared.queue.apply([result], shared.rules.judge) == []
    assert len(await shared.queue.debts()) == 1


@pytest.mark.parametrize("cuts", [1, 2])
async def test_f158_a_local_result_that_was_lost_with_its_connection_is_written_on_another(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, cuts: int
) -> None:
    """Its recipient stayed "active" for 630 s, and its mailbox got the message a second time to be recognised."""
    shared.directory.alias("conseil@ville.test", "maire@ville.test", "elu@ailleurs.test")
    real, left = results.apply, [None] * cuts

    def apply(connection: Connection, *given: Any, **named: Any) -> Any:
        if left:
            left.pop()
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return real(connection, *given, **named)

    monkeypatch.setattr("delivery.queue.queue.results.apply", apply)
    monkeypatch.setattr("delivery.commit.PAUSE", 0.01)
    assert (await shared.send(shared.inbound(), MAIL, "conseil@ville.test")).ok
    assert not left
    [waiting] = await shared.queue.administration.list(None)
    states = {
        str(item.address): item.state
        for item in (await shared.queue.administration.show(None, waiting.queue_id)).recipients
    }
    assert states == {"maire@ville.test": "delivered", "elu@ailleurs.test": "waiting"}
    assert len(shared.store.inbox("maire@ville.test")) == 1


async def test_f158_connections_that_were_ended_are_replaced(shared: Shared) -> None:
    await put(shared, "x@far.test")
    other = create_engine(shared.url)
    async with other.begin() as connection:
        await connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                 "AND pid <> pg_backend_pid()")
        )  # fmt: skip
    await other.dispose()
    assert len(await shared.queue.claim(everything)) == 1


async def test_f158_a_server_that_is_away_is_a_4xx_and_not_a_hang(tmp_path: Path) -> None:
    away = Queue(tmp_path / "q", tmp_path / "run", clock=ManualClock(), url="postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(TemporaryError):
        await away.open()
    await away.close()
