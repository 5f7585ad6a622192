"""DANE for SMTP, decided: does a server's certificate chain match the TLSA records of its name? Pure.

RFC 6698 2.1 (fields), RFC 7671 5 (usages), RFC 7672 3.1 (usages 2 and 3 only), 3.2.2, 3.2.3 (names and dates). Knows no
DNS and no connection: `dane_lookup` says which records count, `connection` brings the chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509 import verification
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store

from core.resolver import Tlsa

TRUST_ANCHOR, END_ENTITY = 2, 3
MAX_CHAIN = 10  # certificates of a peer that are looked at
MAX_RECORDS = 20  # TLSA records tried: each may cost a path search

# RFC 6698 2.1.3: matching type > what the association data is of the selected part.
_MATCHING: Mapping[int, Callable[[bytes], bytes]] = {
    0: lambda data: data,
    1: lambda data: hashlib.sha256(data).digest(),
    2: lambda data: hashlib.sha512(data).digest(),
}
_DIGEST_SIZE = {1: 32, 2: 64}
_FAULTS = (ValueError, TypeError, UnsupportedAlgorithm)  # what foreign certificates make the parser raise


def usable(records: Sequence[Tlsa]) -> tuple[Tlsa, ...]:
    """Those that SMTP may use (RFC 7672 3.1.3: usages 0 and 1 are not), well formed, with the strongest digest only
    where one part of the chain is told by several (RFC 7671 9)."""
    good = [record for record in records[:MAX_RECORDS] if _well_formed(record)]
    strongest: dict[tuple[int, int], int] = {}
    for record in good:
        key = record.usage, record.selector
        strongest[key] = max(strongest.get(key, 0), record.matching)
    return tuple(
        record for record in good if record.matching == 0 or record.matching == strongest[record.usage, record.selector]
    )


def _well_formed(record: Tlsa) -> bool:
    known = record.usage in (TRUST_ANCHOR, END_ENTITY) and record.selector in (0, 1) and record.matching in _MATCHING
    return known and bool(record.data) and len(record.data) == _DIGEST_SIZE.get(record.matching, len(record.data))


def mismatch(records: Sequence[Tlsa], chain: Sequence[bytes], names: Sequence[str], now: float) -> str:
    """Why the chain (DER, leaf first) is none that `records` (usable ones) speak of: a word of RFC 8460 4.3, or "" when
    it is. `names`: the TLSA base domain and the domain of the recipients; `now` in Unix seconds."""
    if not chain:
        return "validation-failure"
    certificates = list(chain[:MAX_CHAIN])
    # RFC 7672 3.1.1: a match of usage 3 says it all; neither names nor dates of the certificate count.
    if any(record.usage == END_ENTITY and _matches(record, certificates[0]) for record in records):
        return ""
    anchors = [record for record in records if record.usage == TRUST_ANCHOR]
    if any(
        _anchored(anchor, certificates, names, now) for record in anchors for anchor in _anchor(record, certificates)
    ):
        return ""
    return "validation-failure"


def _matches(record: Tlsa, certificate: bytes) -> bool:
    try:
        part = _public_key(certificate) if record.selector == 1 else certificate
    except _FAULTS:
        return False
    return _MATCHING[record.matching](part) == record.data


def _public_key(certificate: bytes) -> bytes:
    key = x509.load_der_x509_certificate(certificate).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _anchor(record: Tlsa, chain: Sequence[bytes]) -> list[bytes]:
    """Certificates of the chain above the leaf that the record names; a whole certificate or a bare key in the record
    stands for itself (RFC 7671 5.2.2), because a server need not send its root then."""
    found = [certificate for certificate in chain[1:] if _matches(record, certificate)]
    if found or record.matching != 0:
        return found
    return [record.data] if record.selector == 0 else _of_bare_key(record.data, chain)


def _of_bare_key(spki: bytes, chain: Sequence[bytes]) -> list[bytes]:
    """The authority that has this key (RFC 5280 6.1.1 d: a trust anchor is a name and a key): named as the issuer of
    that certificate of the chain which the key has signed. Nobody looks at the signature of an anchor."""
    for item in chain:
        try:
            certificate = x509.load_der_x509_certificate(item)
            anchor = _named(certificate.issuer, load_der_public_key(spki))
            certificate.verify_directly_issued_by(anchor)
        except (InvalidSignature, *_FAULTS):
            continue
        return [anchor.public_bytes(Encoding.DER)]
    return []


def _named(name: x509.Name, key: PublicKeyTypes) -> x509.Certificate:
    always = datetime(1970, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
    return (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, serial_number=1)
        .public_key(cast(CertificatePublicKeyTypes, key))
        .not_valid_before(always[0])
        .not_valid_after(always[1])
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(_nobody(), SHA256())
    )


@cache
def _nobody() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _anchored(anchor: bytes, chain: Sequence[bytes], names: Sequence[str], now: float) -> bool:
    """Whether the leaf, valid now and for one of `names`, leads to the anchor."""
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
        between = [x509.load_der_x509_certificate(item) for item in chain[1:] if item != anchor]
        builder = (
            PolicyBuilder()
            .store(Store([x509.load_der_x509_certificate(anchor)]))
            .time(datetime.fromtimestamp(now, UTC))
            .extension_policies(ca_policy=_AUTHORITY, ee_policy=_SERVER)
        )
    except _FAULTS:
        return False
    return any(_verified(builder, name, leaf, between) for name in names)


def _verified(builder: PolicyBuilder, name: str, leaf: x509.Certificate, between: list[x509.Certificate]) -> bool:
    try:
        builder.build_server_verifier(x509.DNSName(name)).verify(leaf, between)
    except (verification.VerificationError, *_FAULTS):
        return False
    return True


def _may_issue(_policy: object, _certificate: object, extension: x509.BasicConstraints) -> None:
    if not extension.ca:
        raise ValueError("not an authority")


# A private authority is what usage 2 is for: what the public ones owe their auditors is not asked of it.
_AUTHORITY = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _may_issue)
_SERVER = ExtensionPolicy.permit_all().require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
