"""The door: all four together on whole messages, with the envelope deciding what SPF looks at."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import Any

import pytest

from antispam.authentication import Authenticator
from antispam.types import Authentication, Result, Spf
from core.address import Address
from core.clock import ManualClock
from core.config import Limits
from core.dns import DnsResolver
from core.envelope import Listener, Peer
from core.resolver import Answer, Outcome
from message.address_list import from_domains
from message.content import head_length
from message.header import split
from tests.antispam.dkim_tools import MESSAGE, NOW, resolver, signed
from tests.fakes.dns_server import DnsServer, answering
from tests.fakes.resolver import FakeResolver

SENDER = Address("maire", "x.test")


def peer(address: str = "192.0.2.1", helo: str = "mail.x.test") -> Peer:
    return Peer(address, 25, Listener.MX, "c1", helo=helo)


def world() -> FakeResolver:
    dns = resolver()
    dns.add("x.test", "TXT", "v=spf1 ip4:192.0.2.1 -all")
    dns.add("mail.x.test", "TXT", "v=spf1 a -all")
    dns.add("mail.x.test", "A", "192.0.2.1")
    dns.add("_dmarc.x.test", "TXT", "v=DMARC1; p=reject")
    dns.add("192.0.2.1", "PTR", "mail.x.test")
    return dns


async def judge(
    dns: FakeResolver,
    message: bytes,
    who: Peer,
    sender: Address | None = SENDER,
    limits: Limits | None = None,
    *,
    ahead: bool = False,
) -> Authentication:
    """`ahead`: of its sender DNS is asked before it comes."""
    door = Authenticator(dns, ManualClock(NOW), limits or Limits(), "mx.dept.test")
    origin = door.origin(who, sender) if ahead else None
    cut = head_length(message)
    head = split(message[:cut])
    verification = door.begin(head, origin)
    verification.feed(message[cut:])
    return await door.authenticate(who, sender, from_domains(head).domains, verification)


async def test_good_mail_passes_everything() -> None:
    result = await judge(world(), signed(), peer())
    assert (result.spf.result, result.spf.identity, result.spf.domain) == (Result.PASS, "mailfrom", "x.test")
    assert [item.result for item in result.dkim] == [Result.PASS]
    assert (result.dmarc.result, result.dmarc.domain) == (Result.PASS, "x.test")
    assert (result.iprev.result, result.iprev.hostname) == (Result.PASS, "mail.x.test")


async def test_forged_mail_is_what_the_owner_asks_to_reject() -> None:
    result = await judge(world(), MESSAGE, peer("203.0.113.66", "evil.test"))
    assert result.spf.result is Result.FAIL
    assert result.dkim == ()
    assert (result.dmarc.result, result.dmarc.disposition) == (Result.FAIL, "reject")


async def test_the_null_sender_is_judged_by_helo() -> None:
    result = await judge(world(), MESSAGE, peer(), sender=None)
    assert (result.spf.result, result.spf.identity, result.spf.domain) == (Result.PASS, "helo", "mail.x.test")
    assert result.dmarc.result is Result.PASS


async def test_helo_is_judged_beside_the_reverse_path_and_vouches_for_nobody() -> None:
    """RFC 7208 2.3; only the reverse-path counts for DMARC (RFC 9989 5.3), however well HELO fits From."""
    dns = world()
    result = await judge(dns, signed(), peer())
    assert result.helo == Spf(Result.PASS, "helo", "mail.x.test", "pass")
    dns.add("elsewhere.test", "TXT", "v=spf1 -all")
    result = await judge(dns, MESSAGE, peer(), Address("a", "elsewhere.test"))
    assert (result.spf.result, result.helo) == (Result.FAIL, Spf(Result.PASS, "helo", "mail.x.test", "pass"))
    assert (result.dmarc.result, result.dmarc.disposition) == (Result.FAIL, "reject")
    forged = await judge(dns, signed(), peer("203.0.113.66"))
    assert forged.helo == Spf(Result.FAIL, "helo", "mail.x.test", "fail")
    assert forged.dmarc.result is Result.PASS  # by its signature


async def test_helo_costs_one_question_and_none_for_a_name_that_was_asked() -> None:
    dns = world()
    result = await judge(dns, signed(), peer(helo="relay.provider.test"))
    assert result.helo == Spf(Result.NONE, "helo", "relay.provider.test", "no-record")
    assert [(kind, name) for kind, name in dns.questions if "provider" in name] == [("TXT", "relay.provider.test")]
    dns.questions.clear()
    result = await judge(dns, signed(), peer(helo="X.test"))
    assert (result.helo, dns.questions["TXT", "x.test"]) == (Spf(Result.PASS, "helo", "x.test", "pass"), 1)
    for helo in ("[192.0.2.1]", "a b", ""):
        assert (await judge(dns, signed(), peer(helo=helo))).helo is None


@pytest.mark.parametrize(("answers_after", "expected"), [(0.05, Result.PASS), (60.0, Result.TEMPERROR)])
async def test_h089_a_helo_whose_dns_dawdles_is_not_waited_for(answers_after: float, expected: Result) -> None:
    dns = world()
    dns.add("relay.provider.test", "TXT", "v=spf1 ip4:192.0.2.1 -all")
    dns.slow = {"relay.provider.test": answers_after}
    who = peer(helo="relay.provider.test")
    result = await asyncio.wait_for(judge(dns, signed(), who, limits=Limits(helo_timeout=0.4)), 5)
    assert result.helo is not None
    assert (result.helo.result, result.spf.result, result.dmarc.result) == (expected, Result.PASS, Result.PASS)


async def test_the_owner_explains_a_fail_only_where_mail_is_refused_for_it() -> None:
    """RFC 7208 6.2. The question is asked once the verdict is known, and never changes it."""
    dns = world()
    dns.zone["x.test"]["TXT"] = ["v=spf1 ip4:192.0.2.1 exp=why.x.test -all"]
    dns.add("why.x.test", "TXT", "%{i} may not send for %{d}, says %{r}")
    forged = await judge(dns, MESSAGE, peer("203.0.113.66"))
    assert forged.spf.explanation == "203.0.113.66 may not send for x.test, says mx.dept.test"
    dns.questions.clear()
    assert not (await judge(dns, signed(), peer("203.0.113.66"))).spf.explanation
    assert dns.questions["TXT", "why.x.test"] == 0
    dns.slow = {"why.x.test": 60}
    late = await asyncio.wait_for(judge(dns, MESSAGE, peer("203.0.113.66"), limits=Limits(explanation_timeout=0.1)), 5)
    assert (late.spf.result, late.spf.explanation, late.dmarc.disposition) == (Result.FAIL, "", "reject")


@pytest.mark.parametrize("helo", ["", "[192.0.2.1]", "localhost", "a b", "x.test\x00"])
async def test_a_helo_that_is_no_domain_has_no_spf(helo: str) -> None:
    assert (await judge(world(), MESSAGE, peer(helo=helo), sender=None)).spf.result is Result.NONE


async def test_local_mail_without_address_is_no_fault() -> None:
    result = await judge(world(), MESSAGE, peer(address=""))
    assert (result.spf.result, result.iprev.result) == (Result.NONE, Result.NONE)


async def test_h085_two_from_fields_are_both_judged() -> None:
    dns = world()
    dns.add("_dmarc.bank.test", "TXT", "v=DMARC1; p=reject")
    result = await judge(dns, b"From: a@bank.test\r\n" + signed(), peer())
    assert (result.dmarc.domain, result.dmarc.disposition) == ("bank.test", "reject")
    both = MESSAGE.replace(b"<maire@x.test>", b"<maire@x.test>, <a@bank.test>")
    assert (await judge(dns, both, peer())).dmarc.domain == "bank.test"


async def test_f161_dns_away_is_temporary_everywhere() -> None:
    dns = FakeResolver(failing=["x.test", "sel._domainkey.x.test", "_dmarc.x.test", "192.0.2.1"])
    result = await judge(dns, signed(), peer())
    assert {result.spf.result, result.dkim[0].result, result.dmarc.result, result.iprev.result} == {Result.TEMPERROR}


async def test_the_checks_run_together() -> None:
    """Of SPF, the exchangers, DKIM and iprev none has its answer before all have asked: one wait."""
    first = {("TXT", "x.test"), ("MX", "x.test"), ("TXT", "sel._domainkey.x.test"), ("PTR", "192.0.2.1")}
    everyone_asked = asyncio.Event()

    class Slow(FakeResolver):
        async def _answer(self, name: str, kind: str, convert: Any) -> Answer[Any]:
            answer = await super()._answer(name, kind, convert)
            if first <= self.questions.keys():
                everyone_asked.set()
            await everyone_asked.wait()
            return answer

    async with asyncio.timeout(20):
        result = await judge(Slow(world().zone), signed(), peer())
    assert result.dmarc.result is Result.PASS


async def test_what_dns_said_lately_costs_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task waits for its turn of the loop twice: with twenty senders that was a quarter of the way to their 250."""
    begun = []
    monkeypatch.setattr(asyncio.TaskGroup, "create_task", lambda _group, work: begun.append(work))
    result = await judge(world(), MESSAGE, peer())
    assert (result.iprev.result, result.spf.result) == (Result.PASS, Result.PASS)
    assert not begun


