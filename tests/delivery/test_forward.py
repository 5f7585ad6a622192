"""What aliases send on: senders that bounces find back through, seals, loops, and nobody's backscatter."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from antispam.types import Arc, Result
from core.address import parse
from core.envelope import Dsn
from core.errors import QuotaError, TemporaryError
from delivery.commit import Committer
from delivery.forward import Forwarder, Rewriting
from delivery.inbound import Inbound
from delivery.local import LocalAgent
from delivery.passed import FIELDS, MOST, Marks
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.srs import Srs
from delivery.types import Job, JobRecipient, ResultKind
from dkim_keys.sign import Signer
from message.content import BytesContent
from message.header import split
from tests.antispam.dkim_tools import rsa_pair
from tests.delivery.conftest import HOST, World
from tests.fakes.delivery_world import vouched

MAIL = b"From: a@sender.test\r\nTo: amis@ville.test\r\nSubject: Bonjour\r\n\r\nUn texte.\r\n"


class OneKey:
    failure: Exception | None = None

    async def signers(self, domain: str) -> tuple[Signer, ...]:
        if self.failure:
            raise self.failure
        return (Signer(domain, "sel", "rsa-sha256", load_pem_private_key(rsa_pair()[0], None)),)  # type: ignore[arg-type]  # one of the two we make


class Forwarding:
    """The world with forwards wired as in the suite."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.keys = OneKey()
        self.srs = Srs(b"k" * 32)
        self.forwarder = Forwarder(world.directory, self.srs, self.keys, world.clock, HOST)
        self.addresses = Rewriting(world.directory, self.srs, world.clock)
        self.committer = Committer(world.store, world.queue, world.rules, self.forwarder)

    def inbound(self) -> Inbound[Any]:
        world = self.world
        return Inbound(
            world.config, world.directory, world.store, world.authenticator, None, self.committer, world.clock,
            addresses=self.addresses,
        )  # fmt: skip

    def local(self) -> LocalAgent:
        world = self.world
        return LocalAgent(self.addresses, world.store, world.queue, world.ids, alias_depth=10, forwarder=self.forwarder)

    async def queued(self) -> dict[str, tuple[str, list[str]]]:
        """queue id > (sender, recipients)."""
        messages = await self.world.queue.administration.list(None)
        return {item.queue_id: (item.sender, [r.address for r in item.recipients]) for item in messages}

    async def jobs(self) -> list[Job]:
        """What the next claim would send out."""
        claimed = await self.world.queue.claim(self.world.scheduler()._destinations.selection())
        made = []
        for item in claimed:
            content = await self.world.queue.content(item.message)
            recipients = tuple(r.for_job() for r in item.recipients)
            made.append(Job(item.message.queue_id, item.message.sender, recipients, content, "next.test"))
        return made


@pytest.fixture
def forwarding(world: World) -> Forwarding:
    world.directory.alias("amis@ville.test", "maire@ville.test", "ami@ailleurs.test")
    return Forwarding(world)


async def test_a_forward_leaves_under_a_sender_of_the_aliass_domain(forwarding: Forwarding) -> None:
    assert (await forwarding.world.send(forwarding.inbound(), MAIL, "amis@ville.test")).ok
    [(queue_id, (sender, recipients))] = (await forwarding.queued()).items()
    assert recipients == ["ami@ailleurs.test"]
    assert queue_id.endswith("-1")
    assert sender.startswith("SRS0=")
    assert sender.endswith("=sender.test=a@ville.test")
    [stored] = forwarding.world.store.inbox("maire@ville.test")
    assert stored.startswith(b"Return-Path: <a@sender.test>")  # here nothing was rewritten


async def test_each_aliass_domain_gets_a_message_of_its_own_in_one_commit(forwarding: Forwarding) -> None:
    forwarding.world.directory.alias("bons@bourg.test", "x@ailleurs.test", "y@ailleurs.test")
    await forwarding.world.send(forwarding.inbound(), MAIL, "amis@ville.test", "bons@bourg.test")
    found = sorted(
        (sender.rpartition("@")[2], recipients) for sender, recipients in (await forwarding.queued()).values()
    )
    assert found == [
        ("bourg.test", ["x@ailleurs.test", "y@ailleurs.test"]),
        ("ville.test", ["ami@ailleurs.test"]),
    ]


@pytest.mark.parametrize("sender", ["", "voisin@bourg.test"])
async def test_bounces_and_our_own_people_keep_their_sender(forwarding: Forwarding, sender: str) -> None:
    await forwarding.world.send(forwarding.inbound(), MAIL, "amis@ville.test", sender=sender)
    assert [
        found for found, recipients in (await forwarding.queued()).values() if "ami@ailleurs.test" in recipients
    ] == [sender]


