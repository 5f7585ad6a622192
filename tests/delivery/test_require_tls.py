"""What is told of messages that require TLS (RFC 8689 5)."""

from __future__ import annotations

import pytest

from core.address import parse
from core.status import refused
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.types import Job, Result, ResultKind
from message.content import BytesContent
from tests.delivery.conftest import World
from tests.delivery.runner import running, until

MAIL = b"From: a@sender.test\r\nSubject: Essai\r\n\r\nConfidentiel.\r\n"


@pytest.mark.parametrize(
    ("required", "ret", "whole"),
    [(True, "", False), (True, "HDRS", False), (True, "FULL", False), (False, "", True)],
)
async def test_a_notice_requires_what_its_message_required_and_shows_no_more(
    world: World, *, required: bool, ret: str, whole: bool
) -> None:
    def answer(job: Job) -> list[Result]:
        kind = ResultKind.FAILED if job.sender else ResultKind.DELIVERED
        return [Result(item.id, kind, refused("no", "remote-refused", "5.1.1")) for item in job.recipients]

    world.remote.answer = answer
    to = (NewRecipient(parse("x@far.test")),)
    await world.queue.enqueue(
        NewMessage("q1", parse("a@sender.test"), BytesContent(MAIL), to, require_tls=required, ret=ret)
    )
    async with running(world.scheduler()):
        await until(lambda: len(world.remote.jobs) == 2)
    notice = world.remote.jobs[1]
    assert (notice.sender, notice.require_tls) == (None, required)
    assert (b"Confidentiel." in world.remote.bytes[1]) is whole