@pytest.mark.parametrize(
    ("message", "who", "sender"),
    [
        (signed(), peer(), SENDER),
        (MESSAGE, peer(helo="x.test"), SENDER),
        (MESSAGE, peer(), None),
        (MESSAGE, peer("203.0.113.66", "relay.test"), SENDER),
        (MESSAGE, peer(""), Address("a", "away.test")),
    ],
)
async def test_what_must_be_waited_for_is_told_as_what_is_known(
    message: bytes, who: Peer, sender: Address | None
) -> None:
    """Whichever of the answers it is, and whenever DNS is asked: the checks come one after the other first, then
    together."""
    names = ("x.test", "mail.x.test", "_dmarc.x.test", "sel._domainkey.x.test", "192.0.2.1", "relay.test", "away.test")
    told = []
    for ahead, *waits in product((False, True), repeat=1 + len(names)):
        dns = world()
        dns.add("x.test", "MX", (0, ""))
        dns.failing.add("away.test")
        dns.slow = {name: 0.0 for name, late in zip(names, waits, strict=True) if late}
        told.append(await judge(dns, message, who, sender, ahead=ahead))
    assert all(other == told[0] for other in told)


async def test_cancelling_stops_at_once() -> None:
    dns = world()
    dns.slow = {"x.test": 60}
    task = asyncio.create_task(judge(dns, signed(), peer()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 20)  # of the 60 s that it would wait


async def test_rfc7505_a_sender_whose_domain_takes_no_mail_is_known_for_it() -> None:
    for exchangers, expected in (([(0, "")], True), ([(10, "mx.x.test")], False), ([], False)):
        dns = world()
        if exchangers:
            dns.add("x.test", "MX", *exchangers)
        assert (await judge(dns, signed(), peer())).null_mx is expected
        assert not (await judge(dns, signed(), peer(), None)).null_mx
    dns = world()
    dns.add("x.test", "MX", (0, ""))
    dns.failing.add("x.test")
    assert not (await judge(dns, signed(), peer())).null_mx  # what is not known is no refusal


async def test_what_dns_knows_of_a_sender_is_asked_once_while_his_message_comes() -> None:
    dns, message = world(), signed()
    door = Authenticator(dns, ManualClock(NOW), Limits(), "mx.dept.test")
    origin = door.origin(peer(), SENDER)
    assert origin is not None
    before = dns.questions.copy()
    cut = head_length(message)
    verification = door.begin(split(message[:cut]), origin)
    verification.feed(message[cut:])
    result = await door.authenticate(peer(), SENDER, ["x.test"], verification)
    assert result == await judge(world(), message, peer())
    assert {kind for kind, _ in (dns.questions - before)} == {"TXT"}  # keys and policies alone
    assert dns.questions["TXT", "x.test"] == before["TXT", "x.test"] == 1


async def test_every_answer_that_is_not_known_is_on_its_way_before_the_message_comes() -> None:
    dns = world()
    dns.slow = dict.fromkeys(("192.0.2.1", "mail.x.test", "x.test"), 60.0)
    assert Authenticator(dns, ManualClock(NOW), Limits(), "mx.dept.test").origin(peer(), SENDER) is None
    assert set(dns.questions) == {("PTR", "192.0.2.1"), ("TXT", "mail.x.test"), ("MX", "x.test"), ("TXT", "x.test")}


@pytest.mark.parametrize("failing", ["x.test", "192.0.2.1"])
async def test_who_could_not_be_asked_before_the_message_is_asked_again_at_its_end(failing: str) -> None:
    dns = world()
    dns.failing = {failing}
    assert Authenticator(dns, ManualClock(NOW), Limits(), "mx.dept.test").origin(peer(), SENDER) is None


async def test_nobody_is_asked_ahead_where_others_need_their_answers() -> None:
    dns = world()
    dns.crowded = True
    assert Authenticator(dns, ManualClock(NOW), Limits(), "mx.dept.test").origin(peer(), SENDER) is None
    assert not dns.questions
    assert await judge(dns, signed(), peer(), ahead=True) == await judge(world(), signed(), peer())


async def test_h089_messages_broken_off_by_the_thousand_take_nobody_his_answers() -> None:
    """Four sessions that gave a new sender with each BDAT, and then RSET, held up everybody's mail for ten seconds."""

    class Deaf(DnsServer):
        def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
            if b"slow" not in data:
                super().datagram_received(data, peer)

    async with Deaf(answering("x.test. 60 TXT v=spf1 -all")) as server:
        clock = ManualClock(NOW)
        resolver = DnsResolver([server.address], 20, clock)
        door = Authenticator(resolver, clock, Limits(), "mx.dept.test")
        for number in range(1000):
            assert door.origin(peer(), Address("x", f"d{number}.slow.test")) is None
        async with asyncio.timeout(10):
            assert (await resolver.txt("x.test")).outcome is Outcome.OK
        await resolver.close()
