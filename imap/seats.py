"""Who may connect how often: per address before login, per account after it (security.md section 2, Decided).

Counted by `core.tally`, once per machine; three widening circles before login.
"""

from __future__ import annotations

from core.clock import SystemClock
from core.config import Limits
from core.networks import circles, within
from core.tally import Tally
from imap.doors import Seats


class Admission:
    """The seat of one connection: counted for its address until login, for its account afterwards."""

    __slots__ = ("_held", "_seats", "account_id", "address")

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

    def log_out(self) -> bool:
        """Back to the address' seats; False when it has none left: the connection then ends with the account's."""
        if self.account_id is None or not self._seats.take_address(self.address):
            return False
        self._seats.leave_account(self.account_id)
        self.account_id = None
        return True

    def leave(self) -> None:
        """Idempotent."""
        if not self._held:
            return
        self._held = False
        if self.account_id is None:
            self._seats.leave_address(self.address)
        else:
            self._seats.leave_account(self.account_id)


class TallySeats:
    """`TallySeats(limits, tally)`: with a shared tally the seats of the machine, with a private one of this process.
    Nobody in `limits.exempt` is turned away. An IPv6 peer is its /64, as a host has all of one."""

    def __init__(self, limits: Limits, tally: Tally | None = None) -> None:
        self._limits = limits
        self._tally = tally or Tally.private(SystemClock())

    def use(self, limits: Limits) -> None:
        """The bounds from now on: a reload's. Who sits keeps his seat."""
        self._limits = limits

    def take_address(self, address: str) -> bool:
        limits = self._limits
        most = (limits.connections_per_address, limits.connections_per_network, limits.connections_per_region)
        names = _names(address)
        full = any(self._tally.inside(name) >= limit for name, limit in zip(names, most, strict=True))
        if full and not self._exempt(address):
            return False
        for name in names:
            self._tally.enter(name)
        return True

    def leave_address(self, address: str) -> None:
        for name in _names(address):
            self._tally.leave(name)

    def take_account(self, account_id: str, address: str) -> bool:
        name = f"imap-account {account_id}"
        if self._tally.inside(name) >= self._limits.imap_connections_per_account and not self._exempt(address):
            return False
        self._tally.enter(name)
        return True

    def leave_account(self, account_id: str) -> None:
        self._tally.leave(f"imap-account {account_id}")

    def _exempt(self, address: str) -> bool:
        return within(address, self._limits.exempt_networks)


def _names(address: str) -> list[str]:
    return [f"imap {circle}" for circle in circles(address)]
