"""Precedence: DANE over MTA-STS over opportunism, REQUIRETLS over all, and what the reports hear of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from core.clock import ManualClock
from core.resolver import Answer, Tlsa
from core.status import Status
from delivery.next_hop import parse_route
from smtp.outbound.dialogue import Encryption
from smtp.outbound.mx import MxResolver, Target
from smtp.outbound.sts import read_policy
from smtp.outbound.sts_source import StsState
from smtp.outbound.tls_policies import Policies
from smtp.outbound.tls_policy import Opportunistic, TlsPolicy
from smtp.outbound.tls_results import PolicyKind, Session
from tests.fakes.resolver import FakeResolver, Zone
from tests.fakes.scripted_smtp import job

TLSA = "_25._tcp.mx.r.test"
GOOD = Tlsa(3, 1, 1, bytes(32))
SECURE = Target("mx.r.test", "192.0.2.1", 25, secure=True, named=True)
PLAIN = Target("mx.r.test", "192.0.2.1", 25)


class Sts:
    def __init__(self, mode: str = "", mx: str = "mx.r.test", fault: str = "") -> None:
        text = f"version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400"
        self.found = StsState(read_policy("r.test", text.encode(), "1", 0.0) if mode else None, fault)

    async def state(self, domain: str) -> StsState:
        assert domain == "r.test"
        return self.found

    async def close(self) -> None:
        pass


class Heard:
    def __init__(self) -> None:
        self.sessions: list[Session] = []

    def note(self, session: Session) -> None:
        self.sessions.append(session)


BASIS = Opportunistic()


async def decide(
    target: Target,
    *,
    tlsa: Sequence[Tlsa] = (),
    sts: Sts | None = None,
    failing: Sequence[str] = (),
    static: bool = False,
    **of_job: Any,
) -> tuple[TlsPolicy | Status, list[str]]:
    zone: Mapping[str, Any] = {TLSA: {"TLSA": list(tlsa)}} if tlsa else {}
    heard = Heard()
    resolver = FakeResolver(zone, secure=[TLSA], failing=failing)
    policies = Policies(resolver, sts or Sts(), BASIS, heard, ManualClock())  # type: ignore[arg-type]  # fakes: only what is asked
    work = job("r.test", "a@r.test", static=static, **of_job)
    return await policies.policy(work, target), [session.failure for session in heard.sessions]


def facts(policy: TlsPolicy | Status) -> tuple[Encryption, str, bool, bool]:
    assert isinstance(policy, TlsPolicy)
    return policy.encryption, policy.label.partition(":")[0], policy.fallback is not None, policy.judge is not None


async def test_nothing_found_is_opportunistic() -> None:
    policy, heard = await decide(PLAIN)
    assert facts(policy) == (Encryption.OFFERED, "opportunistic", True, False)
    assert isinstance(policy, TlsPolicy)
    assert policy.applied
    assert policy.applied.kind is PolicyKind.NONE
    assert heard == []


@pytest.mark.parametrize("mode", ["", "testing", "enforce"])
async def test_h028_dane_stands_over_mta_sts_and_falls_back_to_nothing(mode: str) -> None:
    """RFC 8461 2: a policy of MTA-STS never overrides a failing DANE."""
    policy, heard = await decide(SECURE, tlsa=[GOOD], sts=Sts(mode, mx="else.test"))
    assert facts(policy) == (Encryption.REQUIRED, "dane", False, True)
    assert heard == []


@pytest.mark.parametrize("record", [GOOD, Tlsa(1, 1, 1, bytes(32))])
async def test_rfc7672_8_1_the_name_in_the_handshake_is_that_of_the_records(record: Tlsa) -> None:
    """A server with several certificates shows the one for the name that it is asked by: the end of its aliases."""
    aliased = Target("alias.r.test", "192.0.2.1", 25, secure=True, named=True, canonical="mx.r.test")
    policy, _ = await decide(aliased, tlsa=[record])
    assert isinstance(policy, TlsPolicy)
    assert policy.name == "mx.r.test"


async def test_unusable_records_still_demand_tls() -> None:
    policy, heard = await decide(SECURE, tlsa=[Tlsa(1, 1, 1, bytes(32))], sts=Sts("enforce"))
    assert facts(policy) == (Encryption.REQUIRED, "dane-unusable", False, False)
    assert heard == ["tlsa-invalid"]


async def test_h028_a_tlsa_question_that_fails_closes_the_target() -> None:
    policy, heard = await decide(SECURE, failing=[TLSA])
    assert isinstance(policy, Status)
    assert (policy.temporary, policy.reason, heard) == (True, "tlsa-unknown", ["dnssec-invalid"])


async def test_h026_enforce_is_verified_without_a_way_back() -> None:
    policy, _ = await decide(PLAIN, sts=Sts("enforce"))
    assert facts(policy) == (Encryption.REQUIRED, "sts", False, False)
    assert isinstance(policy, TlsPolicy)
    assert policy.context is BASIS.verified


async def test_testing_tries_and_lets_go() -> None:
    policy, _ = await decide(PLAIN, sts=Sts("testing"))
    assert facts(policy) == (Encryption.REQUIRED, "sts-testing", True, False)
    assert isinstance(policy, TlsPolicy)
    assert policy.fallback
    assert policy.fallback.label == "opportunistic"


@pytest.mark.parametrize(("mode", "label"), [("enforce", "sts-mx-not-allowed"), ("testing", "opportunistic")])
async def test_a_server_the_policy_does_not_name(mode: str, label: str) -> None:
    policy, heard = await decide(PLAIN, sts=Sts(mode, mx="else.test"))
    assert (policy.reason if isinstance(policy, Status) else policy.label) == label
    assert heard == ["validation-failure"]


async def test_a_policy_that_cannot_be_had_is_told() -> None:
    policy, heard = await decide(PLAIN, sts=Sts(fault="sts-webpki-invalid"))
    assert facts(policy)[1] == "opportunistic"
    assert heard == ["sts-webpki-invalid"]


@pytest.mark.parametrize(
    ("target", "sts", "label"),
    [
        (PLAIN, Sts(), "requiretls-unnamed"),
        (SECURE, Sts(), "verified"),
        (dataclasses.replace(PLAIN, named=True), Sts(), "verified"),
        (PLAIN, Sts("testing"), "sts"),
        (PLAIN, Sts("enforce"), "sts"),
        (PLAIN, Sts("testing", mx="else.test"), "requiretls-unnamed"),
    ],
)
async def test_requiretls_is_verified_against_an_authentic_name(target: Target, sts: Sts, label: str) -> None:
    """RFC 8689 4.2.1"""
    policy, _ = await decide(target, sts=sts, require_tls=True)
    assert (policy.reason if isinstance(policy, Status) else policy.label) == label
    if isinstance(policy, TlsPolicy):
        assert (policy.encryption, policy.context) == (Encryption.REQUIRED, BASIS.verified)


async def test_requiretls_with_dane_is_judged_by_dane() -> None:
    policy, _ = await decide(SECURE, tlsa=[GOOD], require_tls=True)
    assert facts(policy)[1] == "dane"
    policy, _ = await decide(SECURE, tlsa=[Tlsa(0, 1, 1, bytes(32))], require_tls=True)
    assert facts(policy)[1] == "verified"


@pytest.mark.parametrize("field", [b"TLS-Required: No\r\n", b"tls-required:\r\n no\r\n"])
async def test_a_sender_may_waive_what_policies_ask(field: bytes) -> None:
    """RFC 8689 3; but REQUIRETLS in the envelope stands over the field."""
    content = field + b"Subject: x\r\n\r\nbody\r\n"
    policy, _ = await decide(SECURE, tlsa=[GOOD], sts=Sts("enforce"), content=content)
    assert facts(policy)[1] == "opportunistic"
    assert isinstance(policy, TlsPolicy)
    assert policy.applied is None, "and its session stands in no report (RFC 8460 3)"
    policy, _ = await decide(SECURE, tlsa=[GOOD], content=content, require_tls=True)
    assert facts(policy)[1] == "dane"


@pytest.mark.parametrize("field", [b"TLS-Required: yes\r\n", b"TLS-Required:\r\n", b"X-TLS-Required: No\r\n"])
async def test_nothing_but_no_waives_it(field: bytes) -> None:
    policy, _ = await decide(SECURE, tlsa=[GOOD], content=field + b"Subject: x\r\n\r\nbody\r\n")
    assert facts(policy)[1] == "dane"


async def test_a_route_of_the_operators_is_asked_for_no_policy_of_the_recipients_domain() -> None:
    """RFC 8461 speaks of the MX of a domain; where its mail goes otherwise, who wrote the route answers for it."""
    policy, heard = await decide(PLAIN, sts=Sts("enforce", mx="else.test"), static=True)
    assert (facts(policy)[1], heard) == ("opportunistic", [])


@pytest.mark.parametrize("tls", ["none", "may", "encrypt", "verify"])
async def test_requiretls_is_verified_on_any_route(tls: str) -> None:
    target = dataclasses.replace(PLAIN, route=parse_route(f"smtp://mx.r.test:25?tls={tls}"))
    policy, _ = await decide(target, static=True, require_tls=True)
    assert facts(policy) == (Encryption.REQUIRED, "verified", False, False)
    assert isinstance(policy, TlsPolicy)
    assert policy.context is BASIS.verified


async def test_who_makes_one_address_question_of_a_signed_zone_fail_switches_nothing_off() -> None:
    zone: Zone = {"r.test": {"MX": [(10, "mx.r.test")]}, "mx.r.test": {"A": ["192.0.2.1"]}}

    class Blocked(FakeResolver):
        async def aaaa(self, name: str) -> Answer[str]:
            self.failing.add(name)
            try:
                return await super().aaaa(name)
            finally:
                self.failing.discard(name)

    resolver = Blocked(zone, secure=list(zone))
    mx = MxResolver(resolver, port=25, ours=lambda a, p: False, allow_private=True, shuffle=lambda r: None)
    assert isinstance(await mx.targets("r.test"), Status)
    mx = MxResolver(Blocked(zone), port=25, ours=lambda a, p: False, allow_private=True, shuffle=lambda r: None)
    assert isinstance(await mx.targets("r.test"), list), "an unsigned zone is taken as it comes"
