"""What waits until the database takes it: refunds, and messages of our own (fault 158)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import TemporaryError
from delivery.queue.outbox import Outbox
from delivery.queue.postgres import CommitUnknownError
from delivery.queue.refunds import Refund, Refunds
from delivery.queue.rows import NewMessage
from tests.delivery.queue_alone import new


class Away:
    """A database that answers when `answer` says so. What it would have run is in `asked`."""

    def __init__(self, answer: Callable[[Refund], Any]) -> None:
        self.asked: list[str] = []
        self.answer = answer

    async def write(self, run: Any, *, durable: bool = True) -> Any:
        refund = run.keywords["refund"]
        self.asked.append(refund.account_id)
        await asyncio.sleep(0)
        return self.answer(refund)


def refunds(database: Any) -> Refunds:
    return Refunds(database, lambda: 0.0)


def away(_refund: Refund) -> bool:
    raise TemporaryError("away")


async def test_f158_who_gives_back_waits_for_one_try_at_most_however_many_do() -> None:
    """One after the other they waited for the time-outs of all."""
    database = Away(away)
    made = refunds(database)
    await asyncio.gather(*(made.give(f"a{number}", 1) for number in range(5)))
    assert database.asked == ["a0"]
    database.answer = lambda refund: True
    await made.close()
    assert sorted(database.asked[1:]) == ["a0", "a1", "a2", "a3", "a4"]


async def test_f158_a_refund_that_the_database_refuses_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL knows nothing of a transaction of the server it took over from."""
    monkeypatch.setattr("delivery.queue.refunds.PAUSE", 60.0)
    database = Away(away)
    made = refunds(database)
    made.doubt("bad", 1, "999999")
    made.doubt("good", 1, "7")
    database.answer = lambda refund: refund.account_id == "good" or away(refund)
    await made.settle()
    await made.settle()
    assert [refund.account_id for refund in made._waiting] == ["bad"]
    await made.close()


@pytest.mark.parametrize("by", ["close", "cancel"])
async def test_what_is_given_back_while_somebody_leaves_is_given_once(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit is waited for whoever is cancelled; what it had written was written again."""
    monkeypatch.setattr("delivery.queue.refunds.PAUSE", 0.0)
    writing, go_on = asyncio.Event(), asyncio.Event()
    given: list[str] = []

    class Slow:
        async def write(self, run: Any, *, durable: bool = True) -> bool:
            writing.set()
            try:
                await go_on.wait()
            finally:  # as the queue's database does: once begun it is committed, and its caller leaves behind that
                given.append(run.keywords["refund"].account_id)
            return True

    made = refunds(Slow())
    leaving: asyncio.Task[None] | None = None
    if by == "close":
        made.doubt("acc", 1, "7")
    else:
        leaving = asyncio.create_task(made.give("acc", 1))
    await asyncio.wait_for(writing.wait(), 5)
    if leaving is not None:
        leaving.cancel()
    closing = asyncio.create_task(made.close())
    for _ in range(5):
        await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait_for(closing, 5)
    assert given == ["acc"]


async def test_f158_refunds_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delivery.queue.refunds.MOST", 2)
    made = refunds(Away(away))
    for number in range(3):
        await made.give(f"a{number}", 1)
    assert {refund.account_id for refund in made._waiting} == {"a0", "a1"}
    await made.close()


@pytest.mark.parametrize(("wrote", "given"), [(True, "9"), (False, None)])
async def test_f158_only_a_try_that_gave_something_may_have_given_it(wrote: bool, given: str | None) -> None:
    """A look at a charge that was not over yet, cut at its end, counted as the refund."""

    def cut(_refund: Refund) -> bool:
        raise CommitUnknownError("9" if wrote else "", wrote, OSError())

    made = refunds(Away(cut))
    made.doubt("acc", 1, "7")
    await made.settle()
    assert made._waiting == [Refund("acc", 1, "7", given)]
    await made.close()


async def test_a_message_of_our_own_that_meets_a_bug_holds_up_no_other() -> None:
    entered: list[str] = []

    async def enqueue(message: NewMessage) -> None:
        if message.queue_id == "q1":
            raise ValueError
        entered.append(message.queue_id)

    outbox = Outbox(enqueue)
    outbox.put(new("q1", "b@two.test"))
    outbox.put(new("q2", "b@two.test"))
    await outbox.close()
    assert entered == ["q2"]
