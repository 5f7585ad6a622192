"""Notices that nothing gets out: port 25 blocked on the way, a route gone, an address family that leads nowhere
(fault 165). One dead server is ordinary; many different ones in a row, and none alive, is our own trouble.

Knows connections that came about and those that did not; the operator hears of it once an hour.
"""

from __future__ import annotations

from core.clock import Clock
from core.log import get

MANY = 20  # different servers in a row
PAUSE = 3600.0  # seconds between two alarms

_log = get(__name__)


class Egress:
    """One per process, for each address family by itself."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failed: dict[bool, set[str]] = {False: set(), True: set()}
        self._told: dict[bool, float] = {}

    def connected(self, address: str) -> None:
        self._failed[":" in address].clear()

    def failed(self, address: str) -> None:
        six = ":" in address
        failed = self._failed[six]
        if len(failed) < MANY:
            failed.add(address)
        now = self._clock.monotonic()
        if len(failed) >= MANY and now - self._told.get(six, float("-inf")) >= PAUSE:
            self._told[six] = now
            _log.error("egress-blocked", family="IPv6" if six else "IPv4", servers=len(failed))
