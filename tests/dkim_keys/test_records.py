"""The records to publish and their comparison with what the DNS shows."""

from __future__ import annotations

import re

import dkim
import dns.rdata
import dns.zone
import pytest

from directory.types import DkimKey, KeyState
from dkim_keys.check import Status, check_domain
from dkim_keys.records import DnsRecord, Kind, dkim_records, domain_records, quoted
from message import taglist
from tests.dkim_keys.keys import pair
from tests.fakes.resolver import FakeResolver


def key(algorithm: str = "rsa", state: KeyState = KeyState.ACTIVE) -> DkimKey:
    return DkimKey("k", "x.test", f"s{algorithm}", algorithm, state, pair(algorithm).public_key, b"", 0)


RECORDS = domain_records("x.test", "mx.dept.test", [key(), key("ed25519")])


def test_a_domain_publishes_mx_spf_dkim_and_dmarc() -> None:
    assert [(r.name, r.type, r.kind) for r in RECORDS] == [
        ("x.test", "MX", Kind.MX),
        ("x.test", "TXT", Kind.SPF),
        ("srsa._domainkey.x.test", "TXT", Kind.DKIM),
        ("sed25519._domainkey.x.test", "TXT", Kind.DKIM),
        ("_dmarc.x.test", "TXT", Kind.DMARC),
    ]
    assert RECORDS[0].value == "10 mx.dept.test."
    assert RECORDS[1].value == "v=spf1 mx -all"
    assert RECORDS[4].value == "v=DMARC1; p=quarantine"
    assert all(record.purpose for record in RECORDS)


@pytest.mark.parametrize("algorithm", ["rsa", "ed25519"])
def test_rfc6376_3_6_1_a_key_is_for_mail_and_for_reports_because_it_names_no_service(algorithm: str) -> None:
    """`s=tlsrpt` (RFC 8460 3) alone would be no key for mail, and dkimpy reads no list of services: mail would fail."""
    [record] = dkim_records([key(algorithm)])
    public, _, kind, for_reports_alone = dkim.evaluate_pk(record.name.encode(), record.value.encode())
    assert public is not None
    assert (kind, for_reports_alone) == (algorithm.encode(), False)
    assert "s" not in taglist.parse(record.value.encode())


def test_zone_lines_are_read_back_by_a_dns_library() -> None:
    zone_text = "$ORIGIN test.\n@ 60 IN SOA a. b. 1 1 1 1 1\n@ 60 IN NS a.\n" + "\n".join(
        r.zone_line() for r in RECORDS
    )
    zone = dns.zone.from_text(zone_text, "test.", relativize=False)
    for record in RECORDS:
        rdatas = list(zone.find_rdataset(record.name + ".", record.type))
        texts = [b"".join(rd.strings).decode() if record.type == "TXT" else rd.to_text() for rd in rdatas]
        assert record.value in texts


def test_strings_are_split_at_255_and_escaped() -> None:
    strings = re.findall(r'"([^"]*)"', RECORDS[2].zone_line())
    assert [len(item) for item in strings] == [255, len(RECORDS[2].value) - 255]
    assert quoted('a"b\\') == '"a\\"b\\\\"'
    assert quoted("") == '""'
    assert len(re.findall('"', quoted("x" * 511))) == 6


def published(*records: DnsRecord, **changes: list[object]) -> FakeResolver:
    fake = FakeResolver()
    for record in records:
        if record.type == "MX":
            fake.add(record.name, "MX", (10, record.value.split()[1].rstrip(".")))
        else:
            fake.add(record.name, "TXT", record.value)
    for name, values in changes.items():
        kind, _, domain = name.partition("_at_")
        fake.zone.setdefault(domain.replace("__", "."), {})[kind.upper()] = values
    return fake


async def statuses(fake: FakeResolver) -> list[Status]:
    return [item.status for item in await check_domain(fake, RECORDS)]


async def test_published_as_asked_is_correct() -> None:
    checks = await check_domain(published(*RECORDS), RECORDS)
    assert {item.status for item in checks} == {Status.CORRECT}
    assert all(item.good for item in checks)
    assert checks[0].observed == ("10 mx.dept.test.",)


