"""A message from the world that is refused or set aside: nobody gets it, and its sender learns why (promise P2)."""

from __future__ import annotations

from dataclasses import replace

from antispam.authentication.authenticator import Authenticator
from antispam.types import Result
from core.address import parse
from core.config import Limits
from core.envelope import Dsn
from delivery.inbound import Inbound
from delivery.types import MailParameters, Transaction
from tests.delivery.conftest import HOST, World
from tests.delivery.from_outside import MAIL, queued
from tests.fakes.delivery_world import vouched
from tests.fakes.resolver import FakeResolver


async def test_h135_unknown_relay_and_full_are_refused_at_rcpt(world: World) -> None:
    inbound = world.inbound()
    world.directory.account("plein@ville.test", quota=10)
    world.store.used["plein@ville.test"] = 10
    answers = [await world.send(inbound, MAIL, to) for to in ("nul@ville.test", "x@ailleurs.test", "plein@ville.test")]
    assert [f"{a.code} {a.enhanced}" for a in answers] == ["550 5.1.1", "550 5.7.1", "452 4.2.2"]
    assert world.store.spools == []


async def test_h134_fifty_received_fields_are_a_loop(world: World) -> None:
    looping = b"Received: from a by b; now\r\n" * 50 + MAIL
    status = await world.send(world.inbound(), looping, "maire@ville.test")
    assert (status.code, status.enhanced) == (554, "5.4.6")
    assert (await world.send(world.inbound(), looping[len(b"Received: from a by b; now\r\n") :], "maire@ville.test")).ok
    assert len(world.store.inbox("maire@ville.test")) == 1


async def test_h134_a_message_that_passed_here_five_times_is_a_loop(world: World) -> None:
    """An alias that leads out and back filled the mailbox beside it with 25 copies before the fiftieth hop."""
    here = b"Received: from a\r\n\tby MX.dept.test (Beffroi)\r\n\twith ESMTPS id Q1; now\r\n"
    near = b"Received: from mx.dept.test by mx.dept.test.example with ESMTP; now\r\n"
    assert (await world.send(world.inbound(), here * 4 + near * 9 + MAIL, "maire@ville.test")).ok
    status = await world.send(world.inbound(), here * 5 + MAIL, "maire@ville.test")
    assert (status.code, status.enhanced, status.reason) == (554, "5.4.6", "mail-loop")
    assert len(world.store.inbox("maire@ville.test")) == 1


async def test_h134_our_own_trace_is_recognised_when_it_comes_back(world: World) -> None:
    inbound, data = world.inbound(), MAIL
    for number in range(5):
        assert (await world.send(inbound, data, "maire@ville.test")).ok, number
        data = world.store.inbox("maire@ville.test")[-1].partition(b"\r\n")[2]  # Return-Path goes
    assert (await world.send(inbound, data, "maire@ville.test")).reason == "mail-loop"


async def test_h052_nobody_outside_writes_in_our_own_name(world: World) -> None:
    """Not even from loopback, and not to ourselves: our own DMARC record decides (row 57: an address is no right)."""
    zone = {"_dmarc.ville.test": {"TXT": ["v=DMARC1; p=reject"]}, "ville.test": {"TXT": ["v=spf1 -all"]}}
    judge = Authenticator(FakeResolver(zone), world.clock, world.config.limits, HOST)
    inbound = Inbound(world.config, world.directory, world.store, judge, None, world.committer, world.clock)
    for address in ("192.0.2.7", "127.0.0.1", "::ffff:127.0.0.1"):
        peer = replace(world.peer(), address=address)
        own = Transaction("q1", peer, parse("maire@ville.test"), MailParameters())
        assert str(await inbound.recipient(own, parse("x@ailleurs.test"), Dsn())).startswith("550 5.7.1")
        own.recipients.append((parse("agent@ville.test"), Dsn()))
        reception = inbound.begin(own)
        await reception.feed(b"From: maire@ville.test\r\nTo: agent@ville.test\r\nSubject: Virement\r\n\r\nUrgent.\r\n")
        status = await reception.finish()
        assert (status.code, status.enhanced, status.reason) == (550, "5.7.1", "dmarc-reject")
    assert world.store.boxes == {}


async def test_h053_a_null_sender_has_one_recipient(world: World) -> None:
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test", "agent@ville.test", sender="")).ok
    assert len(world.store.inbox("maire@ville.test")) == 1
    assert world.store.inbox("agent@ville.test") == []


async def test_too_many_recipients_are_deferred_and_the_others_served(world: World, tmp_path: object) -> None:
    world.config = world.config.model_copy(update={"limits": Limits(recipients_mx=1)})
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test", "agent@ville.test")).ok
    assert world.store.inbox("agent@ville.test") == []


async def test_decisions_reach_the_sender_and_keep_nothing(world: World) -> None:
    inbound = world.inbound()
    world.authenticator.opinion = vouched(dmarc=Result.FAIL, policy="reject", disposition="reject")
    status = await world.send(inbound, MAIL, "maire@ville.test")
    assert (status.code, status.enhanced, status.reason) == (550, "5.7.1", "dmarc-reject")
    world.authenticator.opinion = vouched()
    status = await world.send(inbound, b"From: b@other.test\r\n" + MAIL, "maire@ville.test")
    assert (status.code, status.enhanced, status.reason) == (550, "5.7.1", "several-from")
    assert world.store.boxes == {}
    assert all(spool.closed for spool in world.store.spools)
    assert await queued(world) == {}


async def test_a_quarantined_message_is_in_junk_and_its_forwards_are_silent(world: World) -> None:
    world.directory.alias("conseil@ville.test", "maire@ville.test", "elu@ailleurs.test")
    world.authenticator.opinion = vouched(dmarc=Result.FAIL, policy="quarantine", disposition="quarantine")
    assert (await world.send(world.inbound(), MAIL, "conseil@ville.test")).ok
    assert len(world.store.junk("maire@ville.test")) == 1
    [claimed] = await world.queue.claim(world.scheduler()._destinations.selection())
    assert claimed.recipients[0].dsn == Dsn(frozenset({"NEVER"}))


async def test_limits_of_head_and_size_hold_at_the_limit_and_one_past_it(world: World) -> None:
    world.config = world.config.model_copy(
        update={"limits": Limits(header_block=4096, header_field=300, message_size="5000")}
    )
    inbound = world.inbound()

    def head(octets: int) -> bytes:
        fields = b"From: a@sender.test\r\n"
        while len(fields) + 2 < octets:
            rest = octets - 2 - len(fields)
            size = rest if rest <= 200 else 100
            fields += b"X: " + b"x" * (size - 5) + b"\r\n"
        return fields + b"\r\n"

    async def answer(data: bytes) -> str:
        status = await world.send(inbound, data, "maire@ville.test")
        return f"{status.code} {status.enhanced}"

    assert await answer(head(4098)) == "250 2.0.0"
    assert await answer(head(4099)) == "552 5.3.4"
    assert await answer(b"X: " + b"x" * 295 + b"\r\n" + MAIL) == "250 2.0.0"
    assert await answer(b"X: " + b"x" * 296 + b"\r\n" + MAIL) == "552 5.3.4"
    assert await answer(MAIL + b"y" * (5000 - len(MAIL))) == "250 2.0.0"
    assert await answer(MAIL + b"y" * (5001 - len(MAIL))) == "552 5.3.4"
    assert await answer(b"X" * 20_000) == "552 5.3.4"
