"""dkimpy as signer and judge, fast: keys made once, DNS from a dictionary."""

from __future__ import annotations

import base64
import functools
import re

import dkim
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from antispam.authentication.dkim import DkimVerification
from antispam.types import Dkim
from core.config import Limits
from message.content import head_length
from message.header import split
from tests.fakes.resolver import FakeResolver

NOW = 1_790_000_000.0
MESSAGE = (
    b"From: Mairie <maire@x.test>\r\n"
    b"To: secretaire@y.test\r\n"
    b"Subject: Conseil  municipal\r\n du 12\r\n"
    b"Date: Sun, 22 Nov 2026 10:00:00 +0100\r\n"
    b"Message-ID: <1@x.test>\r\n"
    b"\r\n"
    b"Bonjour,  \r\n\r\n  le conseil \t se r\xc3\xa9unit.\r\n\r\n\r\n"
)


def rsa_pair(bits: int = 2048) -> tuple[bytes, bytes]:
    """(PEM private key, TXT record)."""
    return _rsa_pair(bits)


@functools.cache
def _rsa_pair(bits: int) -> tuple[bytes, bytes]:
    key = rsa.generate_private_key(65537, bits)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return pem, b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


@functools.cache
def ed_pair() -> tuple[bytes, bytes]:
    """(base64 seed as dkimpy wants it, TXT record)."""
    key = Ed25519PrivateKey.generate()
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(seed), b"v=DKIM1; k=ed25519; p=" + base64.b64encode(public)


def signed(
    message: bytes = MESSAGE,
    *,
    algorithm: str = "rsa",
    canon: str = "relaxed/relaxed",
    bits: int = 2048,
    **options: object,
) -> bytes:
    """The message with dkimpy's signature in front: d=x.test, s=sel."""
    private = rsa_pair(bits)[0] if algorithm == "rsa" else ed_pair()[0]
    header, _, body = canon.partition("/")
    field: bytes = dkim.sign(
        message, b"sel", b"x.test", private, canonicalize=(header.encode(), body.encode()),
        signature_algorithm=b"rsa-sha256" if algorithm == "rsa" else b"ed25519-sha256",
        include_headers=options.pop("headers", [b"from", b"to", b"subject", b"date", b"message-id"]),
        linesep=b"\r\n", **options,
    )  # fmt: skip
    return field + message


def resolver(bits: int = 2048, **more: list[bytes]) -> FakeResolver:
    zone = {"sel._domainkey.x.test": {"TXT": [rsa_pair(bits)[1]]}}
    for name, records in more.items():
        zone[name.replace("__", ".")] = {"TXT": records}
    return FakeResolver(zone)


def ed_resolver() -> FakeResolver:
    return FakeResolver({"sel._domainkey.x.test": {"TXT": [ed_pair()[1]]}})


async def verify(
    message: bytes, dns: FakeResolver, *, now: float = NOW, block: int = 1 << 20, weak_below: int = 1024
) -> tuple[Dkim, ...]:
    cut = head_length(message)
    verification = DkimVerification(split(message[:cut], Limits()), Limits(), weak_below=weak_below)
    for start in range(cut, len(message), block):
        verification.feed(message[start : start + block])
    return await verification.finish(dns, now)


def retag(message: bytes, name: bytes, value: bytes) -> bytes:
    """The first signature with one tag's value changed (the signature no longer fits then)."""
    field, mark, rest = message.partition(b"\r\nFrom:")
    return re.sub(rb"(;\s*" + name + rb"=)[^;]*", lambda m: m[1] + value, field, count=1) + mark + rest
