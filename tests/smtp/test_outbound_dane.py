"""DANE: which TLSA records count, and which certificate chains they speak of (RFC 6698, RFC 7671, RFC 7672)."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from core.resolver import Tlsa
from smtp.outbound.dane import MAX_RECORDS, mismatch, usable
from smtp.outbound.dane_lookup import TlsaFailed, TlsaFound, lookup
from smtp.outbound.mx import Target
from tests.fakes.resolver import FakeResolver, Zone

NOW = 1_790_000_000.0
NAMES = ("mx.r.test", "r.test")
DAY = datetime.timedelta(days=1)


class Issued:
    """A certificate and its key; `issuer` None signs itself."""

    def __init__(
        self,
        name: str,
        issuer: Issued | None = None,
        *,
        ca: bool = False,
        alternative: Sequence[str] = (),
        age: int = 0,
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.fromtimestamp(NOW, datetime.UTC) - age * DAY
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name if issuer else self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
        )
        if alternative:
            names = x509.SubjectAlternativeName([x509.DNSName(item) for item in alternative])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign((issuer or self).key, hashes.SHA256())
        self.der = certificate.public_bytes(Encoding.DER)
        self.spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


ROOT = Issued("root", ca=True)
MIDDLE = Issued("middle", ROOT, ca=True)
LEAF = Issued("leaf", MIDDLE, alternative=["mx.r.test"])
CHAIN = [LEAF.der, MIDDLE.der, ROOT.der]


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    ("selector", "matching", "data"),
    [
        (0, 0, LEAF.der),
        (0, 1, sha256(LEAF.der)),
        (0, 2, hashlib.sha512(LEAF.der).digest()),
        (1, 0, LEAF.spki),
        (1, 1, sha256(LEAF.spki)),
        (1, 2, hashlib.sha512(LEAF.spki).digest()),
    ],
    ids=["whole", "whole-256", "whole-512", "key", "key-256", "key-512"],
)
def test_h028_usage_3_matches_the_leaf_whatever_its_names_and_dates(selector: int, matching: int, data: bytes) -> None:
    record = Tlsa(3, selector, matching, data)
    assert usable([record]) == (record,)
    assert mismatch([record], [LEAF.der], ("else.test",), NOW + 1e9) == ""
    assert mismatch([record], [MIDDLE.der, LEAF.der], NAMES, NOW) == "validation-failure"


@pytest.mark.parametrize("anchor", [MIDDLE, ROOT], ids=["middle", "root"])
@pytest.mark.parametrize("selector", [0, 1])
def test_usage_2_matches_an_authority_above_the_leaf(anchor: Issued, selector: int) -> None:
    record = Tlsa(2, selector, 1, sha256(anchor.spki if selector else anchor.der))
    assert mismatch([record], CHAIN, NAMES, NOW) == ""
    assert mismatch([record], CHAIN[:1], NAMES, NOW) == "validation-failure", "the server must send its authority"


def test_usage_2_takes_a_whole_certificate_from_the_record() -> None:
    assert mismatch([Tlsa(2, 0, 0, ROOT.der)], CHAIN[:2], NAMES, NOW) == ""


def test_usage_2_takes_a_bare_key_from_the_record() -> None:
    """2 1 0: the authority's certificate need not be sent, whether it signed the leaf or what stands above it."""
    assert mismatch([Tlsa(2, 1, 0, ROOT.spki)], CHAIN[:2], NAMES, NOW) == ""
    assert mismatch([Tlsa(2, 1, 0, MIDDLE.spki)], CHAIN[:1], NAMES, NOW) == ""
    assert mismatch([Tlsa(2, 1, 0, ROOT.spki)], CHAIN, NAMES, NOW) == ""


