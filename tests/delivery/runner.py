"""A runner at work, what is put in its queue, what the Internet answers, and waiting for what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from core.address import parse
from core.status import Status, deferred
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.scheduler import Scheduler
from delivery.types import Job, QueuedRecipient, Result, ResultKind
from message.content import BytesContent
from tests.delivery.conftest import World
from tests.fakes.delivery_world import delivered

MAIL = b"From: maire@ville.test\r\nTo: x@far.test\r\nSubject: Essai\r\n\r\nTexte.\r\n"
UNREACHED = deferred("no host answers", "unreachable", "4.4.1")


def answers(**by_domain: Result | Callable[[Job], list[Result]]) -> Callable[[Job], list[Result]]:
    """`answers(far=…)`: what far.test says; every other domain takes the message."""

    def answer(job: Job) -> list[Result]:
        given = by_domain.get(job.recipients[0].address.domain.partition(".")[0])
        if given is None:
            return delivered(job)
        if callable(given):
            return given(job)
        return [
            Result(r.id, given.kind, given.status, given.remote, given.diagnostic, given.relayed_dsn)
            for r in job.recipients
        ]

    return answer


def deferral(status: Status = UNREACHED, remote: str = "") -> Result:
    return Result(0, ResultKind.DEFERRED, status, remote)


async def put(world: World, *to: str, sender: str = "maire@ville.test", queue_id: str = "", **extra: Any) -> str:
    queue_id = queue_id or world.ids.queue_id()
    items = tuple(NewRecipient(parse(text), "ville.test", **extra) for text in to)
    prefix = f"Return-Path: <{sender}>\r\n".encode()
    message = NewMessage(
        queue_id, parse(sender) if sender else None, BytesContent(MAIL), items, local_prefix=prefix, envid="e1"
    )
    await world.queue.enqueue(message)
    return queue_id


@asynccontextmanager
async def running(scheduler: Scheduler) -> AsyncIterator[Scheduler]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(scheduler.run())
        try:
            yield scheduler
        finally:
            scheduler.stop()
            await task


async def until(met: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for a condition with a deadline; it may be a coroutine function."""
    async with asyncio.timeout(seconds):
        while True:
            value = met()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return
            await asyncio.sleep(0.01)


async def empty(world: World) -> bool:
    return not await world.queue.administration.list(None)


async def waiting(world: World, queue_id: str) -> QueuedRecipient:
    [recipient] = (await world.queue.administration.show(None, queue_id)).recipients
    return recipient


async def tried(world: World, queue_id: str, number: int) -> bool:
    return (await waiting(world, queue_id)).attempts == number
