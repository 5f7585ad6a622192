"""What `check-config` and the start say of a certificate that can be used and will not be liked."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtensionOID, NameOID

from beffroi.certificate import certificate_notes

HOST = "mx.commune.test"
BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAYS = datetime.timedelta(days=90)


def _written(path: Path, names: x509.ExtensionType | None) -> Path:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(BEGIN).not_valid_after(BEGIN + DAYS)
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    path.write_bytes(builder.sign(key, None).public_bytes(serialization.Encoding.PEM))
    return path


def _dns(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in names])


@pytest.mark.parametrize(
    ("day", "said"),
    [
        (-1, "not valid before 2026-01-01"),
        (1, ""),
        (75, ""),
        (77, "expires on 2026-04-01"),
        (90, "expired on 2026-04-01"),
    ],
)
def test_when_it_is_not_valid_or_not_for_long(tmp_path: Path, day: int, said: str) -> None:
    file = _written(tmp_path / "c.pem", _dns([HOST]))
    notes = certificate_notes(file, HOST, now=BEGIN + datetime.timedelta(days=day))
    assert len(notes) == bool(said)
    assert said in "".join(notes)


@pytest.mark.parametrize(
    ("names", "fits"),
    [([HOST], True), (["MX.Commune.test"], True), (["*.commune.test"], True), (["*.test"], False), (["a.test"], False)],
)
def test_whether_it_is_for_this_name(tmp_path: Path, names: list[str], fits: bool) -> None:
    notes = certificate_notes(_written(tmp_path / "c.pem", _dns(names)), HOST, now=BEGIN)
    assert notes == ([] if fits else [f"tls.certificate: is not for {HOST}: mail programs will refuse it or ask"])


def test_a_common_name_alone_is_no_name(tmp_path: Path) -> None:
    assert len(certificate_notes(_written(tmp_path / "c.pem", None), HOST, now=BEGIN)) == 1


@pytest.mark.parametrize("names", [b"\x30\x03\x82\x01\xff", b"\x30\x05\x87\x03\x01\x02\x03"], ids=["latin1", "address"])
def test_names_that_openssl_takes_and_that_cannot_be_read_keep_nothing_from_starting(
    tmp_path: Path, names: bytes
) -> None:
    odd = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, names)
    [note] = certificate_notes(_written(tmp_path / "c.pem", odd), HOST, now=BEGIN)
    assert "not written as they should be" in note


def test_what_is_no_certificate_is_told_by_whoever_needs_it(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nx\n")
    assert certificate_notes(tmp_path / "c.pem", HOST, now=BEGIN) == []
    assert certificate_notes(tmp_path / "none.pem", HOST, now=BEGIN) == []
