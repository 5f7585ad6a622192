"""RFC 9989: records, tree walk, policy discovery, alignment, and security.md rows 78, 85, 86, 89."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from antispam.authentication import dmarc
from antispam.authentication.dmarc import evaluate, select_organisation, tree
from antispam.authentication.dmarc_record import DmarcRecord, Policy, Psd, choose, parse_record
from antispam.types import Dkim, Dmarc, Result, Spf
from core.config import Limits
from tests.fakes.resolver import FakeResolver

NO_SPF = Spf(Result.NONE, "mailfrom", "")


def zone(**records: str) -> FakeResolver:
    """`example_com="p=none"` is _dmarc.example.com; the names themselves exist."""
    fake = FakeResolver()
    for name, record in records.items():
        domain = name.replace("_", ".")
        fake.add(f"_dmarc.{domain}", "TXT", f"v=DMARC1; {record}")
        fake.add(domain, "A", "192.0.2.1")
    return fake


def spf(domain: str, result: Result = Result.PASS) -> Spf:
    return Spf(result, "mailfrom", domain)


def signed(domain: str, result: Result = Result.PASS, *, weak: bool = False) -> Dkim:
    return Dkim(result, domain, "s", weak=weak)


async def judge(dns: FakeResolver, *domains: str, by: Spf = NO_SPF, dkim: Sequence[Dkim] = (), **options: Any) -> Dmarc:
    return await evaluate(domains, by, dkim, dns, **options)


# --- records ------------------------------------------------------------------------------------------------------


def test_a_record_with_every_tag() -> None:
    text = (
        "v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; aspf=s; t=y; psd=n; rua=mailto:a@x.test!10m; pct=0; x=1"
    )
    assert choose([text.encode()]) == DmarcRecord(
        Policy.REJECT, Policy.QUARANTINE, Policy.NONE, True, True, True, Psd.NO, ("mailto:a@x.test",)
    )


@pytest.mark.parametrize(
    "text",
    [
        "v=DMARC1",
        "v=DMARC1;",
        "v = DMARC1 ; p=none",
        "v=DMARC1; p=NONE",
        "v=DMARC1;p=none;;junk;=;x",
        "v=DMARC1; adkim=x",
    ],
)
def test_what_is_wrong_in_an_optional_tag_is_ignored(text: str) -> None:
    assert choose([text.encode()]) == DmarcRecord(Policy.NONE)


@pytest.mark.parametrize(
    "text", ["v=dmarc1; p=none", "v=DMARC2; p=none", "p=none; v=DMARC1", "v=DMARC1 p=none", "", " v=DMARC1"]
)
def test_what_is_no_dmarc_record(text: str) -> None:
    assert choose([text.encode()]) is None


def test_several_records_count_as_none() -> None:
    assert choose([b"v=DMARC1; p=reject", b"v=DMARC1; p=none"]) is None
    assert choose([b"v=spf1 -all", b"v=DMARC1; p=reject"]) == DmarcRecord(Policy.REJECT)
    assert choose([b"v=DMARC1; p=\xff"]) is None


def test_a_bad_policy_is_none_with_reports_and_no_record_without() -> None:
    assert parse_record("v=DMARC1; p=bogus") is None
    assert parse_record("v=DMARC1; p=reject; sp=bogus") is None
    with_reports = parse_record("v=DMARC1; p=reject; sp=bogus; rua=mailto:a@x.test")
    assert with_reports is not None
    assert (with_reports.policy, with_reports.sp) == (Policy.NONE, None)


# --- tree walk ----------------------------------------------------------------------------------------------------


def test_the_walk_of_rfc_9989_4_10_asks_eight_names() -> None:
    assert tree("a.b.c.d.e.f.g.h.i.j.mail.example.com") == [
        "a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com", "h.i.j.mail.example.com",
        "i.j.mail.example.com", "j.mail.example.com", "mail.example.com", "example.com", "com",
    ]  # fmt: skip
    assert tree("a.b.c.d.e.f.g.com")[1] == "b.c.d.e.f.g.com"
    assert tree("com") == ["com"]


@pytest.mark.parametrize(
    ("domain", "found", "organisation"),
    [
        ("a.mail.example.com", [("mail.example.com", Psd.UNKNOWN), ("example.com", Psd.UNKNOWN)], "example.com"),
        ("a.mail.example.com", [("mail.example.com", Psd.NO)], "mail.example.com"),
        ("a.mail.example.com", [("com", Psd.YES)], "example.com"),
        ("mail.example.com", [("example.com", Psd.YES)], "mail.example.com"),
        ("example.com", [("example.com", Psd.YES)], "example.com"),
        ("a.example.com", [], "a.example.com"),
    ],
)
def test_organisational_domains_of_rfc_9989_4_10_2(
    domain: str, found: list[tuple[str, Psd]], organisation: str
) -> None:
    assert select_organisation(domain, [(n, DmarcRecord(Policy.NONE, psd=p)) for n, p in found]) == organisation


# --- evaluation ---------------------------------------------------------------------------------------------------


async def test_no_record_means_no_result() -> None:
    assert (await judge(FakeResolver(), "x.test")).result is Result.NONE


async def test_aligned_spf_or_dkim_pass() -> None:
    dns = zone(x_test="p=reject")
    for evidence in ({"by": spf("x.test")}, {"by": spf("bounce.x.test")}, {"dkim": [signed("x.test")]},
                     {"dkim": [signed("evil.test"), signed("mail.x.test")]}):  # fmt: skip
        verdict = await judge(dns, "x.test", **evidence)
        assert (verdict.result, verdict.disposition, verdict.policy) == (Result.PASS, "none", "reject")


async def test_others_domains_do_not_vouch() -> None:
    verdict = await judge(
        zone(x_test="p=reject", evil_test="p=none"), "x.test", by=spf("evil.test"), dkim=[signed("test")]
    )
    assert (verdict.result, verdict.disposition) == (Result.FAIL, "reject")
    assert verdict.organisation == "x.test"


async def test_strict_alignment_wants_the_very_name() -> None:
    dns = zone(x_test="p=reject; adkim=s; aspf=s")
    assert (await judge(dns, "x.test", by=spf("m.x.test"), dkim=[signed("m.x.test")])).result is Result.FAIL
    assert (await judge(dns, "x.test", dkim=[signed("X.test")])).result is Result.PASS


async def test_subdomains_follow_sp_then_p() -> None:
    dns = zone(x_test="p=reject; sp=quarantine")
    dns.add("sub.x.test", "A", "192.0.2.1")
    assert (await judge(dns, "sub.x.test")).disposition == "quarantine"
    dns = zone(x_test="p=reject")
    assert (await judge(dns, "deep.sub.x.test")).disposition == "reject"
    own = zone(x_test="p=reject; sp=reject", sub_x_test="p=none; sp=reject")
    assert (await judge(own, "sub.x.test")).disposition == "none"


async def test_h086_np_is_for_names_that_do_not_exist() -> None:
    dns = zone(x_test="p=none; sp=none; np=reject")
    dns.add("here.x.test", "MX", (10, "m.test"))
    assert (await judge(dns, "nowhere.x.test")).disposition == "reject"
    assert (await judge(dns, "here.x.test")).disposition == "none"
    assert (await judge(zone(x_test="p=none; sp=quarantine"), "nowhere.x.test")).disposition == "quarantine"


async def test_h086_test_mode_lowers_by_one_level() -> None:
    for policy, wish in (("reject", "quarantine"), ("quarantine", "none"), ("none", "none")):
        verdict = await judge(zone(x_test=f"p={policy}; t=y"), "x.test")
        assert (verdict.policy, verdict.disposition) == (policy, wish)


async def test_h086_missing_p_is_none_and_pct_counts_for_nothing() -> None:
    assert (await judge(zone(x_test="rua=mailto:a@x.test"), "x.test")).policy == "none"
    assert (await judge(zone(x_test="p=reject; pct=0"), "x.test")).disposition == "reject"


async def test_a_public_suffix_policy_serves_domains_without_one() -> None:
    dns = zone(gouv_test="p=none; sp=quarantine; np=reject; psd=y")
    dns.add("mairie.gouv.test", "A", "192.0.2.1")
    assert (await judge(dns, "mairie.gouv.test")).disposition == "quarantine"
    assert (await judge(dns, "faux.gouv.test")).disposition == "reject"
    other = await judge(dns, "mairie.gouv.test", dkim=[signed("voisin.gouv.test")])
    assert other.result is Result.FAIL, "two communes under one public suffix are not one organisation"
    assert (await judge(dns, "mairie.gouv.test", dkim=[signed("mail.mairie.gouv.test")])).result is Result.PASS


async def test_h078_weak_signatures_do_not_vouch() -> None:
    assert (await judge(zone(x_test="p=reject"), "x.test", dkim=[signed("x.test", weak=True)])).result is Result.FAIL


async def test_h085_of_several_from_domains_the_strictest_stands() -> None:
    dns = zone(good_test="p=none", bank_test="p=reject")
    verdict = await judge(dns, "good.test", "bank.test", dkim=[signed("good.test")])
    assert (verdict.domain, verdict.result, verdict.disposition) == ("bank.test", Result.FAIL, "reject")
    assert (await judge(dns)).reason == "no-from-domain"
    many = await judge(dns, *(f"d{n}.test" for n in range(11)))
    assert (many.result, many.disposition) == (Result.PERMERROR, "reject")
    assert not any(name.startswith("_dmarc.d") for _, name in dns.questions)


async def test_h089_dns_faults_are_temporary_unless_something_passes() -> None:
    dns = zone(x_test="p=reject")
    dns.failing.add("_dmarc.x.test")
    assert (await judge(dns, "x.test", by=spf("x.test"))).result is Result.TEMPERROR
    dns = zone(x_test="p=reject")
    doubt = await judge(dns, "x.test", dkim=[signed("x.test", Result.TEMPERROR)])
    assert (doubt.result, doubt.policy, doubt.disposition) == (Result.TEMPERROR, "reject", "none")
    assert (
        await judge(dns, "x.test", by=spf("x.test"), dkim=[signed("x.test", Result.TEMPERROR)])
    ).result is Result.PASS
    assert (await judge(dns, "x.test", dkim=[signed("evil.test", Result.TEMPERROR)])).result is Result.FAIL
    dns.failing.add("_dmarc.m.x.test")
    assert (await judge(dns, "x.test", by=spf("m.x.test"))).result is Result.TEMPERROR


async def test_h089_a_slow_dns_is_a_temporary_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    dns = FakeResolver(slow={"_dmarc.x.test": 5})
    assert (await judge(dns, "x.test", timeout=0.05)).reason == "timeout"
    assert dmarc.TIMEOUT < 30


async def test_h089_a_strangers_slow_or_failing_dns_does_not_soften_the_verdict() -> None:
    """A signature of the forger's own, under a domain whose _dmarc never answers, turned reject into "unknown"."""
    dns = zone(bank_test="p=reject")
    dns.failing.add("_dmarc.evil.test")
    dns.slow["_dmarc.slow.test"] = 5
    for forger in ("evil.test", "slow.test"):
        found = await judge(dns, "bank.test", by=spf(forger), dkim=[signed(forger)], timeout=0.2)
        assert (found.result, found.disposition) == (Result.FAIL, "reject"), forger


