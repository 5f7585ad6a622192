"""A message from the world: what reaches a mailbox, with which trace, and what goes on elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from antispam.authentication.authenticator import Authenticator
from antispam.types import Action, Iprev, Result, Verdict
from core import reputation
from core.address import parse
from core.config import Limits
from core.envelope import Dsn, Listener
from core.tally import Tally
from delivery.inbound import Inbound
from delivery.queue.rows import NewMessage
from delivery.types import MailParameters, Transaction
from tests.delivery.conftest import HOST, World
from tests.delivery.from_outside import MAIL, queued
from tests.fakes.delivery_world import FakeScanner, vouched
from tests.fakes.resolver import FakeResolver


async def test_a_message_lands_in_the_inbox_with_its_trace_on_top_and_its_body_untouched(world: World) -> None:
    status = await world.send(world.inbound(), MAIL, "maire@ville.test")
    assert (status.code, status.enhanced, status.reason) == (250, "2.0.0", "accepted")
    [stored] = world.store.inbox("maire@ville.test")
    head, _, body = stored.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"Return-Path: <a@sender.test>"
    assert lines[1].startswith(b"Received: from client.sender.test (mx.sender.test [192.0.2.7])")
    assert b"for <maire@ville.test>" in head
    assert f"Authentication-Results: {HOST}".encode() in head
    assert b"X-Spam-Flag: NO\r\nX-Spam-Status: No, unscanned=disabled" in head
    assert b"X-Beffroi-Reason: accepted-unscanned" in head
    assert stored.endswith(MAIL)
    assert body == b"Un texte.\r\n..point\r\n"
    assert await queued(world) == {}


async def test_a_refusal_tells_the_explanation_of_the_domain_as_the_domains(world: World) -> None:
    """RFC 7208 8.4, bounded; what the domain says cannot make a second line or a control character (promise P9)."""
    base = vouched(spf=Result.FAIL, dmarc=Result.FAIL, policy="reject", disposition="reject")
    world.authenticator.opinion = replace(base, spf=replace(base.spf, explanation="See http://x.test/?" + "y" * 400))
    status = await world.send(world.inbound(), MAIL, "maire@ville.test")
    assert (status.code, status.enhanced, status.reason) == (550, "5.7.1", "dmarc-reject")
    assert status.text == (
        "rejected by the DMARC policy of the author's domain; SPF failed, and the domain sender.test explains: "
        + ("See http://x.test/?" + "y" * 400)[:200]
    )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (b"Subject: two\r\nTo: b@x.test\r\nTo: c@x.test\r\n", b"X-Beffroi-Repeated: To, Subject\r\n"),
        (b"Sender: a@x.test\r\nSender: b@x.test\r\n", b"X-Beffroi-Repeated: Sender\r\n"),
        (b"Comments: a\r\nComments: b\r\nReceived: x\r\nReceived: y\r\n", b""),
        (b"Date: now\r\nDate: now\r\nX-Beffroi-Repeated: To\r\n", b""),
    ],
)
async def test_fields_that_contradict_each_other_are_delivered_and_told(
    world: World, fields: bytes, told: bytes
) -> None:
    """RFC 5322 3.6"""
    mail = b"From: a@sender.test\r\nSubject: one\r\n" + fields + b"\r\nx\r\n"
    assert (await world.send(world.inbound(), mail, "maire@ville.test")).ok
    [stored] = world.store.inbox("maire@ville.test")
    lines = [line + b"\r\n" for line in stored.split(b"\r\n") if line.startswith(b"X-Beffroi-Repeated")]
    assert b"".join(lines) == told
    assert stored.endswith(b"\r\nx\r\n")


@pytest.mark.parametrize("block", [1, 7, 64])
async def test_h006_the_result_is_the_same_however_the_octets_come(world: World, block: int) -> None:
    await world.send(world.inbound(), MAIL, "maire@ville.test", block=block)
    [stored] = world.store.inbox("maire@ville.test")
    assert stored.endswith(MAIL)
    assert world.authenticator.seen is not None
    assert world.authenticator.seen.head == MAIL[: MAIL.index(b"Un texte")]
    assert bytes(world.authenticator.seen.body) == b"Un texte.\r\n..point\r\n"


@pytest.mark.parametrize("data", [b"\r\nbody only\r\n", b"Subject: head only\r\n", b"Subject: x\r\n\r\n", b"\r\n"])
async def test_odd_shapes_are_stored_and_stay_parsable(world: World, data: bytes) -> None:
    assert (await world.send(world.inbound(), data, "maire@ville.test")).ok
    [stored] = world.store.junk("maire@ville.test")  # no From: set aside
    assert stored.endswith(data)


async def test_h084_forged_results_and_spam_fields_are_gone_and_others_stay(world: World) -> None:
    forged = (
        b"Return-Path: <boss@ville.test>\r\n"
        b"Authentication-Results: mx.dept.test; dmarc=pass\r\n"
        b"Authentication-Results: MX.DEPT.TEST.; spf=pass\r\n"
        b"Authentication-Results: other.test; dkim=pass\r\n"
        b"X-Spam-Flag: NO\r\nX-Beffroi-Reason: accepted\r\n"
    )
    world.scanner = FakeScanner(Verdict(Action.JUNK, 9.0, 15.0, ("BAD",)))
    await world.send(world.inbound(), forged + MAIL, "maire@ville.test")
    [stored] = world.store.junk("maire@ville.test")
    assert stored.count(b"Authentication-Results: mx.dept.test") == 1
    assert b"MX.DEPT.TEST." not in stored
    assert b"Authentication-Results: other.test; dkim=pass\r\n" in stored
    assert b"boss@ville.test" not in stored
    assert b"X-Spam-Flag: NO" not in stored
    assert stored.count(b"X-Beffroi-Reason:") == 1
    assert b"X-Spam-Status: Yes, score=9.00 required=15.00 tests=BAD\r\nX-Spam-Score: 9.00\r\n" in stored


async def test_several_recipients_share_bytes_that_name_none_of_them(world: World) -> None:
    await world.send(world.inbound(), MAIL, "maire@ville.test", "agent@ville.test", "voisin@bourg.test")
    copies = [world.store.inbox(name)[0] for name in ("maire@ville.test", "agent@ville.test", "voisin@bourg.test")]
    assert len(set(copies)) == 1
    assert b"for <" not in copies[0]
    assert b"agent@ville.test" not in copies[0]
    assert world.store.events.count("stage") == 1


async def test_a_mailbox_reached_by_two_recipients_gets_one_copy(world: World) -> None:
    world.directory.alias("mairie@ville.test", "maire@ville.test")
    await world.send(world.inbound(), MAIL, "maire@ville.test", "mairie@ville.test", "maire+x@ville.test")
    assert len(world.store.inbox("maire@ville.test")) == 1


async def test_forwards_are_durably_queued_before_anything_becomes_visible(world: World) -> None:
    world.directory.alias("conseil@ville.test", "maire@ville.test", "elu@ailleurs.test")
    seen: list[list[str]] = []
    enqueue = world.queue.enqueue_all

    async def watched(news: Sequence[NewMessage]) -> list[list[int]]:
        seen.append(list(world.store.events))
        return await enqueue(news)

    world.queue.enqueue_all = watched  # type: ignore[method-assign]  # an observer
    assert (await world.send(world.inbound(), MAIL, "conseil@ville.test")).ok
    assert seen == [["stage"]]
    assert len(world.store.inbox("maire@ville.test")) == 1
    [recipients] = (await queued(world)).values()
    assert recipients == [("maire@ville.test", "delivered"), ("elu@ailleurs.test", "waiting")]
    [shown] = await world.queue.administration.list("ville.test")
    assert shown.sender == "a@sender.test"


async def test_what_is_forwarded_carries_our_trace_but_no_return_path(world: World) -> None:
    world.directory.alias("dehors@ville.test", "elu@ailleurs.test")
    await world.send(world.inbound(), MAIL, "dehors@ville.test")
    scheduler = world.scheduler()
    [claimed] = await world.queue.claim(scheduler._destinations.selection())
    content = await world.queue.content(claimed.message)
    data = content.read(0, content.size)
    assert data.startswith(b"Received: ")
    assert b"Return-Path" not in data
    assert data.endswith(MAIL)


async def test_p9_nothing_hostile_in_results_reaches_a_header(world: World) -> None:
    base = vouched()
    world.authenticator.opinion = type(base)(base.spf, (), base.dmarc, Iprev(Result.PASS, "evil\r\nX-Injected: yes"))
    await world.send(world.inbound(), MAIL, "maire@ville.test")
    [stored] = world.store.inbox("maire@ville.test")
    assert b"\r\nX-Injected" not in stored


async def test_success_is_reported_only_where_it_was_asked_for(world: World) -> None:
    world.authenticator.opinion = vouched(spf=Result.PASS)
    dsn = Dsn(frozenset({"SUCCESS", "FAILURE"}), "rfc822;maire@ville.test")
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test", dsn=dsn)).ok
    [debt] = await world.queue.debts()
    assert (debt.owed.value, str(debt.message.sender)) == ("delivered", "a@sender.test")
    assert len(world.store.inbox("maire@ville.test")) == 1


async def test_h135_a_forged_sender_is_not_told_of_success(world: World) -> None:
    dsn = Dsn(frozenset({"SUCCESS"}))
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test", dsn=dsn)).ok
    assert await world.queue.debts() == []


@pytest.mark.parametrize(("spf", "known"), [(Result.PASS, True), (Result.FAIL, False)])
async def test_h039_mail_that_is_vouched_for_makes_its_sender_known(world: World, spf: Result, known: bool) -> None:
    tally = Tally.private(world.clock)
    world.authenticator.opinion = vouched(spf=spf)
    inbound = Inbound(
        world.config, world.directory, world.store, world.authenticator, None, world.committer, world.clock, tally
    )
    assert (await world.send(inbound, MAIL, "maire@ville.test")).ok
    assert reputation.vouched(tally, "192.0.2.7") is known


async def test_lmtp_is_the_operators_own_gateway_and_not_judged_again(world: World) -> None:
    world.authenticator.opinion = vouched(dmarc=Result.FAIL, policy="reject", disposition="reject")
    world.scanner = FakeScanner(Verdict(Action.REJECT))
    inbound = world.inbound()
    peer = replace(world.peer(), listener=Listener.LMTP)
    transaction = Transaction("q1", peer, None, MailParameters())
    for text in ("maire@ville.test", "agent@ville.test"):  # a bounce for two is the gateway's affair
        assert (await inbound.recipient(transaction, parse(text), Dsn())).ok
        transaction.recipients.append((parse(text), Dsn()))
    assert (await inbound.recipient(transaction, parse("x@ailleurs.test"), Dsn())).reason == "relay-denied"
    reception = inbound.begin(transaction)
    await reception.feed(MAIL)
    assert (await reception.finish()).ok
    [stored] = world.store.inbox("maire@ville.test")
    assert b"with LMTPS id q1" in stored


BOMBS = {
    "parentheses": b"From: " + b"(" * 60_000 + b"\r\n",
    "comments": b"From: " + b"(a)" * 20_000 + b" a@sender.test\r\n",
    "addresses": b"To: " + b"a@b.test, " * 6_000 + b"c@d.test\r\n",
    "encoded-words": b"Subject: " + b"=?utf-8?q?=41?= " * 4_000 + b"\r\n",
    "received": b"Received: from a by " + b"[" * 60_000 + b"\r\n",
    "results": b"Authentication-Results: x; " + b"spf=pass (" * 6_000 + b"\r\n",
    "signature": b"DKIM-Signature: v=1; " + b"a=b; " * 12_000 + b"\r\n",
    "seal": b"ARC-Seal: i=1; " + b"x=" + b" \t" * 30_000 + b"y; cv=none\r\n",
    "folding": b"References:" + b"\r\n <x@y.test>" * 5_000 + b"\r\n",
    "fields": b"X: y\r\n" * 990,
}


@pytest.mark.parametrize("listener", [Listener.MX, Listener.LMTP])
async def test_dns_is_asked_about_the_sender_before_the_message_comes(world: World, listener: Listener) -> None:
    """A long message does not wait for it at its end; what the operator's own gateway hands over is not asked about."""
    dns = FakeResolver()
    world.authenticator = Authenticator(dns, world.clock, Limits(), HOST)  # type: ignore[assignment]  # the real one
    peer = replace(world.peer(), listener=listener)
    reception = world.inbound().begin(Transaction("q1", peer, parse("a@sender.test"), MailParameters()))
    assert (("TXT", "sender.test") in dns.questions) == (listener is Listener.MX)
    await reception.abort()


@pytest.mark.parametrize("kind", sorted(BOMBS))
async def test_h042_a_bomb_for_the_processor_is_an_ordinary_message(world: World, kind: str) -> None:
    """What would take minutes in any step that is not linear has an answer in time (P7)."""
    world.authenticator = Authenticator(FakeResolver(), world.clock, Limits(), HOST)  # type: ignore[assignment]  # the real one
    inbound = world.inbound()
    data = BOMBS[kind] + MAIL.split(b"\r\n\r\n")[0].partition(b"\r\n")[2] + b"\r\n\r\n" + b"x \t" * 100_000 + b"\r\n"
    async with asyncio.timeout(20):
        status = await world.send(inbound, data, "maire@ville.test")
    assert status.code in (250, 550, 552)
