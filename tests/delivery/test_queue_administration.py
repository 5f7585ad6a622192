"""What an administrator does to the queue, and never to another commune's recipients (promise P8)."""

from __future__ import annotations

import pytest

from core.address import parse
from core.errors import NotFoundError
from core.status import deferred
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.types import Result, ResultKind
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
