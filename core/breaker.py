"""A circuit breaker: a dependency that failed several times in a row is left alone for a while (faults 160, 161).

Knows the clock only, not what failed. After the rest callers are let through again; the first failure among them
starts the next rest, the first success ends it all. With a shared `Tally` and a `name`, what one process found out
spares the others their own five failures.
"""

from __future__ import annotations

from core.clock import Clock
from core.tally import Tally


class Breaker:
    """Counts failures in a row; open (closed to callers) for `rest` seconds after `threshold` of them."""

    def __init__(
        self, clock: Clock, *, threshold: int = 5, rest: float = 10.0, tally: Tally | None = None, name: str = ""
    ) -> None:
        self._clock = clock
        self._threshold = threshold
        self._rest = rest
        self._failures = 0
        self._until = 0.0
        self._tally = tally
        self._mark = f"breaker {name}"

    @property
    def available(self) -> bool:
        if self._failures >= self._threshold:
            return self._clock.monotonic() >= self._until
        return self._tally is None or not self._tally.recalls(self._mark)

    @property
    def doubtful(self) -> bool:
        """Whether the next failure starts a rest: the moment to make sure that it is the dependency that fails."""
        return self._failures + 1 >= self._threshold

    def succeeded(self) -> None:
        if self._failures >= self._threshold and self._tally is not None:
            self._tally.forget(self._mark)
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= self._threshold:
            self._until = self._clock.monotonic() + self._rest
            if self._tally is not None:
                self._tally.remember(self._mark, self._rest)
