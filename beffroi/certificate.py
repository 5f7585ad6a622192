"""A self-signed certificate, so that TLS works from the first minute; the operator's own replaces it."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFETIME = datetime.timedelta(days=825)
_ODD = (x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
SOON = datetime.timedelta(days=14)  # before its end: whoever renews by a timer has done it by then


def write_self_signed(hostname: str, certificate: Path, key: Path, *, now: datetime.datetime) -> None:
    """P-256, valid for `hostname` and localhost. Existing files stay. Raises OSError."""
    if certificate.exists() or key.exists():
        return
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    names = [x509.DNSName(hostname), x509.DNSName("localhost")]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.parent.mkdir(parents=True, exist_ok=True)
    _write(
        key,
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        0o600,
    )
    _write(certificate, signed.public_bytes(serialization.Encoding.PEM), 0o644)


def certificate_notes(certificate: Path, hostname: str, *, now: datetime.datetime) -> list[str]:
    """What mail programs and other servers will not like about a certificate that can be used; [] where it cannot."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    except (OSError, ValueError):
        return []
    notes = []
    if now < begins:
        notes.append(f"tls.certificate: not valid before {begins:%Y-%m-%d %H:%M} UTC; is the clock right?")
    if now >= ends:
        notes.append(f"tls.certificate: expired on {ends:%Y-%m-%d}: renew it, then SIGHUP")
    elif now >= ends - SOON:
        notes.append(f"tls.certificate: expires on {ends:%Y-%m-%d}: renew it, then SIGHUP")
    try:
        if not _names(found, hostname):
            notes.append(f"tls.certificate: is not for {hostname}: mail programs will refuse it or ask")
    except (ValueError, *_ODD):  # OpenSSL takes what our reader does not, and so will some programs
        notes.append("tls.certificate: its names are not written as they should be: some programs will refuse it")
    return notes


def _names(certificate: x509.Certificate, hostname: str) -> bool:
    """RFC 9525 6.3: a DNS name equal to it, or with a wildcard as its whole first label."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    told = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    return hostname in told or f"*.{hostname.partition('.')[2]}" in told


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
