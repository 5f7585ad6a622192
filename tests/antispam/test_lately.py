"""Who sent a moment ago is not asked about again, and is told as if he were."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from antispam.authentication import Authenticator
from antispam.authentication.lately import KEPT, Lately, Watched
from antispam.types import Authentication, Result
from core.address import Address
from core.clock import ManualClock
from core.config import Limits
from core.envelope import Listener, Peer
from core.resolver import Answer
from message.address_list import from_domains
from message.content import head_length
from message.header import split
from tests.antispam.dkim_tools import MESSAGE, NOW, resolver, signed
from tests.fakes.resolver import FakeResolver

LIFE = 60.0
JEAN, MAIRE = Address("jean", "x.test"), Address("maire", "x.test")


class Lasting(FakeResolver):
    """Its answers hold for `LIFE` seconds."""

    clock: ManualClock

    async def _answer(self, name: str, kind: str, convert: Any) -> Answer[Any]:
        answer = await super()._answer(name, kind, convert)
        return replace(answer, until=self.clock.monotonic() + LIFE)


def peer(address: str = "192.0.2.1", helo: str = "mail.x.test") -> Peer:
    return Peer(address, 25, Listener.MX, "c1", helo=helo)


def door() -> tuple[Authenticator, Lasting]:
    dns = Lasting(resolver().zone)
    dns.clock = ManualClock(NOW)
    dns.add("x.test", "TXT", "v=spf1 ip4:192.0.2.1 -all")
    dns.add("mail.x.test", "TXT", "v=spf1 a -all")
    dns.add("mail.x.test", "A", "192.0.2.1")
    dns.add("_dmarc.x.test", "TXT", "v=DMARC1; p=reject")
    dns.add("192.0.2.1", "PTR", "mail.x.test")
    return Authenticator(dns, dns.clock, Limits(), "mx.dept.test"), dns


async def judge(
    authenticator: Authenticator, message: bytes, who: Peer, sender: Address | None, *, ahead: bool = True
) -> Authentication:
    origin = authenticator.origin(who, sender) if ahead else None
    cut = head_length(message)
    head = split(message[:cut])
    verification = authenticator.begin(head, origin)
    verification.feed(message[cut:])
    return await authenticator.authenticate(who, sender, from_domains(head).domains, verification)


async def test_another_writer_of_the_domain_costs_no_question_until_an_answer_ends() -> None:
    authenticator, dns = door()
    first = await judge(authenticator, MESSAGE, peer(), MAIRE)
    asked = dns.questions.copy()
    assert await judge(authenticator, MESSAGE, peer(), JEAN) == first
    assert dns.questions == asked
    dns.zone["x.test"]["TXT"] = ["v=spf1 -all"]
    dns.clock.advance(LIFE - 1)
    assert await judge(authenticator, MESSAGE, peer(), MAIRE) == first
    dns.clock.advance(1)
    last = await judge(authenticator, MESSAGE, peer(), MAIRE)
    assert (last.spf.result, last.dmarc.result) == (Result.FAIL, Result.FAIL)


async def test_whoever_differs_is_judged_as_if_nobody_had_come_before() -> None:
    authenticator, dns = door()
    dns.add("y.test", "MX", (0, ""))
    servers = [peer(), peer("203.0.113.66"), peer(helo="x.test"), peer(helo="")]
    senders = [MAIRE, JEAN, Address("maire", "y.test"), None]
    letters = [MESSAGE, signed(), MESSAGE.replace(b"x.test", b"y.test"), b"From: a@y.test\r\n" + signed()]
    for who, sender, letter in [*product(servers, senders, letters)] * 2:
        alone = Authenticator(dns, dns.clock, Limits(), "mx.dept.test")
        assert await judge(authenticator, letter, who, sender) == await judge(alone, letter, who, sender, ahead=False)


async def test_what_a_domain_says_of_one_writer_is_said_of_no_other() -> None:
    """RFC 7208 7.2: %{l} is the sender's local part."""
    authenticator, dns = door()
    dns.zone["x.test"]["TXT"] = ["v=spf1 exists:%{l}.people.x.test -all"]
    dns.add("maire.people.x.test", "A", "127.0.0.2")
    for sender, expected in ((MAIRE, Result.PASS), (JEAN, Result.FAIL), (MAIRE, Result.PASS)):
        assert (await judge(authenticator, MESSAGE, peer(), sender)).spf.result is expected


async def test_what_came_without_an_answer_that_nobody_waited_for_is_not_kept() -> None:
    """With it, the domain whose wish was not heard in time might have had the message refused (row 85)."""
    _, dns = door()
    watched, kept = Watched(dns), Lately[str](dns.clock)
    await watched.txt("x.test")
    dns.slow["away.test"] = 30.0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watched.txt("away.test"), 0.01)
    await watched.txt("mail.x.test")
    kept.keep("key", "found", watched)
    assert kept.get("key") is None


async def test_few_findings_are_kept_and_the_newest() -> None:
    _, dns = door()
    watched, kept = Watched(dns), Lately[int](dns.clock)
    kept.keep("nothing was asked for it", -1, watched)
    assert kept.get("nothing was asked for it") is None
    await watched.a("mail.x.test")
    for number in range(KEPT + 2):
        kept.keep(number, number, watched)
        kept.keep(0, 0, watched)
    assert [kept.get(number) for number in (0, 1, 2, KEPT + 1)] == [0, None, None, KEPT + 1]


async def test_answers_that_only_the_resolver_keeps_are_asked_of_it_each_time() -> None:
    authenticator, dns = door()
    dns.clock = ManualClock(NOW)
    dns.clock.advance(-LIFE)
    await judge(authenticator, MESSAGE, peer(), MAIRE)
    asked = dns.questions.total()
    await judge(authenticator, MESSAGE, peer(), MAIRE)
    assert dns.questions.total() == 2 * asked
