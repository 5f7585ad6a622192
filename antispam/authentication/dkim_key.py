"""A DKIM key record as a value, and the one place that checks a signature against it (RFC 6376 3.6.1, RFC 8463).

RSA below 1024 bits is refused (RFC 8301 3.2), above 8192 too: such keys only serve to burn our time (row 77).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from message.taglist import TagListError, parse, without_blanks

MINIMUM_BITS = 1024
MAXIMUM_BITS = 8192
MAX_RECORDS = 5


class KeyRecordError(ValueError):
    """The record holds no key we can use; the text is the reason word."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """`bits` of an RSA key, 256 for Ed25519. `strict_identity`: flag t=s, i= must equal d= (RFC 6376 3.6.1)."""

    key: RSAPublicKey | Ed25519PublicKey
    bits: int
    testing: bool
    strict_identity: bool

    def verifies(self, signature: bytes, digest: bytes) -> bool:
        """`digest` is the SHA-256 of the signed headers; Ed25519 signs the digest itself (RFC 8463 3)."""
        try:
            if isinstance(self.key, RSAPublicKey):
                self.key.verify(signature, digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
            else:
                self.key.verify(signature, digest)
        except InvalidSignature:
            return False
        return True


def choose(records: Sequence[bytes], algorithm: str) -> KeyRecord:
    """The first usable record for `algorithm` (RFC 6376 3.6.2.2 leaves several undefined). Raises `KeyRecordError`
    with the fault of the first record that is wrong."""
    fault: KeyRecordError | None = None
    for record in records[:MAX_RECORDS]:
        try:
            return parse_key(record, algorithm)
        except KeyRecordError as error:
            fault = fault or error
    raise fault or KeyRecordError("no-key")


def parse_key(record: bytes, algorithm: str) -> KeyRecord:
    """One TXT record. Raises `KeyRecordError`."""
    try:
        tags = parse(record)
    except TagListError as error:
        raise KeyRecordError("malformed-key") from error
    if "v" in tags and (next(iter(tags)) != "v" or tags["v"] != "DKIM1"):
        raise KeyRecordError("malformed-key")  # RFC 6376 3.6.1: v= first, if at all
    kind, _, hash_name = algorithm.partition("-")
    if tags.get("k", "rsa").lower() != kind:
        raise KeyRecordError("key-of-another-type")
    if hash_name not in _list(tags.get("h", hash_name)):
        raise KeyRecordError("hash-not-allowed")
    if not {"*", "email"} & _list(tags.get("s", "*")):
        raise KeyRecordError("key-not-for-mail")
    if "p" not in tags:
        raise KeyRecordError("malformed-key")
    if not tags["p"]:
        raise KeyRecordError("key-revoked")
    key, bits = _public_key(kind, tags["p"])
    flags = _list(tags.get("t", ""))
    return KeyRecord(key, bits, "y" in flags, "s" in flags)


def _list(text: str) -> set[str]:
    return set(without_blanks(text).lower().split(":"))


def _public_key(kind: str, text: str) -> tuple[RSAPublicKey | Ed25519PublicKey, int]:
    try:
        data = base64.b64decode(without_blanks(text), validate=True)
        key = Ed25519PublicKey.from_public_bytes(data) if kind == "ed25519" else load_der_public_key(data)
    except (binascii.Error, ValueError, UnsupportedAlgorithm, TypeError) as error:
        raise KeyRecordError("malformed-key") from error
    if isinstance(key, Ed25519PublicKey) and kind == "ed25519":
        return key, 256
    if not isinstance(key, RSAPublicKey):
        raise KeyRecordError("key-of-another-type")
    if key.key_size < MINIMUM_BITS:
        raise KeyRecordError("key-too-short")
    if key.key_size > MAXIMUM_BITS:
        raise KeyRecordError("key-too-long")
    return key, key.key_size