async def test_h085_a_slow_second_author_does_not_hide_the_first() -> None:
    dns = zone(bank_test="p=reject")
    dns.slow["_dmarc.slow.test"] = 5
    for authors in (("slow.test", "bank.test"), ("bank.test", "slow.test")):
        found = await judge(dns, *authors, timeout=0.2)
        assert (found.result, found.domain, found.disposition) == (Result.FAIL, "bank.test", "reject")


async def test_h085_an_open_question_about_an_enforcing_domain_outranks_a_harmless_failure() -> None:
    dns = zone(bank_test="p=reject", none_test="p=none")
    found = await judge(dns, "none.test", "bank.test", by=spf("bank.test", Result.TEMPERROR))
    assert (found.result, found.domain, found.policy) == (Result.TEMPERROR, "bank.test", "reject")


def test_all_evidence_has_time_for_dmarc_after_the_slowest_spf_and_before_its_explanation() -> None:
    limits = Limits()
    assert limits.spf_timeout + dmarc.TIMEOUT + limits.explanation_timeout < limits.evidence_timeout


async def test_shared_parents_are_asked_once() -> None:
    dns = zone(x_test="p=reject")
    await judge(dns, "a.x.test", by=spf("b.x.test"), dkim=[signed("c.x.test"), signed("d.x.test")])
    assert dns.questions["TXT", "_dmarc.x.test"] == 1
    await asyncio.sleep(0)
