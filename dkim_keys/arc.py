"""Seal a message that is passed on: the three fields of one ARC set (RFC 8617 4.1, 5.1).

Pure; what was found about the message and its chain is handed in. RSA only, as the field verifies it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from dkim_keys.sign import FOLD, Signer, canonical, folded_list, folded_text, signed_names
from message.arc import MAX_SETS, ArcSet, sealed_octets
from message.canonical import relaxed_field
from message.header import Head, split

LIMIT = MAX_SETS
FIELD = "Authentication-Results: "


def sealer(signers: Sequence[Signer]) -> Signer | None:
    """Which of a domain's keys seals."""
    return next((signer for signer in signers if isinstance(signer.key, RSAPrivateKey)), None)


def seal(
    head: bytes, body_hash: bytes, signer: Signer, *, before: Sequence[ArcSet], passed: bool, results: bytes, now: float
) -> bytes:
    """Three fields to put in front of `head`. `before`: the sets it has, contiguous, fewer than `LIMIT`; `passed`:
    whether they verified. `results`: our Authentication-Results field; `body_hash` of the relaxed body."""
    instance = len(before) + 1
    cv = "none" if not before else "pass" if passed else "fail"
    claimed = f"ARC-{FIELD}i={instance}; ".encode("ascii") + results.removeprefix(FIELD.encode("ascii"))
    signature = _signature(split(head), body_hash, signer, instance, int(now))
    lines = [
        f"i={instance}; a={signer.algorithm}; t={int(now)}; cv={cv};",
        f"d={signer.domain}; s={signer.selector};",
        "b=",
    ]
    unsigned = b"ARC-Seal: " + FOLD.join(lines).encode("ascii")
    # RFC 8617 5.1.2: who found the chain broken answers for his own set only
    octets = sealed_octets(before if cv == "pass" else (), claimed, signature, unsigned + b"\r\n")
    return _closed(unsigned, signer.sign(hashlib.sha256(octets).digest())) + signature + claimed


def _signature(head: Head, body_hash: bytes, signer: Signer, instance: int, now: int) -> bytes:
    names = signed_names(head) + [b"dkim-signature"] * sum(1 for _ in head.all(b"dkim-signature"))
    lines = [
        f"i={instance}; a={signer.algorithm}; c=relaxed/relaxed; d={signer.domain};",
        f"s={signer.selector}; t={now};",
        f"h={folded_list(names)};",
        f"bh={base64.b64encode(body_hash).decode('ascii')};",
        "b=",
    ]
    unsigned = b"ARC-Message-Signature: " + FOLD.join(lines).encode("ascii")
    own = relaxed_field(unsigned + b"\r\n").removesuffix(b"\r\n")
    return _closed(unsigned, signer.sign(hashlib.sha256(canonical(head, names) + own).digest()))


def _closed(unsigned: bytes, signature: bytes) -> bytes:
    return unsigned + folded_text(base64.b64encode(signature).decode("ascii")).encode("ascii") + b"\r\n"
