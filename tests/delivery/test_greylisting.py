"""Greylisting on the wire, with a clock passed in, and what it remembers across processes and restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from antispam.greylist import Greylisting, Terms
from antispam.types import Authentication, Dkim, Result
from core.config import Antispam, Limits
from core.envelope import Listener
from core.errors import TemporaryError
from delivery.greylisting import Greylist
from delivery.inbound import Inbound
from delivery.queue import schema
from tests.delivery.conftest import World
from tests.fakes.delivery_world import vouched
from tests.fakes.smtp_server import Wire, running, service

ME, OTHER = "maire@ville.test", "agent@ville.test"
TERMS = Terms(wait=300, window=172_800, keep=36 * 86_400, entries=1000)


def door(world: World, **limits: Any) -> Inbound[Any]:
    settings = {"antispam": Antispam(greylist=True), "limits": Limits(**limits)}
    world.config = world.config.model_copy(update=settings)
    return Inbound(
        world.config,
        world.directory,
        world.store,
        world.authenticator,
        None,
        world.committer,
        world.clock,
        greylist=Greylist(world.queue, world.config),
    )


async def said(world: World, acceptor: Inbound[Any], *to: str, sender: str = "a@sender.test") -> str:
    """The final reply of one message on the wire."""
    async with running(service(Listener.MX, acceptor=acceptor, clock=world.clock)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        await wire.say(f"MAIL FROM:<{sender}>")
        for recipient in to or (ME,):
            assert (await wire.say(f"RCPT TO:<{recipient}>")).startswith("250")
        await wire.say("DATA")
        return await wire.say(b"From: a@sender.test\r\nSubject: x\r\n\r\nx\r\n.\r\n")


async def test_a_stranger_comes_again_and_is_known_then(world: World) -> None:
    acceptor = door(world)
    assert await said(world, acceptor) == "451 4.7.1 not known yet, try again later"
    world.clock.advance(299)
    assert (await said(world, acceptor)).startswith("451 4.7.1")
    assert not world.store.boxes
    world.clock.advance(1)
    assert (await said(world, acceptor)).startswith("250")
    assert (await said(world, acceptor)).startswith("250")
    assert len(world.store.inbox(ME)) == 2
    assert (await said(world, acceptor, sender="b@sender.test")).startswith("451")  # another sender
    assert (await said(world, acceptor, ME, OTHER)).startswith("451")  # another set of recipients


@pytest.mark.parametrize(
    "opinion",
    [
        vouched(spf=Result.PASS),
        vouched(dkim=[Dkim(Result.PASS, "x.test", "s")]),
    ],
    ids=["spf", "dkim"],
)
async def test_who_is_vouched_for_never_waits(world: World, opinion: Authentication) -> None:
    world.authenticator.opinion = opinion
    assert (await said(world, door(world))).startswith("250")


async def test_postmaster_and_exempt_networks_never_wait(world: World) -> None:
    assert (await said(world, door(world), "postmaster@ville.test")).startswith("250")
    assert (await said(world, door(world, exempt=["127.0.0.0/8"]))).startswith("250")


async def test_what_is_refused_is_refused_at_once_and_not_remembered(world: World) -> None:
    world.authenticator.opinion = vouched(dmarc=Result.FAIL, policy="reject", disposition="reject")
    assert (await said(world, door(world))).startswith("550 5.7.1")
    count = f"SELECT count(*) FROM {schema.greylist.name}"
    assert await world.queue._database.read(lambda c: c.exec_driver_sql(count).scalar()) == 0


async def test_a_memory_that_is_away_holds_nothing_up(world: World) -> None:
    class Away:
        async def greylisted(self, key: str, terms: Terms) -> Greylisting:
            raise TemporaryError("away", code="queue-unavailable")

    acceptor = door(world)
    acceptor._greylist = Greylist(Away(), world.config)
    assert (await said(world, acceptor)).startswith("250")


async def test_off_is_off(world: World) -> None:
    assert (await said(world, world.inbound())).startswith("250")


async def test_processes_share_the_memory_and_a_restart_keeps_it(world: World, tmp_path: Path) -> None:
    other = world.another_queue()
    await other.open()
    assert await world.queue.greylisted("k", TERMS) is Greylisting.NEW
    world.clock.advance(400)
    assert await other.greylisted("k", TERMS) is Greylisting.RETURNED
    await other.close()
    again = world.another_queue()
    await again.open()
    assert await again.greylisted("k", TERMS) is Greylisting.KNOWN
    await again.close()


async def test_the_memory_is_bounded_what_is_over_goes_first(world: World) -> None:
    async def ask(number: int) -> Greylisting:
        return await world.queue.greylisted(f"k{number}", TERMS)

    async def count() -> int:
        query = f"SELECT count(*) FROM {schema.greylist.name}"
        return int(await world.queue._database.read(lambda c: c.exec_driver_sql(query).scalar()) or 0)

    for number in range(900):
        await ask(number)
    world.clock.advance(400)
    assert await ask(0) is Greylisting.RETURNED
    for number in range(900, 1000):
        await ask(number)
    assert await count() == 1000  # at the limit
    world.clock.advance(1)
    await ask(1000)  # nothing is over: the oldest fiftieth goes
    assert await count() == 981
    world.clock.advance(172_800)
    for number in range(2000, 2020):
        await ask(number)
    assert await count() == 22  # those who never returned are forgotten together, the known one is not
    assert await ask(0) is Greylisting.KNOWN
