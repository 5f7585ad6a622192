"""How long a login waits because of failures before it (security.md rows 113, 114). Pure bookkeeping on `core.tally`.

Three tiers, counted apart: who tries whom (remote and account), who tries (remote), who is tried (account, by remotes
that never succeeded there). Each delays; none locks: a stranger cannot keep the holder out. With a shared tally all
processes of the machine count together, and a restart forgets nothing. Refuses to know passwords and to sleep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from core.clock import Clock
from core.tally import Tally

DELAYS = (2.0, 4.0, 8.0, 15.0)  # seconds after the first, second, third and any later counted failure
WINDOW = 86400.0  # seconds over which failures are added up, as long as the tier's memory holds
KNOWN_FOR = 30 * 86400.0  # seconds that a success makes a remote known to an account
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
class _Tracks:
    tier: Tier
    tally: Tally

    def _name(self, key: tuple[str, ...]) -> str:
        return "\0".join(("login", self.tier.name, *key))

    def _last(self, name: str, now: float) -> float:
        """When it failed last, 0 when that is forgotten."""
        last = self.tally.last(name)
        return last if now - last <= self.tier.memory else 0.0

    def delay(self, key: tuple[str, ...], now: float, factor: int = 1) -> float:
        """Seconds after the last failure that the next attempt must keep."""
        name = self._name(key)
        if not self._last(name, now):
            return 0.0
        counted = self.tally.seen(name, WINDOW) - self.tier.free * factor
        return DELAYS[min(counted, len(DELAYS)) - 1] if counted > 0 else 0.0

    def wait(self, key: tuple[str, ...], now: float, factor: int = 1) -> float:
        delay = self.delay(key, now, factor)
        return max(0.0, self._last(self._name(key), now) + delay - now) if delay else 0.0

    def fail(self, key: tuple[str, ...], now: float) -> int:
        name = self._name(key)
        if not self._last(name, now):
            self.tally.forget(name)
        return self.tally.add(name, WINDOW)

    def forget(self, key: tuple[str, ...]) -> None:
        self.tally.forget(self._name(key))


class Throttle:
    """`exempt` networks are never delayed. A remote is an IPv4 address or an IPv6 /64. `tally`: the machine's; without
    one this process counts alone."""

    def __init__(
        self, clock: Clock, exempt: Sequence[IPv4Network | IPv6Network] = (), tally: Tally | None = None
    ) -> None:
        self._clock = clock
        self._exempt = tuple(exempt)
        self._tally = tally or Tally.private(clock)
        self._pairs = _Tracks(PAIR, self._tally)
        self._remotes = _Tracks(REMOTE, self._tally)
        self._accounts = _Tracks(ACCOUNT, self._tally)

    def wait(self, remote: str, account: str) -> float:
        """Seconds this attempt must wait before its password is looked at."""
        if self._is_exempt(remote):
            return 0.0
        now, network = self._clock.now(), network_of(remote)
        factor = KNOWN_FACTOR if self._knows(network) else 1
        waits = [
            self._pairs.wait((network, account), now),
            self._remotes.wait((network,), now, factor),
        ]
        if not self._knows(network, account):
            # Not spaced but flat: many strangers together cannot fill a line in which the holder would stand.
            waits.append(self._accounts.delay((account,), now))
        return max(waits)

    def failed(self, remote: str, account: str) -> int:
        """Count one failure; the number of this remote's, for the log's eye on sprays."""
        now, network = self._clock.now(), network_of(remote)
        self._pairs.fail((network, account), now)
        if not self._knows(network, account):
            self._accounts.fail((account,), now)
        return self._remotes.fail((network,), now)

    def succeeded(self, remote: str, account: str) -> None:
        network = network_of(remote)
        self._pairs.forget((network, account))
        for key in ((network,), (network, account)):
            self._tally.remember(_known(key), KNOWN_FOR)

    def _knows(self, *key: str) -> bool:
        return self._tally.recalls(_known(key))

    def _is_exempt(self, remote: str) -> bool:
        try:
            address = ip_address(remote)
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return any((mapped or address) in network for network in self._exempt)


def _known(key: tuple[str, ...]) -> str:
    return "\0".join(("login known", *key))


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
