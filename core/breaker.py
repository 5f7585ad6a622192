"""A circuit breaker: a dependency that failed several times in a row is left alone for a while (faults 160, 161).

Knows the clock only, not what failed. After the rest callers are let through again; the first failure among them
starts the next rest, the first success ends it all.
"""

from __future__ import annotations

from core.clock import Clock


class Breaker:
    """Counts failures in a row; open (closed to callers) for `rest` seconds after `threshold` of them."""

    def __init__(self, clock: Clock, *, threshold: int = 5, rest: float = 10.0) -> None:
        self._clock = clock
        self._threshold = threshold
        self._rest = rest
        self._failures = 0
        self._until = 0.0

    @property
    def available(self) -> bool:
        return self._failures < self._threshold or self._clock.monotonic() >= self._until

    @property
    def doubtful(self) -> bool:
        """Whether the next failure starts a rest: the moment to make sure that it is the dependency that fails."""
        return self._failures + 1 >= self._threshold

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= self._threshold:
            self._until = self._clock.monotonic() + self._rest
