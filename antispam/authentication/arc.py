"""Verify the Authenticated Received Chain of one message (RFC 8617 5.2): who forwarded it, and what they had seen.

A chain that passes says only that its sealers said so: whether that counts is policy, and depends on who they are
(security.md row 88). The body is hashed by the DKIM verification beside it, once for all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from antispam.authentication import results
from antispam.authentication.dkim import DkimVerification, KeyFault, fetch_key
from antispam.authentication.dkim_header import (
    ALGORITHMS,
    Signature,
    SignatureError,
    parse_message_signature,
    read_base64,
    read_domain,
    read_selector,
    read_time,
)
from antispam.types import Arc, Result
from core.resolver import Resolver
from message.arc import ArcSet, ChainError, chain, claims, sealed_octets
from message.header import Head
from message.taglist import TagListError, parse


@dataclass(frozen=True, slots=True)
class Seal:
    """An ARC-Seal read: `chain` is cv=, what its maker found."""

    algorithm: str
    signature: bytes
    domain: str
    selector: str
    chain: str


class ArcVerification:
    """Made from the head; `bodies` are the body hashes it needs; then `finish` once the body has come."""

    def __init__(self, head: Head) -> None:
        self._fault = ""
        self._sets: tuple[ArcSet, ...] = ()
        self._seals: list[Seal] = []
        self._newest: Signature | None = None
        try:
            self._sets = chain(head)
            self._seals = [_read_seal(item) for item in self._sets]
            if self._sets:
                self._newest = parse_message_signature(self._sets[-1].signature.body)
        except ChainError as error:
            self._fault = str(error)
        except SignatureError as error:
            self._fault = error.reason

    @property
    def sets(self) -> tuple[ArcSet, ...]:
        return self._sets

    @property
    def bodies(self) -> Sequence[tuple[bool, int | None]]:
        return () if self._newest is None else ((self._newest.relaxed_body, self._newest.length),)

    async def finish(self, verification: DkimVerification, resolver: Resolver, now: float) -> Arc:
        """Never raises for what a stranger can cause. The verification's body must have ended."""
        if not self._sets and not self._fault:
            return Arc(Result.NONE)
        sealers = tuple(seal.domain for seal in self._seals)
        try:
            await self._check(verification, resolver, now)
        except SignatureError as error:
            return Arc(Result.FAIL, len(self._sets), sealers, error.reason)
        except KeyFault as error:
            return Arc(error.result, len(self._sets), sealers, error.reason)
        whole = self._newest is not None and verification.covers(self._newest)
        return Arc(Result.PASS, len(self._sets), sealers, oldest_dmarc=_oldest_dmarc(self._sets[0]) if whole else "")

    async def _check(self, verification: DkimVerification, resolver: Resolver, now: float) -> None:
        """The steps of RFC 8617 5.2 after collecting; the cheap ones first. Raises with the reason."""
        if self._fault or self._newest is None:
            raise SignatureError(self._fault or "malformed-field")
        if self._seals[-1].chain == "fail":
            raise SignatureError("sealed-as-failed")
        for number, seal in enumerate(self._seals):
            # Step 3.C: the first sealer found no chain, everybody after it found a good one.
            if seal.chain != ("pass" if number else "none"):
                raise SignatureError("chain-value")
        fault = verification.body_fault(self._newest, now)
        if fault:
            raise SignatureError(fault)
        key = await fetch_key(resolver, self._newest.selector, self._newest.domain, self._newest.algorithm)
        digest = verification.header_digest(self._sets[-1].signature, self._newest)
        if not key.verifies(self._newest.signature, digest):
            raise SignatureError("signature-differs")
        for number in reversed(range(len(self._sets))):
            await self._check_seal(number, resolver)

    async def _check_seal(self, number: int, resolver: Resolver) -> None:
        item, seal = self._sets[number], self._seals[number]
        key = await fetch_key(resolver, seal.selector, seal.domain, seal.algorithm)
        octets = sealed_octets(self._sets[:number], item.results.raw, item.signature.raw, item.seal.raw)
        if not key.verifies(seal.signature, hashlib.sha256(octets).digest()):
            raise SignatureError("seal-differs")


def _read_seal(item: ArcSet) -> Seal:
    try:
        tags = parse(item.seal.body)
    except TagListError as error:
        raise SignatureError("malformed-field") from error
    # RFC 8617 4.1.3: h= would let a sealer choose what it vouches for
    if any(name not in tags for name in ("a", "b", "cv", "d", "s")) or "h" in tags:
        raise SignatureError("malformed-field")
    algorithm, value = tags["a"].lower(), tags["cv"].lower()
    if algorithm not in ALGORITHMS:
        raise SignatureError("unusable-algorithm")
    domain = read_domain(tags["d"])
    read_time(tags, "t")
    return Seal(algorithm, read_base64(tags["b"]), domain, read_selector(tags["s"], domain), value)


def _oldest_dmarc(item: ArcSet) -> str:
    """What DMARC came to where the chain begins, as its sealer says; "" when it does not say."""
    read = results.parse(claims(item).replace(b"\r\n", b""))
    found = [claim.result for claim in read.claims if claim.method == "dmarc"] if read else []
    return found[0] if len(found) == 1 else ""
