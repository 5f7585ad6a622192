"""Does the client's address lead to a name that leads back to it (RFC 8601 3). The name goes into Received."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from antispam.types import Iprev, Result
from core.domain import DomainError, to_ascii
from core.networks import parsed, plain_address
from core.resolver import Outcome, Resolver
from core.waiting import within

MAX_NAMES = 10
TIMEOUT = 10.0


async def check(address: str, resolver: Resolver, *, timeout: float = TIMEOUT) -> Iprev:
    """`address` is the peer's. Only a confirmed and well-formed name is ever told (promise P9)."""
    try:
        return await within(timeout, _check(address, resolver))
    except TimeoutError:
        return Iprev(Result.TEMPERROR)


async def _check(address: str, resolver: Resolver) -> Iprev:
    client = parse_address(address)
    if client is None:
        return Iprev(Result.NONE)
    plain = plain_address(address)
    answer = await resolver.ptr(plain)
    if answer.outcome is Outcome.FAILED:
        return Iprev(Result.TEMPERROR)
    if not answer.records:
        return Iprev(Result.PERMERROR)  # RFC 8601 3: no name published
    doubt = False
    for name in answer.records[:MAX_NAMES]:
        forward = await (resolver.a(name) if client.version == 4 else resolver.aaaa(name))
        doubt = doubt or forward.outcome is Outcome.FAILED
        there = plain in forward.records or any(parsed(text) == client for text in forward.records)
        if there and _is_host(name):
            return Iprev(Result.PASS, name)
    return Iprev(Result.TEMPERROR if doubt else Result.FAIL)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """A peer's address; None for a peer that has none (local mail)."""
    try:
        return parsed(text)
    except ValueError:
        return None


def _is_host(name: str) -> bool:
    try:
        to_ascii(name)
    except DomainError:
        return False
    return True