async def test_a_bounce_of_a_forward_finds_the_first_sender(forwarding: Forwarding) -> None:
    await forwarding.world.send(forwarding.inbound(), MAIL, "amis@ville.test")
    [job] = await forwarding.jobs()
    bounce = b"From: MAILER-DAEMON@ailleurs.test\r\nSubject: echec\r\n\r\nInconnu.\r\n"
    status = await forwarding.world.send(forwarding.inbound(), bounce, str(job.sender), sender="")
    assert status.ok
    assert ("", ["a@sender.test"]) in (await forwarding.queued()).values()


async def test_only_bounces_come_back_that_way_and_only_to_what_we_made(forwarding: Forwarding) -> None:
    made = forwarding.srs.wrap(parse("a@sender.test"), "ville.test", forwarding.world.clock.now())
    inbound = forwarding.inbound()
    assert (await forwarding.world.send(inbound, MAIL, str(made))).reason == "bounces-only"
    forged = "SRS0=aaaaaaaa=00=victim.test=a@ville.test"
    status = await forwarding.world.send(inbound, MAIL, forged, sender="")
    assert (status.code, status.reason) == (550, "unknown-user")
    elsewhere = str(made).replace("@ville.test", "@ailleurs.test")
    assert (await forwarding.world.send(inbound, MAIL, elsewhere, sender="")).reason == "relay-denied"
    forwarding.world.clock.advance(23 * 86400.0)
    assert (await forwarding.world.send(inbound, MAIL, str(made), sender="")).reason == "unknown-user"


async def test_a_forward_that_comes_back_under_our_own_rewriting_ends(forwarding: Forwarding) -> None:
    """A > B > A: the loop guard counts our hops (row 134), whatever the senders have become."""
    data, statuses = MAIL, []
    for _ in range(8):
        status = await forwarding.world.send(forwarding.inbound(), data, "amis@ville.test")
        statuses.append(status.reason)
        if not status.ok:
            break
        [job, *_] = reversed(await forwarding.jobs())
        data = job.content.read(0, job.content.size)
    assert statuses == ["accepted", "mail-loop"]
    assert len(forwarding.world.store.inbox("maire@ville.test")) == 1


def back(data: bytes) -> bytes:
    """As a server hands it back that takes Received out, as many do."""
    head, _, body = data.partition(b"\r\n\r\n")
    kept = re.sub(rb"(?im)^(?:Received|ARC-[\w-]+|Return-Path):.*\r?\n(?:[ \t].*\r?\n)*", b"", head + b"\r\n")
    assert b"Received" not in kept
    return kept + b"\r\n" + body


async def sent_on(forwarding: Forwarding, data: bytes, to: str, sender: str = "a@sender.test") -> bytes:
    assert (await forwarding.world.send(forwarding.inbound(), data, to, sender=sender)).ok
    [job] = [job for job in await forwarding.jobs() if job.recipients[0].address.domain == "ailleurs.test"]
    return job.content.read(0, job.content.size)


@pytest.mark.parametrize("sender", ["a@sender.test", "voisin@bourg.test", ""])
async def test_h134_a_forward_that_comes_back_without_its_trace_ends(forwarding: Forwarding, sender: str) -> None:
    """Hops were all it was known by: without them it went round for ever, a copy a round into the mailbox beside."""
    data = await sent_on(forwarding, MAIL, "amis@ville.test", sender)
    status = await forwarding.world.send(forwarding.inbound(), back(data), "Amis@ville.test", sender="x@ailleurs.test")
    assert (status.code, status.enhanced, status.reason) == (554, "5.4.6", "mail-loop")
    assert len(forwarding.world.store.inbox("maire@ville.test")) == 1


async def test_h134_a_circle_of_two_aliases_is_one_too(forwarding: Forwarding) -> None:
    forwarding.world.directory.alias("bons@bourg.test", "y@ailleurs.test")
    first = await sent_on(forwarding, MAIL, "amis@ville.test")
    second = await sent_on(forwarding, back(first), "bons@bourg.test")
    for again in ("amis@ville.test", "bons@bourg.test"):
        assert (await forwarding.world.send(forwarding.inbound(), back(second), again)).reason == "mail-loop"


async def test_h134_what_waited_in_the_queue_is_marked_too(forwarding: Forwarding) -> None:
    job = Job("q9", parse("a@sender.test"), (JobRecipient(1, parse("amis@ville.test")),), BytesContent(MAIL), "")
    await forwarding.local().deliver(job)
    [onward] = [job for job in await forwarding.jobs() if job.recipients[0].address.domain == "ailleurs.test"]
    data = onward.content.read(0, onward.content.size)
    assert (await forwarding.world.send(forwarding.inbound(), back(data), "amis@ville.test")).reason == "mail-loop"


