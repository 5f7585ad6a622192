"""The queue without what delivers: a message of few words, who takes everything, what a result comes to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.address import parse
from core.clock import ManualClock
from core.envelope import Dsn
from delivery.queue.claims import Candidate, Choice
from delivery.queue.queue import Queue
from delivery.queue.results import Outcome
from delivery.queue.rows import NewMessage, NewRecipient, StoredMessage, StoredRecipient
from delivery.queue.schema import Owed, State
from delivery.types import Result, ResultKind
from message.content import BytesContent

HEAD = b"From: a@one.test\r\nTo: b@two.test\r\n\r\n"


def new(
    queue_id: str,
    *recipients: str,
    body: bytes = b"bonjour\r\n",
    org: str = "o1",
    leased: bool = False,
    wait: float = 0.0,
) -> NewMessage:
    dsn = Dsn(frozenset({"FAILURE"}), "rfc822;x")
    items = tuple(NewRecipient(parse(text), org, dsn, leased=leased, wait=wait) for text in recipients)
    return NewMessage(queue_id, parse("a@one.test"), BytesContent(HEAD + body), items, account_id="acc")


def everything(page: Sequence[Candidate]) -> Choice:
    groups: dict[tuple[str, str], list[int]] = {}
    for item in page:
        groups.setdefault((item.queue_id, item.domain), []).append(item.id)
    return Choice(tuple(tuple(ids) for ids in groups.values()), frozenset())


def judge(_message: StoredMessage, stored: StoredRecipient, result: Result) -> Outcome:
    if result.kind is ResultKind.DELIVERED:
        return Outcome(State.DELIVERED, 0.0, str(result.status), Owed.NOTHING, "delivered")
    if result.kind is ResultKind.DEFERRED:
        return Outcome(State.WAITING, result.status.code * 1e9, str(result.status), Owed.NOTHING, "deferred")
    return Outcome(State.FAILED, 0.0, str(result.status), Owed.FAILED, "failed")


async def another(tmp_path: Path, clock: ManualClock, busy: float = 5.0) -> Queue:
    """A second process's view of the same queue."""
    queue = Queue(tmp_path / "queue" / "queue.db", tmp_path / "run", clock=clock, busy=busy)
    await queue.open()
    return queue


async def watch(queue: Queue, clock: ManualClock, seconds: float) -> None:
    """What a runner does: it looks each quarter of a minute."""
    for _ in range(round(seconds / 15)):
        clock.advance(15)
        await queue.renew()