@pytest.mark.parametrize(
    ("key", "chain", "names", "now"),
    [
        (Issued("root", ca=True).spki, CHAIN[:2], NAMES, NOW),
        (LEAF.spki, CHAIN[:2], NAMES, NOW),
        (ROOT.spki, CHAIN[:1], NAMES, NOW),
        (ROOT.spki, CHAIN[:2], ("else.test",), NOW),
        (ROOT.spki, CHAIN[:2], NAMES, NOW + 40 * 86400),
        (ROOT.spki, [b"no certificate", MIDDLE.der], NAMES, NOW),
        (b"no key", CHAIN[:2], NAMES, NOW),
        (ROOT.spki, [Issued("self", alternative=["mx.r.test"]).der], NAMES, NOW),
    ],
    ids=["same-name", "leaf", "gap", "name", "dates", "garbage", "no-key", "self-signed"],
)
def test_a_bare_key_needs_a_valid_path_like_any_anchor(
    key: bytes, chain: list[bytes], names: tuple[str, ...], now: float
) -> None:
    assert mismatch([Tlsa(2, 1, 0, key)], chain, names, now) == "validation-failure"


OTHER = Issued("other", ca=True)
PLAIN = Issued("plain", ROOT)  # no authority


@pytest.mark.parametrize(
    ("chain", "names", "now"),
    [
        (CHAIN, ("else.test",), NOW),
        (CHAIN, NAMES, NOW + 40 * 86400),
        ([Issued("leaf", OTHER, alternative=["mx.r.test"]).der, MIDDLE.der, ROOT.der], NAMES, NOW),
        ([Issued("leaf", PLAIN, alternative=["mx.r.test"]).der, PLAIN.der, ROOT.der], NAMES, NOW),
        ([Issued("leaf", ROOT).der, ROOT.der], NAMES, NOW),
        ([b"no certificate", ROOT.der], NAMES, NOW),
        ([], NAMES, NOW),
    ],
    ids=["name", "dates", "signature", "not-an-authority", "no-name", "garbage", "nothing"],
)
def test_usage_2_needs_a_valid_path_for_the_name(chain: list[bytes], names: tuple[str, ...], now: float) -> None:
    records = [Tlsa(2, 0, 1, sha256(ROOT.der))]
    assert mismatch(records, chain, names, now) == "validation-failure"


def test_the_recipients_domain_and_wildcards_are_names_too() -> None:
    """RFC 7672 3.2.2"""
    records = [Tlsa(2, 0, 1, sha256(ROOT.der))]
    for name in ("r.test", "*.r.test"):
        assert mismatch(records, [Issued("leaf", ROOT, alternative=[name]).der, ROOT.der], NAMES, NOW) == ""


@pytest.mark.parametrize(
    "record",
    [
        Tlsa(0, 0, 1, bytes(32)),
        Tlsa(1, 1, 1, bytes(32)),
        Tlsa(4, 1, 1, bytes(32)),
        Tlsa(3, 2, 1, bytes(32)),
        Tlsa(3, 1, 3, bytes(32)),
        Tlsa(3, 1, 1, bytes(31)),
        Tlsa(3, 1, 0, b""),
    ],
)
def test_what_smtp_cannot_use(record: Tlsa) -> None:
    assert usable([record]) == ()


def test_the_strongest_digest_of_one_part_counts_and_a_flood_is_cut() -> None:
    weak, strong, whole = Tlsa(3, 1, 1, bytes(32)), Tlsa(3, 1, 2, bytes(64)), Tlsa(3, 1, 0, b"x")
    other = Tlsa(2, 1, 1, bytes(32))
    assert usable([weak, strong, whole, other]) == (strong, whole, other)
    assert len(usable([Tlsa(3, 1, 1, number.to_bytes(32)) for number in range(100)])) == MAX_RECORDS


# --- which records --------------------------------------------------------------------------------------------------

RECORD = Tlsa(3, 1, 1, bytes(32))


def target(**facts: Any) -> Target:
    return Target("mx.r.test", "192.0.2.1", 25, **facts)


