"""Who may connect how often: per address before login, per account after it (security.md section 2, Decided).

`LocalSeats` counts the connections of one process; a counter shared by the machine's workers replaces it behind
`imap.session.Seats`.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from ipaddress import IPv4Address, ip_address, ip_network

from core.config import Limits
from imap.session import Seats


class Admission:
    """The seat of one connection: counted for its address until login, for its account afterwards."""

    def __init__(self, seats: Seats, address: str) -> None:
        self._seats = seats
        self.address = address
        self.account_id: str | None = None
        self._held = seats.take_address(address)

    @property
    def granted(self) -> bool:
        return self._held

    def log_in(self, account_id: str) -> bool:
        """Change seats; False when the account has none left."""
        if not self._seats.take_account(account_id, self.address):
            return False
        self._seats.leave_address(self.address)
        self.account_id = account_id
        return True

    def leave(self) -> None:
        """Idempotent."""
        if not self._held:
            return
        self._held = False
        if self.account_id is None:
            self._seats.leave_address(self.address)
        else:
            self._seats.leave_account(self.account_id, self.address)


class LocalSeats:
    """Nobody in `limits.exempt` is turned away. An IPv6 peer is its /64, as a host has all of one."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._addresses: Counter[str] = Counter()
        self._networks: Counter[str] = Counter()
        self._accounts: Counter[str] = Counter()

    def use(self, limits: Limits) -> None:
        """The bounds from now on: a reload's. Who sits keeps his seat."""
        self._limits = limits

    def take_address(self, address: str) -> bool:
        host, network = _groups(address)
        if not self._take(self._addresses, host, address, self._limits.connections_per_address):
            return False
        if self._take(self._networks, network, address, self._limits.connections_per_network):
            return True
        self._leave(self._addresses, host)
        return False

    def leave_address(self, address: str) -> None:
        host, network = _groups(address)
        self._leave(self._addresses, host)
        self._leave(self._networks, network)

    def take_account(self, account_id: str, address: str) -> bool:
        return self._take(self._accounts, account_id, address, self._limits.imap_connections_per_account)

    def leave_account(self, account_id: str, address: str) -> None:
        self._leave(self._accounts, account_id)

    def _take(self, counts: Counter[str], key: str, address: str, limit: int) -> bool:
        if counts[key] >= limit and not self._exempt(address):
            return False
        counts[key] += 1
        return True

    @staticmethod
    def _leave(counts: Counter[str], key: str) -> None:
        counts[key] -= 1
        if counts[key] <= 0:
            del counts[key]

    def _exempt(self, address: str) -> bool:
        peer = ip_address(address)
        return any(peer in network for network in self._limits.exempt_networks)


@lru_cache(maxsize=4096)
def _groups(address: str) -> tuple[str, str]:
    """The host and the network that are counted: the address and its /24, for IPv6 the /64 and the /56."""
    peer = ip_address(address)
    host, network = (32, 24) if isinstance(peer, IPv4Address) else (64, 56)
    return str(ip_network((peer, host), strict=False)), str(ip_network((peer, network), strict=False))
