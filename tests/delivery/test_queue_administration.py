"""What an administrator does to the queue, and never to another commune's recipients (promise P8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, event, update

from core.address import parse
from core.clock import ManualClock
from core.domain import to_ascii
from core.envelope import Schedule
from core.errors import NotFoundError
from core.status import accepted, deferred
from delivery.queue.administration import _list
from delivery.queue.holds import Hold, held_by
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.queue.schema import recipient
from delivery.types import EVERYTHING, Picked, QueuedMessage, Result, ResultKind
from message.content import BytesContent
from tests.delivery.queue_alone import HEAD, everything, judge, new


async def test_holding_keeps_a_message_back_until_it_is_released(queue: Queue) -> None:
    await queue.enqueue(new("q1", "b@two.test"))
    await queue.administration.hold(None, "q1")
    assert (await queue.administration.show(None, "q1")).held
    assert await queue.claim(everything) == []
    assert await queue.next_due() is None
    await queue.administration.release(None, "q1")
    assert len(await queue.claim(everything)) == 1


async def test_dropping_removes_without_a_bounce_even_under_a_running_delivery(queue: Queue) -> None:
    ids = await queue.enqueue(new("q1", "b@two.test"))
    await queue.claim(everything)
    await queue.administration.drop(None, "q1")
    assert await queue.apply([Result(ids[0], ResultKind.FAILED, deferred("gone", "gone"))], judge) == []
    assert await queue.debts() == []
    assert await queue._database.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM queue_chunk").scalar()) == 0


@pytest.mark.parametrize("action", ["show", "retry", "hold", "release", "drop"])
async def test_p8_another_communes_message_is_absent(queue: Queue, action: str) -> None:
    await queue.enqueue(new("q1", "b@two.test", org="o1"))
    for queue_id in ("q1", "nothing-like-it"):
        with pytest.raises(NotFoundError) as caught:
            await getattr(queue.administration, action)("o2", queue_id)
        assert caught.value.public == "no such message in the queue"
    assert await queue.administration.list("o2") == []
    assert [item.queue_id for item in await queue.administration.list("o1")] == ["q1"]


async def test_p8_of_a_shared_message_each_commune_handles_its_own_recipients(queue: Queue) -> None:
    items = (NewRecipient(parse("b@two.test"), "o1"), NewRecipient(parse("c@three.test"), "o2"))
    await queue.enqueue(NewMessage("q1", None, BytesContent(HEAD), items))
    shown = await queue.administration.show("o1", "q1")
    assert [str(item.address) for item in shown.recipients] == ["b@two.test"]
    await queue.administration.drop("o1", "q1")
    shown = await queue.administration.show("o2", "q1")
    assert [str(item.address) for item in shown.recipients] == ["c@three.test"]


async def several(queue: Queue) -> None:
    await queue.enqueue(new("q1", "b@dead.test", "c@three.test", org="o1"))
    await queue.enqueue(new("q2", "b@dead.test", org="o2"))
    await queue.enqueue(NewMessage("q3", None, BytesContent(HEAD), (NewRecipient(parse("b@three.test"), "o1"),)))
    await queue.enqueue(new("q4", "x@bücher.test", org="o1"))
    await queue.administration.hold(None, "q3")


async def ids(queue: Queue, organisation_id: str | None = None, **words: Any) -> list[str]:
    return [item.queue_id for item in await queue.administration.list(organisation_id, picked=Picked(**words))]


async def test_the_list_is_told_in_parts(queue: Queue) -> None:
    await several(queue)
    assert await ids(queue) == ["q1", "q2", "q3", "q4"]
    assert await ids(queue, domain="dead.test") == ["q1", "q2"]
    assert await ids(queue, "o2", domain="dead.test") == ["q2"]
    assert await ids(queue, domain=to_ascii("bücher.test")) == ["q4"]
    assert await ids(queue, held=True) == ["q3"]
    assert await ids(queue, sender="") == ["q3"]
    assert await ids(queue, sender="a@one.test", held=False, domain="three.test") == ["q1"]
    assert await ids(queue, sender="nobody@one.test") == []


async def test_the_list_comes_in_pages_that_miss_nobody_and_tell_nobody_twice(queue: Queue) -> None:
    await several(queue)
    administration, found = queue.administration, list[str]()
    while page := await administration.list(None, limit=3, after=found[-1] if found else ""):
        found += [item.queue_id for item in page]
        await administration.drop(None, found[-1])  # where the next page begins need not be there any more
    assert found == ["q1", "q2", "q3", "q4"]
    assert [item.queue_id for item in await administration.list("o1", after="q1", picked=Picked("a@one.test"))] == []
    assert [item.queue_id for item in await administration.list("o2", after="q1")] == ["q2"]


async def test_many_released_at_once_are_not_those_that_a_lock_holds_of_an_account(queue: Queue) -> None:
    await several(queue)

    def lock(connection: Connection) -> None:
        connection.execute(update(recipient).where(recipient.c.queue_id.in_(["q1", "q2"])).values(held_by(Hold.LOCK)))

    await queue._database.write(lock)
    assert await queue.administration.act(None, Picked(domain="dead.test"), "hold") == 2
    assert await queue.administration.act(None, EVERYTHING, "release") == 3
    assert [
        (each.queue_id, each.held_by) for each in await queue.administration.list(None, picked=Picked(held=True))
    ] == [("q1", ("lock",)), ("q2", ("lock",))]
    assert await queue.administration.act(None, Picked(held=True), "release") == 0
    await queue.administration.release(None, "q2")  # somebody has looked at it
    assert await ids(queue, held=True) == ["q1"]


async def test_many_are_handled_at_once_and_only_those_that_are_meant(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delivery.queue.picking.PART", 1)
    await several(queue)
    held = Picked(held=True)
    assert await queue.administration.act(None, Picked(domain="dead.test"), "hold") == 2
    shown = await queue.administration.show(None, "q1")
    assert [(item.address, item.held) for item in shown.recipients] == [("b@dead.test", True), ("c@three.test", False)]
    assert await queue.administration.act("o2", held, "release") == 1
    assert await ids(queue, held=True) == ["q1", "q3"]
    assert await queue.administration.act(None, Picked(domain="dead.test"), "drop") == 2
    assert await ids(queue) == ["q1", "q3", "q4"]
    assert await queue.administration.act(None, EVERYTHING, "release") == 1
    assert await ids(queue, held=True) == []
    dropped = [entry for entry in await queue.administration.trace(None, "b@dead.test") if entry.event == "dropped"]
    assert [(entry.queue_id, entry.recipient) for entry in dropped] == [("q1", "b@dead.test"), ("q2", "b@dead.test")]
    assert await queue.administration.act(None, EVERYTHING, "drop") == 3
    assert await ids(queue) == []
    assert await queue._database.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM queue_chunk").scalar()) == 0


@pytest.mark.parametrize("many", [False, True])
async def test_the_trace_calls_nobody_dropped_who_has_the_message(queue: Queue, many: bool) -> None:
    first, _ = await queue.enqueue(new("q1", "b@two.test", "c@two.test"))
    await queue.claim(everything)
    await queue.apply([Result(first, ResultKind.DELIVERED, accepted("taken", "taken"))], judge)
    if many:
        assert await queue.administration.act(None, Picked(domain="two.test"), "drop") == 1
    else:
        await queue.administration.drop(None, "q1")
    traced = await queue.administration.trace(None, "q1")
    assert [entry.recipient for entry in traced if entry.event == "dropped"] == ["c@two.test"]


async def test_what_enters_while_many_are_handled_is_not_meant(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """With mail that arrives all the time there was no end."""
    monkeypatch.setattr("delivery.queue.picking.PART", 1)
    await several(queue)
    entering, flush = iter(range(5, 9)), queue.administration._book.flush

    async def entered() -> None:
        await queue.enqueue(new(f"q{next(entering)}", "b@dead.test"))
        await flush()

    monkeypatch.setattr(queue.administration._book, "flush", entered)
    assert await queue.administration.act(None, Picked(domain="dead.test"), "hold") == 2
    assert await ids(queue, held=True) == ["q1", "q2", "q3"]


async def test_a_long_list_is_asked_for_in_parts(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one statement PostgreSQL refused it: it takes 32,767 parameters."""
    monkeypatch.setattr("delivery.queue.administration.LISTED", 1)
    asked: list[int] = []
    await several(queue)

    def counted(connection: Connection) -> list[QueuedMessage]:
        event.listen(connection, "before_cursor_execute", lambda *call: asked.append(len(call[3])))
        return _list(connection, None, 1000)

    listed = await queue._database.read(counted)
    assert [[item.address for item in one.recipients] for one in listed[:2]] == [
        ["b@dead.test", "c@three.test"],
        ["b@dead.test"],
    ]
    assert len(listed) == 4
    assert max(asked) <= 2


