"""What was found out by DNS a moment ago, for as long as each answer that it came from may be believed.

A server sends more than one message, and a domain has more than one writer: the same answers would give the same again.
Knows nothing of what is found.
"""

from __future__ import annotations

from collections.abc import Awaitable, Hashable
from math import inf
from typing import Generic, TypeVar

from core.clock import Clock
from core.resolver import Answer, Mx, Resolver, Srv, Tlsa

KEPT = 1024  # findings of each kind, of some hundred octets
T = TypeVar("T")


class Lately(Generic[T]):
    """The newest `KEPT` findings."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[Hashable, tuple[T, float]] = {}

    def get(self, key: Hashable) -> T | None:
        kept = self._kept.get(key)
        return kept[0] if kept is not None and self._clock.monotonic() < kept[1] else None

    def keep(self, key: Hashable, found: T, watched: Watched) -> None:
        """`watched`: what was asked for it. Without any answer there is nothing to be believed."""
        self._kept.pop(key, None)
        if self._clock.monotonic() < watched.until < inf:
            self._kept[key] = found, watched.until
            if len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]


class Watched:
    """A resolver that tells until when all its answers hold. A text with a macro of SPF may ask for what is of one
    message alone, its sender's name (RFC 7208 7.2): what came of it holds for nothing else."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._until = inf
        self._unanswered = 0  # an answer that nobody waited for might have said anything

    @property
    def until(self) -> float:
        return 0.0 if self._unanswered else self._until

    @property
    def crowded(self) -> bool:
        return self._resolver.crowded

    async def _seen(self, asked: Awaitable[Answer[T]]) -> Answer[T]:
        self._unanswered += 1
        answer = await asked
        self._unanswered -= 1
        self._until = min(self._until, answer.until)
        return answer

    async def txt(self, name: str) -> Answer[bytes]:
        answer = await self._seen(self._resolver.txt(name))
        if any(b"%" in record for record in answer.records):
            self._until = 0.0
        return answer

    async def a(self, name: str) -> Answer[str]:
        return await self._seen(self._resolver.a(name))

    async def aaaa(self, name: str) -> Answer[str]:
        return await self._seen(self._resolver.aaaa(name))

    async def mx(self, name: str) -> Answer[Mx]:
        return await self._seen(self._resolver.mx(name))

    async def ptr(self, address: str) -> Answer[str]:
        return await self._seen(self._resolver.ptr(address))

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        return await self._seen(self._resolver.tlsa(name))

    async def srv(self, name: str) -> Answer[Srv]:
        return await self._seen(self._resolver.srv(name))

    async def cname(self, name: str) -> Answer[str]:
        return await self._seen(self._resolver.cname(name))
