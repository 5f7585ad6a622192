"""A message from the world: what reaches a mailbox, what is refused, and that nothing lies between."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from antispam.authentication.authenticator import Authenticator
from antispam.types import Action, Iprev, Result, Unscanned, Verdict
from core import reputation
from core.address import parse
from core.config import Antispam, Limits
from core.envelope import Dsn, Listener
from core.errors import ConflictError, QuotaError, StorageError, TemporaryError
from core.tally import Tally
from delivery.inbound import Inbound
from delivery.queue.results import Settled
from delivery.types import MailParameters, Transaction
from tests.delivery.conftest import HOST, World
from tests.fakes.delivery_world import FakeScanner, vouched
from tests.fakes.resolver import FakeResolver

MAIL = b"From: a@sender.test\r\nTo: maire@ville.test\r\nSubject: Bonjour\r\n\r\nUn texte.\r\n..point\r\n"


async def queued(world: World) -> dict[str, list[tuple[str, str]]]:
    """queue id > (address, state)."""
    messages = await world.queue.administration.list(None)
    return {item.queue_id: [(r.address, r.state) for r in item.recipients] for item in messages}


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

    async def watched(new: object) -> list[list[int]]:
        seen.append(list(world.store.events))
        return await enqueue(new)  # type: ignore[arg-type]  # passed through

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


# --- refusals: nobody gets it (P2) -----------------------------------------------------------------------------------


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


@pytest.mark.parametrize("opinion", [Unscanned("unavailable"), RuntimeError("bug"), Unscanned("bad-answer")])
async def test_f160_an_absent_scanner_defers_or_is_named(world: World, opinion: Unscanned | Exception) -> None:
    world.scanner = FakeScanner(opinion)
    status = await world.send(world.inbound(), MAIL, "maire@ville.test")
    assert (status.code, status.enhanced) == (451, "4.7.1")
    world.config = world.config.model_copy(update={"antispam": Antispam(when_unavailable="accept")})
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test")).ok
    assert b"X-Spam-Status: No, unscanned=" in world.store.inbox("maire@ville.test")[0]


async def test_f161_a_slow_authenticator_is_temperror_within_its_time(world: World) -> None:
    import asyncio

    async def never(*_args: object) -> None:
        await asyncio.Event().wait()

    world.authenticator.authenticate = never  # type: ignore[method-assign,assignment]  # hangs
    world.config = world.config.model_copy(update={"limits": Limits(evidence_timeout=0.05)})
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test")).ok
    assert b"spf=temperror" in world.store.inbox("maire@ville.test")[0]


async def test_a_message_that_breaks_our_checks_is_not_in_the_inbox(world: World) -> None:
    """It counted like a DNS that is away, and DMARC with it: one bug would have been a way around every policy."""

    async def broken(*_args: object) -> None:
        raise RecursionError("a bug")

    world.authenticator.authenticate = broken  # type: ignore[method-assign,assignment]  # a fault
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test")).ok
    assert world.store.inbox("maire@ville.test") == []
    assert b"X-Beffroi-Reason: authentication-failed\r\n" in world.store.junk("maire@ville.test")[0]


async def test_p9_nothing_hostile_in_results_reaches_a_header(world: World) -> None:
    base = vouched()
    world.authenticator.opinion = type(base)(base.spf, (), base.dmarc, Iprev(Result.PASS, "evil\r\nX-Injected: yes"))
    await world.send(world.inbound(), MAIL, "maire@ville.test")
    [stored] = world.store.inbox("maire@ville.test")
    assert b"\r\nX-Injected" not in stored


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["spool", "stage", "deliver:maire@ville.test"])
async def test_f149_a_full_disk_before_the_first_commit_is_452_and_keeps_nothing(world: World, point: str) -> None:
    world.store.failures[point] = [StorageError("full")]
    status = await world.send(world.inbound(), MAIL, "maire@ville.test")
    assert (status.code, status.enhanced) == (452, "4.3.1")
    assert world.store.boxes == {}
    assert world.store.staged == 0
    assert await queued(world) == {}
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test")).ok


async def test_a_mailbox_that_filled_up_meanwhile_is_452(world: World) -> None:
    world.store.failures["deliver:maire@ville.test"] = [QuotaError("full")]
    status = await world.send(world.inbound(), MAIL, "maire@ville.test")
    assert (status.code, status.enhanced) == (452, "4.2.2")


async def test_after_the_first_commit_the_rest_is_the_queues(world: World) -> None:
    world.store.failures["deliver:agent@ville.test"] = [StorageError("full")]
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test", "agent@ville.test")).ok
    assert len(world.store.inbox("maire@ville.test")) == 1
    [recipients] = (await queued(world)).values()
    assert recipients == [("maire@ville.test", "delivered"), ("agent@ville.test", "waiting")]


async def test_p2_one_of_two_mailboxes_and_a_broken_queue_is_refused_with_nobody_having_it(world: World) -> None:
    async def broken(_new: object) -> list[int]:
        raise TemporaryError("busy")

    world.store.failures["deliver:agent@ville.test"] = [StorageError("full")]
    world.queue.enqueue_all = broken  # type: ignore[method-assign,assignment]  # a fault
    status = await world.send(world.inbound(), MAIL, "maire@ville.test", "agent@ville.test")
    assert (status.code, status.enhanced) == (451, "4.3.0")
    assert world.store.boxes == {}


async def test_a_queue_that_cannot_take_the_forwards_keeps_nothing(world: World) -> None:
    world.directory.alias("conseil@ville.test", "maire@ville.test", "elu@ailleurs.test")

    async def broken(_new: object) -> list[int]:
        raise TemporaryError("busy")

    world.queue.enqueue_all = broken  # type: ignore[method-assign,assignment]  # a fault
    status = await world.send(world.inbound(), MAIL, "conseil@ville.test")
    assert (status.code, status.enhanced) == (451, "4.3.0")
    assert world.store.boxes == {}
    assert world.store.staged == 0


async def test_a_result_that_was_lost_is_found_again_by_the_runner_without_a_second_copy(world: World) -> None:
    world.directory.alias("conseil@ville.test", "maire@ville.test", "elu@ailleurs.test")

    async def lost(*_args: object) -> list[Settled]:
        raise ConflictError("gone")

    apply, world.queue.apply = world.queue.apply, lost  # type: ignore[method-assign,assignment]  # a fault
    assert (await world.send(world.inbound(), MAIL, "conseil@ville.test")).ok
    world.queue.apply = apply  # type: ignore[method-assign]  # healed
    world.clock.advance(601)
    runner = world.another_queue()
    await runner.open()
    await runner.renew()
    local = next(
        item
        for item in await runner.claim(world.scheduler()._destinations.selection())
        if item.recipients[0].domain == ""
    )
    assert [str(item.address) for item in local.recipients] == ["maire@ville.test"]
    await runner.close()


async def test_a_directory_that_is_away_defers(world: World) -> None:
    world.directory.failure = TemporaryError("away")
    status = await world.send(world.inbound(), MAIL, "maire@ville.test")
    assert (status.code, status.enhanced) == (451, "4.3.0")


async def test_h020_a_cut_off_message_is_forgotten(world: World) -> None:
    inbound: Inbound[object] = world.inbound()
    transaction = Transaction("q", world.peer(), parse("a@sender.test"), MailParameters())
    transaction.recipients.append((parse("maire@ville.test"), Dsn()))
    reception = inbound.begin(transaction)
    await reception.feed(MAIL[:40])
    await reception.abort()
    await reception.abort()
    assert world.store.boxes == {}
    assert world.store.spools[0].closed


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
    inbound: Inbound[object] = world.inbound()
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


@pytest.mark.parametrize("kind", sorted(BOMBS))
async def test_h042_a_bomb_for_the_processor_is_an_ordinary_message(world: World, kind: str) -> None:
    """What would take minutes in any step that is not linear has an answer in time (P7)."""
    world.authenticator = Authenticator(FakeResolver(), world.clock, Limits(), HOST)  # type: ignore[assignment]
    inbound = world.inbound()
    data = BOMBS[kind] + MAIL.split(b"\r\n\r\n")[0].partition(b"\r\n")[2] + b"\r\n\r\n" + b"x \t" * 100_000 + b"\r\n"
    async with asyncio.timeout(20):
        status = await world.send(inbound, data, "maire@ville.test")
    assert status.code in (250, 550, 552)
