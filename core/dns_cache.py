"""What DNS said lately, bounded in entries and octets, least recently used out first.

Knows time and size; knows nothing of DNS messages. TTLs are held between a floor and a ceiling, so that a zone with
TTL 0 cannot make us ask for every recipient, and a zone with TTL 68 years cannot fool us for long.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from core.clock import Clock
from core.resolver import Answer

FLOOR = 5.0
CEILING = 3600.0
FADING = 0.1  # of its life, the last part: whoever asks then has it asked for again (as unbound's `prefetch` does)


@dataclass(slots=True)
class _Entry:
    answer: Answer[Any]  # the caller's key fixes the type of the records
    expires: float
    fades: float
    octets: int


class DnsCache:
    """Keys are (name, type). Not thread-safe: it lives on one event loop."""

    def __init__(self, clock: Clock, *, entries: int = 20_000, octets: int = 32 * 1024 * 1024) -> None:
        self._clock = clock
        self._entries = entries
        self._bound = octets
        self._octets = 0
        self._kept: OrderedDict[tuple[str, str], _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: tuple[str, str]) -> Answer[Any] | None:
        entry = self._fresh(key, self._clock.monotonic())
        return None if entry is None else entry.answer

    def asked(self, key: tuple[str, str]) -> tuple[Answer[Any] | None, bool]:
        """As `get`; and whether the answer fades, which is told once of each that will not be kept for long."""
        entry, now = self._kept.get(key), self._clock.monotonic()
        if entry is not None and now < entry.fades:
            self._kept.move_to_end(key)
            return entry.answer, False
        entry = self._fresh(key, now)
        if entry is None:
            return None, False
        entry.fades = entry.expires
        return entry.answer, True

    def _fresh(self, key: tuple[str, str], now: float) -> _Entry | None:
        entry = self._kept.get(key)
        if entry is None:
            return None
        if entry.expires <= now:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return entry

    def put(self, key: tuple[str, str], answer: Answer[Any], ttl: float, octets: int) -> None:
        """Keep `answer` for `ttl` seconds (held between FLOOR and CEILING); `octets` is what it weighs."""
        self._drop(key)
        life = min(max(ttl, FLOOR), CEILING)
        expires = self._clock.monotonic() + life
        fades = expires - FADING * life
        self._kept[key] = _Entry(replace(answer, until=fades), expires, fades, octets)
        self._octets += octets
        while self._kept and (len(self._kept) > self._entries or self._octets > self._bound):
            self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[str, str]) -> None:
        entry = self._kept.pop(key, None)
        if entry is not None:
            self._octets -= entry.octets
