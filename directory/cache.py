"""A small memory of positive answers: bounded, forgotten whole after each change made here or seen elsewhere.

Absence is never kept, so a new address counts at once in every process; a removed or suspended one within the 2 s after
which `directory.lookups` looks at the directory's version again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from core.clock import Clock

V = TypeVar("V")
TTL = 600.0  # seconds; the directory's version tells of every change long before
SIZE = 10_000


class Cache(Generic[V]):
    """Take `epoch` before asking the database and give it back with the answer: what was read before a change is not
    kept after it."""

    def __init__(self, clock: Clock, *, ttl: float = TTL, size: int = SIZE) -> None:
        self._clock = clock
        self._ttl = ttl
        self._size = size
        self._items: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()
        self.epoch = 0

    def get(self, key: Hashable) -> V | None:
        kept = self._items.get(key)
        return kept[1] if kept and self._clock.monotonic() < kept[0] else None

    def put(self, key: Hashable, value: V, epoch: int) -> None:
        if epoch != self.epoch:
            return
        self._items[key] = (self._clock.monotonic() + self._ttl, value)
        self._items.move_to_end(key)
        if len(self._items) > self._size:
            self._items.popitem(last=False)

    def clear(self) -> None:
        self.epoch += 1
        self._items.clear()
