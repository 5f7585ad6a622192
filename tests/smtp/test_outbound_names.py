"""Which names of a certificate count where an authority vouches for it (RFC 8461 3.3 and 4.2, RFC 8689)."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from smtp.outbound.tls_policy import verified_context

DAY = datetime.timedelta(days=1)


def issued(folder: Path, common: str, *alternative: str, identified: bool = True) -> tuple[Path, Path]:
    """An authority's certificate, and a chain with its key for these names. The authority tells no key usage; without
    `identified` nobody tells key identifiers either (RFC 5280 4.2.1.1 to 4.2.1.3)."""
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("Authority", common)]
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in names]
    pems = []
    for name, key, ca in zip(names, keys, (True, False), strict=True):
        builder = x509.CertificateBuilder(
            names[0], name, key.public_key(), x509.random_serial_number(), now - DAY, now + DAY
        ).add_extension(x509.BasicConstraints(ca, None), critical=True)
        if identified:
            builder = builder.add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False)
        if alternative and not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName(map(x509.DNSName, alternative)), critical=False)
        pems.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(Encoding.PEM))
    secret = keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    authority, chain = folder / "authority.pem", folder / "chain.pem"
    authority.write_bytes(pems[0])
    chain.write_bytes(pems[1] + secret)
    return authority, chain


def shake(client: ssl.SSLContext, chain: Path, name: str) -> None:
    """A handshake in memory. Raises `SSLError`."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there, server_hostname=name), server.wrap_bio(there, back, server_side=True)]
    for _ in range(4):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
    assert not ends


@pytest.mark.parametrize("alternative", [(), ("other.test",)])
def test_rfc8461_4_2_a_common_name_is_no_name_of_a_server(tmp_path: Path, alternative: tuple[str, ...]) -> None:
    """OpenSSL takes the common name where there is no alternative one: authorities check it less, or not at all."""
    authority, chain = issued(tmp_path, "mx.r.test", *alternative)
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        shake(verified_context(str(authority)), chain, "mx.r.test")
    assert caught.value.verify_code == 62


def test_rfc8461_4_2_an_alternative_name_is_one(tmp_path: Path) -> None:
    authority, chain = issued(tmp_path, "whatever", "mx.r.test")
    shake(verified_context(str(authority)), chain, "mx.r.test")


def test_an_authority_of_ones_own_need_not_tell_key_usage_or_identifiers(tmp_path: Path) -> None:
    """Python 3.13 asks for them by default, 3.11 does not."""
    authority, chain = issued(tmp_path, "whatever", "mx.r.test", identified=False)
    shake(verified_context(str(authority)), chain, "mx.r.test")


def test_a_certificate_that_is_trusted_itself_ends_the_chain(tmp_path: Path) -> None:
    """Here the server's own is, its authority is not; Python 3.11 wants the authority by default."""
    _, chain = issued(tmp_path, "whatever", "mx.r.test")
    shake(verified_context(str(chain)), chain, "mx.r.test")
