"""Sign a message: relaxed/relaxed, one field per key, the body hashed once (RFC 6376 5, RFC 8463).

Fields that people act on are signed once more than they occur, so that none can be added unnoticed (RFC 6376 8.15;
security.md row 79). x= is seven days: a signed spam is not replayed for ever (row 81). Pure; keys are handed in.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from message.canonical import BodyCanon, BodyHash, relaxed_field
from message.content import Content, blocks
from message.header import Head, split

LIFETIME = 7 * 86400
LINE = 72
FOLD = "\r\n\t"

OVERSIGNED = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"reply-to",
    b"message-id",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
)
# Signed where present. Not oversigned: mailing lists add Sender and List-*, clients add the others in replies.
SIGNED = (
    b"sender",
    b"in-reply-to",
    b"references",
    b"content-disposition",
    b"content-language",
    b"disposition-notification-to",
    b"autocrypt",
)


@dataclass(frozen=True, slots=True, repr=False)
class Signer:
    """An opened key. `algorithm` as in a=: "rsa-sha256" or "ed25519-sha256"."""

    domain: str
    selector: str
    algorithm: str
    key: RSAPrivateKey | Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"Signer({self.selector}._domainkey.{self.domain}, {self.algorithm})"

    def sign(self, digest: bytes) -> bytes:
        """RFC 8463 3: Ed25519 signs the SHA-256 digest as its message."""
        if isinstance(self.key, RSAPrivateKey):
            return self.key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        return self.key.sign(digest)


class BodyDigest:
    """bh= of a body that arrives in blocks: feed what follows the empty line, then take the `digest` once."""

    def __init__(self) -> None:
        self._hash = BodyHash()
        self._canon = BodyCanon(relaxed=True, hashes=[self._hash])

    def feed(self, block: bytes) -> None:
        self._canon.feed(block)

    def digest(self) -> bytes:
        self._canon.finish()
        return self._hash.digest()


def sign(head: bytes, body_hash: bytes, signers: Sequence[Signer], now: float) -> bytes:
    """DKIM-Signature fields to put in front of `head`, folded, each with its CRLF. `now` in Unix seconds."""
    fields = split(head)
    names = signed_names(fields)
    octets = canonical(fields, names)
    return b"".join(_field(signer, names, octets, body_hash, int(now)) for signer in signers)


async def sign_content(content: Content, signers: Sequence[Signer], now: float) -> bytes:
    """`sign` for a message that lies whole somewhere; its body is read and hashed in a thread."""
    if not signers:
        return b""
    return sign(content.head, await asyncio.to_thread(hash_body, content), signers, now)


def hash_body(content: Content) -> bytes:
    body = BodyDigest()
    for block in blocks(content, len(content.head)):
        body.feed(block)
    return body.digest()


def signed_names(head: Head) -> list[bytes]:
    """h=: every occurrence of a signed field, and one more of the oversigned ones."""
    present = Counter(field.name for field in head.fields)
    names: list[bytes] = []
    for name in OVERSIGNED:
        names += [name] * (present[name] + 1)
    for name in SIGNED:
        names += [name] * present[name]
    return names


def canonical(head: Head, names: list[bytes]) -> bytes:
    """RFC 6376 5.4.2: fields of one name are taken from the bottom up; an absent one is the empty string."""
    stacks: dict[bytes, list[bytes]] = defaultdict(list)
    for field in head.fields:
        stacks[field.name].append(field.raw)
    return b"".join(relaxed_field(stacks[name].pop()) for name in names if stacks[name])


def _field(signer: Signer, names: list[bytes], octets: bytes, body_hash: bytes, now: int) -> bytes:
    lines = [
        f"v=1; a={signer.algorithm}; c=relaxed/relaxed; d={signer.domain};",
        f"s={signer.selector}; t={now}; x={now + LIFETIME};",
        f"h={folded_list(names)};",
        f"bh={base64.b64encode(body_hash).decode('ascii')};",
        "b=",
    ]
    unsigned = b"DKIM-Signature: " + FOLD.join(lines).encode("ascii")
    # RFC 6376 3.7: the field itself goes last into the hash, b= empty, without its final CRLF
    digest = hashlib.sha256(octets + relaxed_field(unsigned + b"\r\n").removesuffix(b"\r\n")).digest()
    value = folded_text(base64.b64encode(signer.sign(digest)).decode("ascii"))
    return unsigned + value.encode("ascii") + b"\r\n"


def folded_list(names: list[bytes]) -> str:
    """The names of h= with folding after colons (RFC 6376 3.5 allows FWS there)."""
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) + 1 > LINE:
            lines.append("")
        lines[-1] += name.decode("ascii") + ":"
    return FOLD.join(lines).removesuffix(":")


def folded_text(text: str) -> str:
    return FOLD.join(text[start : start + LINE] for start in range(0, len(text), LINE))