async def test_a_mark_names_nobody_and_stops_nothing_else(forwarding: Forwarding) -> None:
    """A mailbox ends the way, another alias is another way, and what strangers write is no mark: an old server of the
    commune wrote Delivered-To when it had the mail, and hands it on."""
    data = await sent_on(forwarding, MAIL, "amis@ville.test")
    assert re.match(rb"X-Beffroi-Passed: [0-9a-z]{16}\r\n\t[0-9a-z]{16}\r\n", data)
    forwarding.world.directory.alias("bons@bourg.test", "y@ailleurs.test")
    for to in ("maire@ville.test", "bons@bourg.test"):
        assert (await forwarding.world.send(forwarding.inbound(), back(data), to)).ok
    strangers = b"Delivered-To: amis@ville.test\r\nX-Beffroi-Passed: amis@ville.test 0000000000000000\r\n" + MAIL
    assert (await forwarding.world.send(forwarding.inbound(), strangers, "amis@ville.test")).ok
    with_another_key = Marks(b"o" * 32).field([parse("amis@ville.test")], "q1") + MAIL
    assert (await forwarding.world.send(forwarding.inbound(), with_another_key, "amis@ville.test")).ok


async def test_a_mark_is_not_known_again_in_another_message(forwarding: Forwarding) -> None:
    """It was the same in each: whoever read it once knew to which blind copy's alias another message went."""
    marks = set()
    for _ in range(2):
        data = await sent_on(forwarding, MAIL, "amis@ville.test")
        marks |= set(re.findall(rb"[0-9a-z]{16}", data.partition(b"\r\nReceived")[0]))
    assert len(marks) == 4, "each has its salt and its mark"


async def test_whom_our_own_sender_names_himself_reads_nothing_of_aliases(forwarding: Forwarding) -> None:
    """They may have been blind copies (RFC 5321 7.2); one message went to all."""
    job = Job("q9", parse("maire@ville.test"), (), BytesContent(MAIL), "")
    alias = NewRecipient(parse("ami@ailleurs.test"), forwarded=True, via="ville.test", passed=parse("amis@ville.test"))
    named = NewRecipient(parse("bob@ailleurs.test"))
    new = NewMessage("q9", job.sender, job.content, (named, alias))
    made = {
        str(item.address): message for message in await forwarding.forwarder.onward(new) for item in message.recipients
    }
    read = {address: message.content.read(0, message.content.size) for address, message in made.items()}
    assert read["bob@ailleurs.test"] == MAIL
    assert read["ami@ailleurs.test"].startswith(b"X-Beffroi-Passed: q9")
    assert {made[address].queue_id for address in read} == {"q9", "q9-0"}


async def test_h134_beside_whom_it_came_back_to_everybody_else_has_his_mail(forwarding: Forwarding) -> None:
    """All recipients of that transaction were refused; now only the alias fails, and its sender hears of it."""
    world = forwarding.world
    data = await sent_on(forwarding, MAIL, "amis@ville.test")
    world.authenticator.opinion = vouched(spf=Result.PASS)
    assert (await world.send(forwarding.inbound(), back(data), "amis@ville.test", "agent@ville.test")).ok
    assert len(world.store.inbox("agent@ville.test")) == 1
    assert len(world.store.inbox("maire@ville.test")) == 1
    [claimed] = await world.queue.claim(world.scheduler()._destinations.selection())
    recipients = tuple(item.for_job() for item in claimed.recipients)
    assert [str(item.address) for item in recipients] == ["amis@ville.test"]
    content = await world.queue.content(claimed.message)
    [result] = await forwarding.local().deliver(Job("q", claimed.message.sender, recipients, content, ""))
    assert (result.kind, result.status.reason) == (ResultKind.FAILED, "mail-loop")
    assert len(world.store.inbox("maire@ville.test")) == 1
    assert await world.queue.claim(world.scheduler()._destinations.selection()) == [], "nothing was sent on"


def test_a_field_of_many_marks_and_many_fields_are_bounded() -> None:
    marks, ours = Marks(b"k" * 32), parse("amis@ville.test")
    field = marks.field([parse(f"x{number}@ville.test") for number in range(MOST + 5)], "q1")
    assert len(field.split()) == MOST + 2
    strangers = b"X-Beffroi-Passed: q1 0000000000000000\r\n"
    for count, found in ((FIELDS - 1, {ours.key}), (FIELDS, set())):
        assert marks.found(split(strangers * count + marks.field([ours], "q1") + MAIL), [ours]) == found
    assert marks.found(split(b"X-Beffroi-Passed:\r\nX-Beffroi-Passed: \xff\r\n" + MAIL), [ours]) == set()


def dns(name: bytes, timeout: int = 5) -> bytes | None:
    return rsa_pair()[1] if name.rstrip(b".") == b"sel._domainkey.ville.test" else None


