"""New key pairs: RSA-2048 for everybody, Ed25519 for those who can (RFC 8301 3.2, RFC 8463).

Uses randomness, keeps nothing.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

RSA, ED25519 = "rsa", "ed25519"
ALGORITHMS = (RSA, ED25519)  # RSA first: some verifiers look at the first signature only
RSA_BITS = 2048


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """`public_key` as in the p= tag; `private_key` is PKCS#8 DER in clear: seal it at once (promise P10)."""

    algorithm: str
    public_key: str
    private_key: bytes


def generate(algorithm: str) -> KeyPair:
    """A new pair; RSA takes some 100 ms of CPU, so callers use a thread. Raises ValueError for another algorithm."""
    if algorithm == RSA:
        rsa = generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        public = rsa.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        private = rsa.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return KeyPair(algorithm, base64.b64encode(public).decode("ascii"), private)
    if algorithm == ED25519:
        # RFC 8463 4: p= holds the 32 octets of the key, no ASN.1 around them
        ed25519 = Ed25519PrivateKey.generate()
        public = ed25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        private = ed25519.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return KeyPair(algorithm, base64.b64encode(public).decode("ascii"), private)
    raise ValueError(f"no such algorithm: {algorithm}")