async def test_records_of_a_validated_host_count() -> None:
    resolver = FakeResolver({"_25._tcp.mx.r.test": {"TLSA": [RECORD]}}, secure=["_25._tcp.mx.r.test"])
    assert await lookup(resolver, target(secure=True, named=True)) == TlsaFound("mx.r.test", (RECORD,))
    assert await lookup(resolver, target()) is None, "the MX answer was not validated"
    assert await lookup(resolver, target(named=True)) is None, "the address was not validated"


async def test_records_that_were_not_validated_do_not_count() -> None:
    resolver = FakeResolver({"_25._tcp.mx.r.test": {"TLSA": [RECORD]}})
    assert await lookup(resolver, target(secure=True, named=True)) is None


async def test_h028_a_question_that_fails_makes_the_target_unusable() -> None:
    """RFC 7672 2.1.2: an attacker who only blocks the TLSA question must not win clear text."""
    resolver = FakeResolver(failing=["_25._tcp.mx.r.test"])
    assert await lookup(resolver, target(secure=True, named=True)) == TlsaFailed("mx.r.test")


async def test_the_end_of_validated_aliases_comes_first_then_the_name_itself() -> None:
    aliased = target(secure=True, named=True, canonical="host.else.test")
    ends = {"_25._tcp.host.else.test": {"TLSA": [RECORD]}, "_25._tcp.mx.r.test": {"TLSA": [RECORD]}}
    found = await lookup(FakeResolver(ends, secure=list(ends)), aliased)
    assert found == TlsaFound("host.else.test", (RECORD,))
    own = {"_25._tcp.mx.r.test": {"TLSA": [RECORD]}}
    assert await lookup(FakeResolver(own, secure=list(own)), aliased) == TlsaFound("mx.r.test", (RECORD,))


async def test_an_alias_out_of_the_signed_world_keeps_its_own_records() -> None:
    zone: Zone = {"mx.r.test": {"CNAME": ["host.plain.test"]}, "_25._tcp.mx.r.test": {"TLSA": [RECORD]}}
    aliased = target(named=True, canonical="host.plain.test")
    resolver = FakeResolver(zone, secure=["mx.r.test", "_25._tcp.mx.r.test"])
    assert await lookup(resolver, aliased) == TlsaFound("mx.r.test", (RECORD,))
    assert await lookup(FakeResolver(zone), aliased) is None
    assert await lookup(FakeResolver(zone, secure=["_25._tcp.mx.r.test"]), aliased) is None, (
        "the alias may be anybody's"
    )
    assert await lookup(FakeResolver(failing=["mx.r.test"]), aliased) == TlsaFailed("mx.r.test")


async def test_rfc7672_2_2_1_a_name_that_nobody_vouched_for_has_no_records_whoever_signed_them() -> None:
    """The MX records were not signed: an attacker may have written a name of his own, with records that fit."""
    zone: Zone = {"mx.r.test": {"CNAME": ["host.plain.test"]}, "_25._tcp.mx.r.test": {"TLSA": [RECORD]}}
    resolver = FakeResolver(zone, secure=["mx.r.test", "_25._tcp.mx.r.test"])
    assert await lookup(resolver, target(named=False, canonical="host.plain.test")) is None


def test_h028_a_key_is_rolled_over_without_a_message_lost() -> None:
    """RFC 7671 8.1: both keys are published before the server shows the new one, the old one goes afterwards. Who still
    has the old records when the new key stands alone waits."""
    new = Issued("leaf", MIDDLE, alternative=["mx.r.test"])
    before, after = [Tlsa(3, 1, 1, sha256(LEAF.spki))], [Tlsa(3, 1, 1, sha256(new.spki))]
    for records, shown in ((before, LEAF), (before + after, LEAF), (before + after, new), (after, new)):
        assert mismatch(records, [shown.der, MIDDLE.der], NAMES, NOW) == ""
    assert mismatch(before, [new.der, MIDDLE.der], NAMES, NOW)