@pytest.mark.parametrize("sender", ["a@sender.test", ""])
async def test_a_forward_is_sealed_for_the_next_server(forwarding: Forwarding, sender: str) -> None:
    """A bounce and an automatic answer, too: with a null sender nothing else speaks for them there."""
    forwarding.world.authenticator.opinion = vouched(spf=Result.PASS, dmarc=Result.PASS, policy="reject")
    await forwarding.world.send(forwarding.inbound(), MAIL, "amis@ville.test", sender=sender)
    [job] = [job for job in await forwarding.jobs() if job.recipients[0].address.domain == "ailleurs.test"]
    assert (job.sender is None) == (not sender)
    data = job.content.read(0, job.content.size)
    verdict, sets, reason = dkim.arc_verify(data, dnsfunc=dns)
    assert (verdict, len(sets)) == (b"pass", 1), reason
    assert b"ARC-Authentication-Results: i=1; mx.dept.test;\r\n\tspf=pass" in data
    assert data.endswith(b"Un texte.\r\n")
    again = await _sealed_again(forwarding, data)
    verdict, sets, reason = dkim.arc_verify(again, dnsfunc=dns)
    assert (verdict, len(sets)) == (b"pass", 2), reason


async def _sealed_again(forwarding: Forwarding, data: bytes) -> bytes:
    world = forwarding.world
    world.authenticator.opinion = replace(world.authenticator.opinion, arc=Arc(Result.PASS, 1, ("ville.test",)))
    world.directory.alias("autres@ville.test", "ami@ailleurs.test")
    await world.send(forwarding.inbound(), data, "autres@ville.test")
    [job] = await forwarding.jobs()
    return job.content.read(0, job.content.size)


@pytest.mark.parametrize("arc", [Arc(Result.TEMPERROR, 1), Arc(Result.FAIL, 1, reason="sealed-as-failed")])
async def test_a_chain_that_cannot_be_judged_or_is_broken_already_is_left_alone(
    forwarding: Forwarding, arc: Arc
) -> None:
    forwarding.world.authenticator.opinion = replace(vouched(), arc=arc)
    await forwarding.world.send(forwarding.inbound(), MAIL, "amis@ville.test")
    [job] = await forwarding.jobs()
    assert b"ARC-" not in job.content.head


async def test_a_key_that_cannot_be_had_costs_the_seal_and_not_the_mail(forwarding: Forwarding) -> None:
    forwarding.keys.failure = TemporaryError("away")
    assert (await forwarding.world.send(forwarding.inbound(), MAIL, "amis@ville.test")).ok
    [job] = await forwarding.jobs()
    assert b"ARC-" not in job.content.head


async def test_h135_nobody_whose_address_may_be_forged_hears_of_a_forward(forwarding: Forwarding) -> None:
    asked = Dsn(frozenset({"SUCCESS", "FAILURE"}))
    forwarding.world.directory.alias("ami@ville.test", "ami@ailleurs.test")
    for spf, expected in ((Result.FAIL, {"NEVER"}), (Result.PASS, {"SUCCESS", "FAILURE"}), (Result.NONE, {"FAILURE"})):
        forwarding.world.authenticator.opinion = vouched(spf=spf)
        await forwarding.world.send(forwarding.inbound(), MAIL, "ami@ville.test", dsn=asked)
        job = next(job for job in await forwarding.jobs() if job.recipients[0].address.domain == "ailleurs.test")
        assert job.recipients[0].dsn.notify == expected, spf


async def test_what_waited_here_is_forwarded_under_our_sender_too(forwarding: Forwarding) -> None:
    world = forwarding.world
    world.store.failures["deliver:maire@ville.test"] = [QuotaError("full")]
    job = Job("q1", parse("a@sender.test"), (JobRecipient(1, parse("amis@ville.test")),), BytesContent(MAIL), "")
    await forwarding.local().deliver(job)
    senders = {tuple(recipients): sender for sender, recipients in (await forwarding.queued()).values()}
    assert senders[("maire@ville.test",)] == "a@sender.test"
    assert senders[("ami@ailleurs.test",)].startswith("SRS0=")


async def test_rfc3461_5_2_1_what_the_sender_wrote_goes_with_a_replaced_address(world: World) -> None:
    world.directory.alias("conseil@ville.test", "elu@ailleurs.test")
    for dsn, original in (
        (Dsn(), "rfc822;conseil@ville.test"),
        (Dsn(original="rfc822;x@list.test"), "rfc822;x@list.test"),
    ):
        assert (await world.send(world.inbound(), MAIL, "conseil@ville.test", dsn=dsn)).ok
        [claimed] = await world.queue.claim(world.scheduler()._destinations.selection())
        assert [str(item.address) for item in claimed.recipients] == ["elu@ailleurs.test"]
        assert claimed.recipients[0].dsn.original == original
