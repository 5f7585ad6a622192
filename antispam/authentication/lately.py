"""What was found out by DNS a moment ago, for as long as each answer that it came from may be believed.

A server sends more than one message, and a domain has more than one writer: the same answers would give the same again.
Knows nothing of what is found.
"""

from __future__ import annotations

from collections.abc import Coroutine, Hashable
from math import inf
from typing import Any, Generic, TypeVar

from core.clock import Clock
from core.resolver import Answer, Mx, Resolver, Srv, Tlsa

KEPT = 1024  # findings of each kind, of some hundred octets
T = TypeVar("T")
Asking = Coroutine[Any, Any, Answer[T]]


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

    async def _seen(self, asked: Asking[T]) -> Answer[T]:
        self._unanswered += 1
        answer = await asked
        self._unanswered -= 1
        if answer.until < self._until:
            self._until = answer.until
        return answer

    async def _read(self, asked: Asking[bytes]) -> Answer[bytes]:
        answer = await self._seen(asked)
        if b"%" in b"".join(answer.records):
            self._until = 0.0
        return answer

    # None is a coroutine of its own, as those of `core.dns.DnsResolver`.

    def txt(self, name: str) -> Asking[bytes]:
        return self._read(self._resolver.txt(name))

    def a(self, name: str) -> Asking[str]:
        return self._seen(self._resolver.a(name))

    def aaaa(self, name: str) -> Asking[str]:
        return self._seen(self._resolver.aaaa(name))

    def mx(self, name: str) -> Asking[Mx]:
        return self._seen(self._resolver.mx(name))

    def ptr(self, address: str) -> Asking[str]:
        return self._seen(self._resolver.ptr(address))

    def tlsa(self, name: str) -> Asking[Tlsa]:
        return self._seen(self._resolver.tlsa(name))

    def srv(self, name: str) -> Asking[Srv]:
        return self._seen(self._resolver.srv(name))

    def cname(self, name: str) -> Asking[str]:
        return self._seen(self._resolver.cname(name))