async def test_nothing_published_is_missing_and_dns_away_unknown() -> None:
    assert set(await statuses(FakeResolver())) == {Status.MISSING}
    away = FakeResolver(failing=[record.name for record in RECORDS])
    assert set(await statuses(away)) == {Status.UNKNOWN}


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([(10, "mx.dept.test")], Status.CORRECT),
        ([(50, "mx.dept.test")], Status.CORRECT),
        ([(10, "other.test")], Status.INCORRECT),
        ([(10, "mx.dept.test"), (20, "other.test")], Status.INCORRECT),
        ([(10, "mx.dept.test"), (20, "mx.dept.test")], Status.DUPLICATE),
        ([(0, "")], Status.INCORRECT),
    ],
)
async def test_an_mx_record_is_judged(values: list[tuple[int, str]], status: Status) -> None:
    assert (await statuses(FakeResolver({"x.test": {"MX": values}})))[0] is status


@pytest.mark.parametrize(
    ("index", "name", "values", "status"),
    [
        (1, "x.test", ["v=spf1 mx -all"], Status.CORRECT),
        (1, "x.test", ["google-site=1", "v=spf1 a:old.test +mx include:p.test ~all"], Status.CORRECT),
        (1, "x.test", ["v=spf1 mx +all"], Status.INSECURE),
        (1, "x.test", ["v=spf1 mx"], Status.INSECURE),
        (1, "x.test", ["v=spf1 a -all"], Status.INCORRECT),
        (1, "x.test", ["v=spf1 mx -all", "v=spf1 a -all"], Status.DUPLICATE),
        (1, "x.test", ["v=spf10 mx -all"], Status.MISSING),
        (2, "srsa._domainkey.x.test", ["k=rsa; p=" + pair("rsa").public_key], Status.CORRECT),
        (2, "srsa._domainkey.x.test", ["v=DKIM1; p=" + pair("rsa").public_key], Status.CORRECT),
        (2, "srsa._domainkey.x.test", ["v=DKIM1; t=y; p=" + pair("rsa").public_key], Status.INSECURE),
        (2, "srsa._domainkey.x.test", ["v=DKIM1; p=" + pair("rsa").public_key[:255]], Status.INCORRECT),
        (2, "srsa._domainkey.x.test", ["v=DKIM1; p="], Status.INCORRECT),
        (2, "srsa._domainkey.x.test", ["nonsense"], Status.INCORRECT),
        (2, "srsa._domainkey.x.test", ["a", "b"], Status.DUPLICATE),
        (3, "sed25519._domainkey.x.test", ["p=" + pair("ed25519").public_key], Status.INCORRECT),
        (4, "_dmarc.x.test", ["v=DMARC1; p=reject; rua=mailto:a@x.test"], Status.CORRECT),
        (4, "_dmarc.x.test", ["v=DMARC1; p=none"], Status.INSECURE),
        (4, "_dmarc.x.test", ["v=DMARC1; p=reject; t=y"], Status.INSECURE),
        (4, "_dmarc.x.test", ["v=DMARC1; p=maybe"], Status.INCORRECT),
        (4, "_dmarc.x.test", ["v=DMARC1; p=none", "v=DMARC1; p=none"], Status.DUPLICATE),
        (4, "_dmarc.x.test", ["hello"], Status.MISSING),
    ],
)
async def test_a_text_record_is_judged(index: int, name: str, values: list[str], status: Status) -> None:
    assert (await statuses(FakeResolver({name: {"TXT": values}})))[index] is status


async def test_p9_what_strangers_publish_is_shown_printable() -> None:
    fake = FakeResolver({"x.test": {"TXT": [b"v=spf1 \x1b[31m\r\nX: \xff" + b"a" * 5000]}})
    (observed,) = (await check_domain(fake, RECORDS[1:2]))[0].observed
    assert observed.isprintable()
    assert len(observed) <= 500


async def test_a_retired_key_may_be_gone() -> None:
    records = dkim_records([key(state=KeyState.RETIRED)])
    check = (await check_domain(FakeResolver(), records))[0]
    assert (check.status, check.good) == (Status.MISSING, True)
    assert "14 jours" in records[0].purpose