async def test_all_that_waits_is_due_at_once_but_what_its_sender_holds_back(queue: Queue, clock: ManualClock) -> None:
    """RFC 4865: each message has its own time."""
    later = Schedule(release_at=clock.now() + 7200, hold="for;7200")
    await queue.enqueue(replace(new("q1", "b@two.test"), schedule=later))
    [id_] = await queue.enqueue(new("q2", "b@two.test"))
    await queue.claim(everything)
    await queue.apply([Result(id_, ResultKind.DEFERRED, deferred("busy", "busy"))], judge)
    assert await queue.claim(everything) == []
    assert await queue.administration.act(None, EVERYTHING, "retry") == 2
    assert [claimed.message.queue_id for claimed in await queue.claim(everything)] == ["q2"]
    assert (await queue.administration.show(None, "q1")).recipients[0].next_attempt == later.release_at


async def test_the_shape_tells_who_waits_for_whom_and_since_when(queue: Queue, clock: ManualClock) -> None:
    await several(queue)
    clock.advance(4 * 60 + 59)
    await queue.enqueue(new("q5", "b@dead.test", org="o1"))
    clock.advance(1)
    await queue.enqueue(NewMessage("q6", None, BytesContent(HEAD), (NewRecipient(parse("a@here.test"), local=True),)))
    shapes = await queue.administration.shape(None, "domain")
    assert [(item.name, item.total, item.counts[:3]) for item in shapes] == [
        ("dead.test", 3, (1, 2, 0)),
        ("three.test", 2, (0, 2, 0)),
        ("", 1, (1, 0, 0)),
        (to_ascii("bücher.test"), 1, (0, 1, 0)),
    ]
    assert [(item.name, item.total) for item in await queue.administration.shape("o1", "sender")] == [
        ("a@one.test", 4),
        ("", 1),
    ]
    clock.advance(1280 * 60)
    assert {item.counts[-1] == item.total for item in await queue.administration.shape("o2", "domain")} == {True}


async def test_a_recipient_tells_who_was_asked_last_and_what_he_said(queue: Queue, clock: ManualClock) -> None:
    [id_] = await queue.enqueue(new("q1", "b@two.test"))
    await queue.claim(everything)
    said = Result(id_, ResultKind.DEFERRED, deferred("busy", "busy"), "mx.two.test", "451 4.3.2 busy")
    await queue.apply([said], judge)
    [item] = (await queue.administration.show(None, "q1")).recipients
    assert (item.remote, item.diagnostic, item.last_attempt) == ("mx.two.test", "451 4.3.2 busy", clock.now())
