"""Every way RFC 6376 3.5 lets a signature be written, by a signer made from the RFC's text alone: tags in any order,
folded and blank at each place, names in any case, absent and repeated fields, lengths, both forms of header and body.
(dkimpy writes one form only, and refuses some of the others.)"""

from __future__ import annotations

import base64
import hashlib
import random
import re
from collections import defaultdict
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from antispam.types import Result
from tests.antispam.dkim_tools import NOW, resolver, rsa_pair, verify

BLANKS = (b"", b"", b"", b" ", b"\t", b"\r\n ", b"\r\n\t ")
VALUES = (b" v\r\n", b"  a  b \r\n", b"\r\n x\r\n", b" a\r\n\tb\r\n", b"\r\n")


def form_of_field(name: bytes, value: bytes, *, relaxed: bool) -> bytes:
    """RFC 6376 3.4.1, 3.4.2; `value` with its CR LF."""
    if not relaxed:
        return name + b":" + value
    return name.lower() + b":" + re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" ") + b"\r\n"


def form_of_body(body: bytes, *, relaxed: bool) -> bytes:
    """RFC 6376 3.4.3, 3.4.4."""
    if relaxed:
        body = b"\r\n".join(re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n"))
    lines = body.removesuffix(b"\r\n").split(b"\r\n")
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    whole = b"\r\n".join(lines) + b"\r\n"
    return b"" if relaxed and whole == b"\r\n" else whole


@dataclass
class Signer:
    """One message and its signature, at random."""

    rng: random.Random
    key: RSAPrivateKey
    length: int | None = None
    whole: int = 0
    tags: list[tuple[bytes, bytes]] = field(default_factory=list)

    def blank(self) -> bytes:
        return self.rng.choice(BLANKS)

    def message(self) -> bytes:
        names = self.rng.choices([b"X-A", b"x-a", b"Received", b"X-B"], k=self.rng.randint(0, 5))
        fields = [(b"From", b" a@x.test\r\n"), *((name, self.rng.choice(VALUES)) for name in names)]
        self.rng.shuffle(fields)
        body = b"".join(self.rng.choices([b"x", b" ", b"\t", b"\r\n", b"abc"], k=self.rng.randint(0, 20)))
        signature = self.signed(fields, body)
        return signature + b"".join(name + b":" + value for name, value in fields) + b"\r\n" + body

    def signed(self, fields: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        heads, bodies = self.rng.random() < 0.5, self.rng.random() < 0.5
        names = [
            b"from",
            *self.rng.choices([b"x-a", b"X-A", b"absent", b"received", b"From"], k=self.rng.randint(0, 6)),
        ]
        self.rng.shuffle(names)
        self.describe(heads, bodies, names, form_of_body(body, relaxed=bodies))
        name = self.rng.choice([b"DKIM-Signature", b"dkim-signature"])
        before, after = self.written()
        data = b""
        left: dict[bytes, list[tuple[bytes, bytes]]] = defaultdict(list)
        for each in fields:
            left[each[0].lower()].append(each)
        for wanted in names:
            if left[wanted.lower()]:
                data += form_of_field(*left[wanted.lower()].pop(), relaxed=heads)
        data += form_of_field(name, before + after + b"\r\n", relaxed=heads).removesuffix(b"\r\n")
        value = base64.b64encode(self.key.sign(data, padding.PKCS1v15(), hashes.SHA256()))
        return name + b":" + before + self.blank() + self.folded(value) + self.blank() + after + b"\r\n"

    def describe(self, heads: bool, bodies: bool, names: list[bytes], body: bytes) -> None:
        rng = self.rng
        form = (b"relaxed" if heads else b"simple") + (b"/relaxed" if bodies else rng.choice([b"", b"/simple"]))
        self.whole, self.length = len(body), rng.randint(0, len(body) + 1) if rng.random() < 0.3 else None
        digest = base64.b64encode(hashlib.sha256(body[: self.length]).digest())
        listed = (self.blank() + b":" + self.blank()).join(names)
        self.tags = [
            (b"v", b"1"), (b"a", b"rsa-sha256"), (b"d", rng.choice([b"x.test", b"X.Test"])), (b"s", b"sel"),
            (b"c", form), (b"h", listed), (b"bh", self.folded(digest)),
        ]  # fmt: skip
        maybe = [
            (b"q", rng.choice([b"dns/txt", b"other:dns/txt"])), (b"t", b"%d" % (NOW - 9)), (b"x", b"%d" % (NOW + 9)),
            (b"i", rng.choice([b"@x.test", b"a=20b@x.test", b"a@SUB.x.TEST"])), (b"z", b"From:a@x.test|To:=20b=3B"),
            (b"later", rng.choice([b"", b"a b", b"a=b"])),
        ]  # fmt: skip
        self.tags += [tag for tag in maybe if rng.random() < 0.3]
        self.tags += [(b"l", b"%d" % self.length)] if self.length is not None else []
        rng.shuffle(self.tags)

    def written(self) -> tuple[bytes, bytes]:
        """What stands before and after the value of b=, which counts for nothing with the blanks around it (3.7)."""
        place = self.rng.randint(0, len(self.tags))
        texts = [self.blank() + n + self.blank() + b"=" + self.blank() + v + self.blank() for n, v in self.tags]
        before = b"".join(text + b";" for text in texts[:place]) + self.blank() + b"b" + self.blank() + b"="
        after = b"".join(b";" + text for text in texts[place:])
        return before, after + self.rng.choice([b"", b";"])

    def folded(self, value: bytes) -> bytes:
        cut = self.rng.randint(0, len(value))
        return value[:cut] + self.blank() + value[cut:]


async def test_every_way_to_write_a_signature_verifies() -> None:
    rng = random.Random(6376)
    key = load_pem_private_key(rsa_pair(1024)[0], None)
    assert isinstance(key, RSAPrivateKey)
    seen = set()
    for _ in range(150):
        signer = Signer(rng, key)
        message = signer.message()
        (found,) = await verify(message, resolver(1024), block=rng.choice([1, 7, 1000]))
        if signer.length is not None and signer.length > signer.whole:
            expected = (Result.FAIL, "body-shorter-than-signed")
        elif signer.length is not None and signer.length < signer.whole:
            expected = (Result.PASS, "body-partly-signed")
        else:
            expected = (Result.PASS, "")
        assert (found.result, found.reason) == expected, message
        seen.add(expected)
    assert len(seen) == 3
