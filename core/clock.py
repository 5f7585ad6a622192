"""Time as an argument, so that tests need no patching and a clock that jumps harms no timer (fault 163)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the Unix epoch: what headers, file names and queue ages tell."""

    def monotonic(self) -> float:
        """Seconds that never go back: what timeouts and rates count."""


class SystemClock:
    """The machine's clocks themselves: each message asks them some thirty times."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


@dataclass
class ManualClock:
    """A clock that tests move by hand; both faces start at `at` and move together unless `now` is set."""

    at: float = 1_790_000_000.0
    ticks: float = field(default=0.0)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.ticks

    def advance(self, seconds: float) -> None:
        self.at += seconds
        self.ticks += seconds
