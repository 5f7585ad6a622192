"""Which TLSA records count for a target, and under which name (RFC 7672 2.1, 2.2).

Believes only what a validating resolver vouches for. Refuses to know certificates: `dane` compares them.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.resolver import Outcome, Resolver, Tlsa
from smtp.outbound.mx import Target


@dataclass(frozen=True, slots=True)
class TlsaFound:
    """`base`: the TLSA base domain, which is also the name for SNI (RFC 7672 2.2.3, 8.1)."""

    base: str
    records: tuple[Tlsa, ...]


@dataclass(frozen=True, slots=True)
class TlsaFailed:
    """A question failed that had to be answered: this target may not be used now (RFC 7672 2.1.2)."""

    base: str


async def lookup(resolver: Resolver, target: Target) -> TlsaFound | TlsaFailed | None:
    """None: DANE has no say about this target."""
    if not target.named:
        return None  # RFC 7672 2.2.1: the name itself may be an attacker's
    bases = await _bases(resolver, target)
    if isinstance(bases, TlsaFailed):
        return bases
    for base in bases:
        answer = await resolver.tlsa(f"_{target.port}._tcp.{base}")
        if answer.outcome is Outcome.FAILED:
            return TlsaFailed(base)
        if answer.secure and answer.outcome is Outcome.OK:
            return TlsaFound(base, answer.records)
    return None


async def _bases(resolver: Resolver, target: Target) -> tuple[str, ...] | TlsaFailed:
    """RFC 7672 2.2.2, 2.2.3: the name at the end of validated aliases first, then the one the MX record wrote. Where
    the aliases lead out of the signed world, the first of them may still be signed, and its own name counts."""
    if target.secure:
        return (target.canonical, target.host) if target.canonical else (target.host,)
    if not target.canonical:
        return ()
    alias = await resolver.cname(target.host)
    if alias.outcome is Outcome.FAILED:
        return TlsaFailed(target.host)
    return (target.host,) if alias.secure else ()
