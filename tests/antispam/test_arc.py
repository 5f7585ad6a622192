"""Chains: dkimpy seals and judges; what is broken anywhere is a failure with its reason (RFC 8617 5.2, row 88)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

import dkim
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from antispam.authentication import results
from antispam.authentication.authenticator import Authenticator, Verification
from antispam.authentication.dkim import DkimVerification
from antispam.authentication.dkim_header import parse_message_signature
from antispam.types import Arc, Authentication, Dmarc, Iprev, Result, Spf
from core.address import parse
from core.clock import ManualClock
from core.config import Limits
from core.envelope import Listener, Peer
from dkim_keys import arc as sealing
from dkim_keys.sign import BodyDigest, Signer
from message.arc import chain
from message.content import head_length
from message.header import split
from tests.antispam.dkim_tools import MESSAGE, NOW, resolver, rsa_pair
from tests.fakes.resolver import FakeResolver

RESULTS = b"Authentication-Results: mx.one.test; spf=pass smtp.mailfrom=x.test;\r\n\tdmarc=pass header.from=x.test\r\n"


def by_dkimpy(message: bytes, authserv: bytes = b"mx.one.test") -> bytes:
    """The next set, as dkimpy makes it."""
    lines: list[bytes] = dkim.arc_sign(
        message, b"sel", b"x.test", rsa_pair()[0], authserv, timestamp=int(NOW), linesep=b"\r\n"
    )
    assert lines
    return b"".join(lines) + message


def dns(name: bytes | str, timeout: int = 5) -> bytes | None:
    text = name.decode() if isinstance(name, bytes) else name
    return rsa_pair()[1] if text.rstrip(".") == "sel._domainkey.x.test" else None


def by_us(
    message: bytes, *, passed: bool = True, authentication_results: bytes = RESULTS, domain: str = "x.test"
) -> bytes:
    cut = head_length(message)
    body = BodyDigest()
    body.feed(message[cut:])
    key = load_pem_private_key(rsa_pair()[0], None)
    fields = sealing.seal(
        message[:cut],
        body.digest(),
        Signer(domain, "sel", "rsa-sha256", key),  # type: ignore[arg-type]  # one of the two we make
        before=chain(split(message[:cut])),
        passed=passed,
        results=authentication_results,
        now=NOW,
    )
    return fields + message


async def verify(message: bytes, dns_: FakeResolver | None = None, block: int = 0) -> Arc:
    clock = ManualClock(at=NOW)
    cut = head_length(message)
    authenticator = Authenticator(dns_ or resolver(), clock, Limits(), "mx.dept.test")
    verification = authenticator.begin(split(message[:cut]))
    step = block or len(message)
    for start in range(cut, len(message), step):
        verification.feed(message[start : start + step])
    verification.end_body()
    if verification.arc is None:
        return Arc(Result.NONE)
    return await verification.arc.finish(verification, dns_ or resolver(), clock.now())


async def test_a_message_without_a_chain_has_none() -> None:
    assert await verify(MESSAGE) == Arc(Result.NONE)


@pytest.mark.parametrize("block", [0, 1, 7])
async def test_a_chain_of_dkimpy_passes_here(block: int) -> None:
    once = by_dkimpy(RESULTS + MESSAGE)
    first = await verify(once, block=block)
    assert (first.result, first.sets, first.sealers, first.reason) == (Result.PASS, 1, ("x.test",), "")
    assert first.oldest_dmarc == "pass"
    twice = await verify(by_dkimpy(b"Authentication-Results: mx.one.test; arc=pass\r\n" + once))
    assert (twice.result, twice.sets) == (Result.PASS, 2)


@pytest.mark.parametrize("rounds", [1, 2, 3])
async def test_our_chain_passes_with_dkimpy_and_here(rounds: int) -> None:
    message = MESSAGE
    for number in range(rounds):
        message = by_us(f"Received: by hop{number}\r\n".encode() + message)
    verdict, sets, reason = dkim.arc_verify(message, dnsfunc=dns)
    assert (verdict, len(sets)) == (b"pass", rounds), reason
    ours = await verify(message)
    assert (ours.result, ours.sets, ours.sealers) == (Result.PASS, rounds, ("x.test",) * rounds)


async def test_rfc8617_4_1_2_a_version_means_nothing_in_a_chain() -> None:
    """No v= is defined for these fields; if seen, it MUST be ignored."""
    message = by_us(MESSAGE, domain="x.test; v=3")
    assert message.count(b"v=3;") == 2
    found = await verify(message)
    assert (found.result, found.sealers) == (Result.PASS, ("x.test",))


async def test_our_seal_over_anothers_chain_and_the_reverse() -> None:
    mixed = by_dkimpy(b"Authentication-Results: mx.one.test; arc=pass\r\n" + by_us(by_dkimpy(RESULTS + MESSAGE)))
    assert dkim.arc_verify(mixed, dnsfunc=dns)[0] == b"pass"
    assert (await verify(mixed)).sets == 3


async def test_a_chain_that_was_found_broken_stays_broken() -> None:
    changed = by_us(MESSAGE).replace(b"Bonjour", b"Bonsoir")
    sealed = by_us(changed, passed=False)
    found = await verify(sealed)
    assert (found.result, found.reason) == (Result.FAIL, "sealed-as-failed")
    assert dkim.arc_verify(sealed, dnsfunc=dns)[0] != b"pass"


def _without(name: bytes, message: bytes) -> bytes:
    return re.sub(rb"(?mi)^" + name + rb":.*\r\n(?:[ \t].*\r\n)*", b"", message, count=1)


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "body-hash-differs": lambda m: m.replace(b"Bonjour", b"Bonsoir"),
    "signature-differs": lambda m: m.replace(b"Subject: Conseil", b"Subject: Attentat"),
    "seal-differs": lambda m: m.replace(b"dmarc=pass", b"dmarc=fail"),
    "incomplete-set": lambda m: _without(b"ARC-Seal", m),
    "chain-value": lambda m: m.replace(b"cv=none", b"cv=pass"),
    "gap-in-chain": lambda m: m.replace(b"i=1;", b"i=2;"),
    "bad-instance": lambda m: m.replace(b"i=1;", b"i=51;"),
    "duplicate-set": lambda m: m[: m.index(b"ARC-Message")] + m,
    "malformed-field": lambda m: m.replace(b"cv=none", b"cv"),
    "malformed-number": lambda m: m.replace(b"t=1790000000; cv", b"t=soon; cv"),
    "unusable-algorithm": lambda m: m.replace(b"ARC-Seal: i=1; a=rsa-sha256", b"ARC-Seal: i=1; a=rsa-sha1"),
}


@pytest.mark.parametrize("reason", sorted(BROKEN))
async def test_h088_what_is_broken_anywhere_fails_with_its_reason(reason: str) -> None:
    found = await verify(BROKEN[reason](by_us(MESSAGE)))
    assert (found.result, found.reason) == (Result.FAIL, reason)


async def test_h088_fifty_one_sets_are_no_chain_and_cost_no_question() -> None:
    one = by_us(MESSAGE)
    head = one[: one.index(b"From:")]
    many = b"".join(head.replace(b"i=1;", b"i=%d;" % number) for number in range(1, 52))
    dns_ = resolver()
    found = await verify(many + MESSAGE, dns_)
    assert found.result is Result.FAIL
    assert found.reason == "bad-instance"
    assert not dns_.questions


async def test_a_key_that_cannot_be_had_now_is_no_broken_chain() -> None:
    away = FakeResolver(failing=["sel._domainkey.x.test"])
    found = await verify(by_us(MESSAGE), away)
    assert (found.result, found.reason) == (Result.TEMPERROR, "key-unavailable")


async def test_h088_the_last_of_three_seals_alone_makes_no_chain() -> None:
    """The newest set is good, the first one was made up."""
    forged = by_us(MESSAGE).replace(b"mx.one.test; spf", b"mx.two.test; spf")
    found = await verify(by_us(forged))
    assert (found.result, found.reason) == (Result.FAIL, "seal-differs")


async def test_h088_a_chain_vouches_for_no_field_that_was_added_beside_a_signed_one() -> None:
    """It stays whole (RFC 8617 5.2), but what it says of DMARC is not about what people read."""
    once = by_dkimpy(RESULTS + MESSAGE)
    assert (await verify(once)).oldest_dmarc == "pass"
    added = await verify(b"Subject: pay at once\r\n" + once)
    assert (added.result, added.oldest_dmarc) == (Result.PASS, "")


async def test_h078_h088_a_chain_vouches_for_no_text_behind_what_its_signature_covers() -> None:
    message = by_us(MESSAGE)
    cut = head_length(message)
    whole = parse_message_signature(chain(split(message[:cut]))[-1].signature.body)
    size = len(dkim.canonicalization.Relaxed.canonicalize_body(message[cut:]))
    for length, covered in ((None, True), (size, True), (size - 1, False), (0, False)):
        item = replace(whole, length=length)
        verification = DkimVerification(split(message[:cut]), Limits(), also=[(item.relaxed_body, length)])
        verification.feed(message[cut:])
        verification.end_body()
        assert verification.covers(item) is covered, length


def test_the_result_is_told_in_authentication_results() -> None:
    vouched = Authentication(
        Spf(Result.PASS, "mailfrom", "x.test"),
        (),
        Dmarc(Result.NONE, "x.test"),
        Iprev(Result.NONE),
        Arc(Result.FAIL, 2, ("x.test", "bad\r\nname"), "seal-differs"),
    )
    field = results.compose("mx.dept.test", vouched, "192.0.2.1")
    assert b"\tarc=fail (i=2 x.test) reason=seal-differs smtp.remote-ip=192.0.2.1;\r\n" in field
    read = results.parse(field.partition(b":")[2].replace(b"\r\n", b"").strip())
    assert read is not None
    assert ("arc", "fail") in [(claim.method, claim.result) for claim in read.claims]


async def test_the_authenticator_tells_the_chain() -> None:
    message = by_us(MESSAGE)
    cut = head_length(message)
    authenticator = Authenticator(resolver(), ManualClock(at=NOW), Limits(), "mx.dept.test")
    verification = authenticator.begin(split(message[:cut]))
    assert isinstance(verification, Verification)
    verification.feed(message[cut:])
    peer = Peer("192.0.2.1", 25, Listener.MX, "c")
    found = await authenticator.authenticate(peer, parse("a@x.test"), ("x.test",), verification)
    assert found.arc.result is Result.PASS


async def test_h089_slow_keys_of_a_chain_leave_dmarc_its_time_and_its_verdict() -> None:
    """Whoever makes a chain chooses where its keys are, and how long they take: it must not run out the clock."""
    dns_ = resolver()
    dns_.add("_dmarc.x.test", "TXT", "v=DMARC1; p=reject")
    dns_.slow["sel._domainkey.slow.test"] = 30
    message = by_us(MESSAGE, domain="slow.test")
    cut = head_length(message)
    authenticator = Authenticator(dns_, ManualClock(at=NOW), Limits(spf_timeout=0.1), "mx.dept.test")
    verification = authenticator.begin(split(message[:cut]))
    verification.feed(message[cut:])
    who = Peer("192.0.2.9", 25, Listener.MX, "c1", helo="mx.evil.test")
    async with asyncio.timeout(5):
        found = await authenticator.authenticate(who, parse("a@evil.test"), ["x.test"], verification)
    assert (found.arc.result, found.arc.reason) == (Result.TEMPERROR, "timeout")
    assert (found.dmarc.result, found.dmarc.disposition) == (Result.FAIL, "reject")
