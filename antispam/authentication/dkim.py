"""Verify the DKIM signatures of one message while it arrives (RFC 6376 6, RFC 8301, RFC 8463).

`DkimVerification(head, limits)`, `feed(block)` with octets of the body, `await finish(resolver, now)`. The body is
made canonical at most twice, whatever the number of signatures; only the first `limits.dkim_signatures` count
(security.md row 76). Knows nothing of policy: results are values with a reason.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from antispam.authentication.dkim_header import Signature, SignatureError, parse_signature
from antispam.authentication.dkim_key import KeyRecord, KeyRecordError, choose
from antispam.types import Dkim, Result
from core.config import Limits
from core.resolver import Outcome, Resolver
from message.canonical import BodyCanon, BodyHash, relaxed_field, simple_field
from message.header import Field, Head

GRACE = 300  # seconds past x= that a slow clock may cost (security.md row 80)
KEY_TIMEOUT = 10.0
# Fields that may stand once (RFC 5322 3.6) and that people or programs act on: one added beside a signed one is
# an attack on the reader, not mail (RFC 6376 8.15; security.md row 79).
SINGLE = frozenset(
    b"from sender reply-to to cc subject date message-id content-type content-transfer-encoding mime-version".split()
)
_B_VALUE = re.compile(rb"((?:\A|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")


class DkimVerification:
    """Not reusable; belongs to one message. `weak_below`: RSA keys of fewer bits verify but do not count (row 77)."""

    def __init__(
        self,
        head: Head,
        limits: Limits,
        *,
        weak_below: int = 1024,
        also: Sequence[tuple[bool, int | None]] = (),
    ) -> None:
        """`also`: (relaxed, length) of bodies that somebody else wants hashed on the way."""
        self._head = head
        self._weak_below = weak_below
        fields = head.all(b"dkim-signature")
        self._fields = fields[: limits.dkim_signatures]
        self._beyond = len(fields) - len(self._fields)
        self._parsed = [_parse(field) for field in self._fields]
        self._bodies: dict[tuple[bool, int | None], BodyHash] = {}
        for item in self._parsed:
            if isinstance(item, Signature):
                self._bodies.setdefault((item.relaxed_body, item.length), BodyHash(item.length))
        for relaxed, length in also:
            self._bodies.setdefault((relaxed, length), BodyHash(length))
        self._canons = self._canonical() if self._bodies else []
        self._relaxed: dict[int, bytes] = {}
        self._finished = False

    def _canonical(self) -> list[BodyCanon]:
        asked = {
            relaxed: [body for (kind, _), body in self._bodies.items() if kind is relaxed] for relaxed in (False, True)
        }
        return [BodyCanon(relaxed=relaxed, hashes=hashes) for relaxed, hashes in asked.items() if hashes]

    @property
    def signed(self) -> bool:
        """Whether there is anything to verify."""
        return bool(self._fields or self._beyond)

    @property
    def head(self) -> Head:
        return self._head

    def feed(self, block: bytes) -> None:
        """Octets of the body, in order, cut anywhere. Costs nothing when there is no signature."""
        for canon in self._canons:
            canon.feed(block)

    def end_body(self) -> None:
        """Nothing more will be fed. Idempotent."""
        if not self._finished:
            self._finished = True
            for canon in self._canons:
                canon.finish()

    async def finish(self, resolver: Resolver, now: float) -> tuple[Dkim, ...]:
        """One result per signature, in header order. `now` is Unix seconds. Once only."""
        self.end_body()
        results = await asyncio.gather(
            *(self._judge(field, item, resolver, now) for field, item in zip(self._fields, self._parsed, strict=True))
        )
        beyond = Dkim(Result.PERMERROR, "", "", reason="too-many-signatures")
        return (*results, *([beyond] * self._beyond))

    async def _judge(self, field: Field, item: Signature | Dkim, resolver: Resolver, now: float) -> Dkim:
        if isinstance(item, Dkim):
            return item
        # The cheap and local checks come first: a signature that cannot pass costs no DNS question.
        reason = self._local_fault(item, now)
        if reason:
            return _result(Result.FAIL, item, reason)
        return await self._verify(field, item, resolver)

    def _local_fault(self, item: Signature, now: float) -> str:
        added = self._added(item)
        return f"added-{added}" if added else self.body_fault(item, now)

    def body_fault(self, item: Signature, now: float) -> str:
        """Why a signature over this body cannot pass, "" when it may; the body must have ended."""
        if item.expires is not None and now > item.expires + GRACE:
            return "expired"
        body = self._bodies[item.relaxed_body, item.length]
        if item.length is not None and item.length > body.length:
            return "body-shorter-than-signed"  # RFC 6376 3.5 l=
        return "" if body.digest() == item.body_hash else "body-hash-differs"

    def covers(self, item: Signature) -> bool:
        """Whether a good signature is one over all that is read: no text behind l=, no field beside a signed one."""
        body = self._bodies[item.relaxed_body, item.length]
        return not self._added(item) and (item.length is None or item.length >= body.length)

    def _added(self, item: Signature) -> str:
        present = Counter(field.name for field in self._head.fields)
        covered = Counter(item.headers)
        names = [name for name in covered if name in SINGLE and 0 < covered[name] < present[name]]
        return min(names).decode("ascii") if names else ""

    async def _verify(self, field: Field, item: Signature, resolver: Resolver) -> Dkim:
        try:
            key = await fetch_key(resolver, item.selector, item.domain, item.algorithm)
        except KeyFault as error:
            return _result(error.result, item, error.reason)
        if key.strict_identity and item.identity_domain != item.domain:
            return _result(Result.PERMERROR, item, "identity-outside-domain")
        if not key.verifies(item.signature, self.header_digest(field, item)):
            return _result(Result.FAIL, item, "signature-differs")
        return self._passed(item, key)

    def _passed(self, item: Signature, key: KeyRecord) -> Dkim:
        body = self._bodies[item.relaxed_body, item.length]
        if item.length is not None and item.length < body.length:
            # Text after the signed part is anybody's: it verifies, and must not count (row 78).
            return _result(Result.PASS, item, "body-partly-signed", weak=True)
        if key.bits < self._weak_below and item.algorithm.startswith("rsa"):
            return _result(Result.PASS, item, "short-key", weak=True)
        return _result(Result.PASS, item, "testing" if key.testing else "")

    def header_digest(self, field: Field, item: Signature) -> bytes:
        """RFC 6376 3.7: the fields of h= from the bottom up, absent ones as nothing, then the signature without b=. A
        signature named in h= is another one that was there before, never itself (5.4)."""
        canon = self._relaxed_at if item.relaxed_headers else self._simple_at
        stacks: dict[bytes, list[int]] = defaultdict(list)
        for number, candidate in enumerate(self._head.fields):
            if candidate is not field:
                stacks[candidate.name].append(number)
        digest = hashlib.sha256()
        for name in item.headers:
            if stacks[name]:
                digest.update(canon(stacks[name].pop()))
        own = field.raw[: field.colon] + _B_VALUE.sub(rb"\1", field.body, count=1)
        last = relaxed_field(own) if item.relaxed_headers else simple_field(own)
        digest.update(last.removesuffix(b"\r\n"))
        return digest.digest()

    def _simple_at(self, number: int) -> bytes:
        return simple_field(self._head.fields[number].raw)

    def _relaxed_at(self, number: int) -> bytes:
        if number not in self._relaxed:
            self._relaxed[number] = relaxed_field(self._head.fields[number].raw)
        return self._relaxed[number]


class KeyFault(Exception):
    """No key to verify with: TEMPERROR or PERMERROR, and the reason word."""

    def __init__(self, result: Result, reason: str) -> None:
        super().__init__(reason)
        self.result = result
        self.reason = reason


async def fetch_key(resolver: Resolver, selector: str, domain: str, algorithm: str) -> KeyRecord:
    """The published key, checked. Raises `KeyFault`."""
    try:
        async with asyncio.timeout(KEY_TIMEOUT):
            answer = await resolver.txt(f"{selector}._domainkey.{domain}")
    except TimeoutError:
        raise KeyFault(Result.TEMPERROR, "key-timeout") from None
    if answer.outcome is Outcome.FAILED:
        raise KeyFault(Result.TEMPERROR, "key-unavailable")
    try:
        return choose(answer.records, algorithm)
    except KeyRecordError as error:
        raise KeyFault(Result.PERMERROR, str(error)) from error


def _parse(field: Field) -> Signature | Dkim:
    try:
        return parse_signature(field.body)
    except SignatureError as error:
        return Dkim(Result.PERMERROR, error.domain, error.selector, reason=error.reason)


def _result(result: Result, item: Signature, reason: str, *, weak: bool = False) -> Dkim:
    return Dkim(
        result=result,
        domain=item.domain,
        selector=item.selector,
        algorithm=item.algorithm,
        identity=item.identity,
        reason=reason,
        weak=weak,
        signature=base64.b64encode(item.signature)[:8].decode("ascii"),
    )
