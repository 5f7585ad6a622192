"""Keys for tests: made once a run, because RSA takes its time."""

from __future__ import annotations

import functools

from cryptography.hazmat.primitives.serialization import load_der_private_key

from dkim_keys.generate import KeyPair, generate
from dkim_keys.sign import BodyDigest, Signer, sign
from message.content import head_length


@functools.cache
def pair(algorithm: str) -> KeyPair:
    return generate(algorithm)


def signer_and_record(algorithm: str, domain: str = "x.test", selector: str = "sel") -> tuple[Signer, bytes]:
    made = pair(algorithm)
    key = load_der_private_key(made.private_key, None)
    signer = Signer(domain, selector, f"{algorithm}-sha256", key)  # type: ignore[arg-type]  # one of the two we make
    return signer, f"v=DKIM1; k={algorithm}; p={made.public_key}".encode()


def sign_whole(message: bytes, signers: list[Signer], now: float, block: int = 1 << 20) -> bytes:
    cut = head_length(message)
    body = BodyDigest()
    for start in range(cut, len(message), block):
        body.feed(message[start : start + block])
    return sign(message[:cut], body.digest(), signers, now) + message
