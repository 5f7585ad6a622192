"""How long a login waits because of failures before it (security.md rows 113, 114). Pure bookkeeping on a clock.

Three tiers, counted apart: who tries whom (remote and account), who tries (remote), who is tried (account, by remotes
that never succeeded there). Each delays; none locks: a stranger cannot keep the holder out. Memory is bounded and
forgets. Refuses to know passwords and to sleep.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from core.clock import Clock

DELAYS = (2.0, 4.0, 8.0, 15.0)  # seconds after the first, second, third and any later counted failure
MAX_TRACKS = 20_000  # of each tier; the oldest is forgotten
KNOWN_FOR = 30 * 86400.0  # seconds that a success makes a remote known to an account
MAX_KNOWN = 20_000
KNOWN_FACTOR = 10  # a whole mairie sits behind one address: tenfold patience where somebody of it logged in


@dataclass(frozen=True, slots=True)
class Tier:
    """`free` failures cost nothing; a track without failure for `memory` seconds is forgotten."""

    name: str
    free: int
    memory: float


PAIR = Tier("pair", free=0, memory=900.0)
REMOTE = Tier("remote", free=20, memory=900.0)
ACCOUNT = Tier("account", free=50, memory=3600.0)


@dataclass(slots=True)
class _Track:
    failures: int = 0
    last: float = 0.0


@dataclass(slots=True)
class _Tracks:
    tier: Tier
    items: OrderedDict[tuple[str, ...], _Track] = field(default_factory=OrderedDict)

    def delay(self, key: tuple[str, ...], now: float, factor: int = 1) -> float:
        """Seconds after the last failure that the next attempt must keep."""
        track = self.items.get(key)
        if track is None or now - track.last > self.tier.memory:
            return 0.0
        counted = track.failures - self.tier.free * factor
        return DELAYS[min(counted, len(DELAYS)) - 1] if counted > 0 else 0.0

    def wait(self, key: tuple[str, ...], now: float, factor: int = 1) -> float:
        delay = self.delay(key, now, factor)
        return max(0.0, self.items[key].last + delay - now) if delay else 0.0

    def fail(self, key: tuple[str, ...], now: float) -> int:
        track = self.items.setdefault(key, _Track())
        track.failures = 1 if now - track.last > self.tier.memory else track.failures + 1
        track.last = now
        self.items.move_to_end(key)
        if len(self.items) > MAX_TRACKS:
            self.items.popitem(last=False)
        return track.failures


class Throttle:
    """`exempt` networks are never delayed. A remote is an IPv4 address or an IPv6 /64."""

    def __init__(self, clock: Clock, exempt: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._clock = clock
        self._exempt = tuple(exempt)
        self._pairs = _Tracks(PAIR)
        self._remotes = _Tracks(REMOTE)
        self._accounts = _Tracks(ACCOUNT)
        self._known: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def wait(self, remote: str, account: str) -> float:
        """Seconds this attempt must wait before its password is looked at."""
        if self._is_exempt(remote):
            return 0.0
        now, network = self._clock.monotonic(), network_of(remote)
        factor = KNOWN_FACTOR if self._knows((network,), now) else 1
        waits = [
            self._pairs.wait((network, account), now),
            self._remotes.wait((network,), now, factor),
        ]
        if not self._knows((network, account), now):
            # Not spaced but flat: many strangers together cannot fill a line in which the holder would stand.
            waits.append(self._accounts.delay((account,), now))
        return max(waits)

    def failed(self, remote: str, account: str) -> int:
        """Count one failure; the number of this remote's, for the log's eye on sprays."""
        now, network = self._clock.monotonic(), network_of(remote)
        self._pairs.fail((network, account), now)
        if not self._knows((network, account), now):
            self._accounts.fail((account,), now)
        return self._remotes.fail((network,), now)

    def succeeded(self, remote: str, account: str) -> None:
        now, network = self._clock.monotonic(), network_of(remote)
        self._pairs.items.pop((network, account), None)
        for key in ((network,), (network, account)):
            self._known[key] = now
            self._known.move_to_end(key)
        while len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def _knows(self, key: tuple[str, ...], now: float) -> bool:
        since = self._known.get(key)
        return since is not None and now - since < KNOWN_FOR

    def _is_exempt(self, remote: str) -> bool:
        try:
            address = ip_address(remote)
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return any((mapped or address) in network for network in self._exempt)


def network_of(remote: str) -> str:
    """What counts as one peer: an IPv4 address (also mapped into IPv6), an IPv6 /64; other text as it is."""
    try:
        address = ip_address(remote)
    except ValueError:
        return remote
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
