"""Who may come in: connections and their rates in three widening circles, bans, places of accounts, all counted once
per machine (security.md rows 35, 36, 39; section 2, Decided).

Decides by `core.tally`'s numbers and the limits; refuses to know sockets. Networks in `limits.exempt` always get in,
so that a flood of strangers does not shut out the operator's partners.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from operator import ge, gt
from typing import Protocol

from core import reputation
from core.clock import SystemClock
from core.config import Limits
from core.networks import circles, within
from core.tally import Tally

RATE_WINDOW = 60.0  # seconds; the limits of rates are per minute
HARVEST_WINDOW = 600.0
HARVEST_MINIMUM = 20  # who asks for more unknown users than this, most of them unknown, is harvesting (Decided)
HARVEST_SHARE = 0.8
STRESS = 0.8  # of `limits.smtp_connections`: from here on patience is short
EVERYBODY = "smtp"


class Refusal(Enum):
    """Why somebody stays outside."""

    CONNECTIONS = "connections"  # too many from this address or its neighbours
    RATE = "rate"  # too many within a minute
    BANNED = "banned"  # for harvesting
    FULL = "full"  # too many from all the world


class Gate(Protocol):
    """Counts of all sessions of a machine."""

    @property
    def stressed(self) -> bool:
        """Nearly all places are taken: strangers get little time and few errors."""

    def enter(self, address: str) -> Refusal | None:
        """None: in, and counted until `leave`. Otherwise nothing is counted but the attempt."""

    def leave(self, address: str) -> None: ...

    def seat(self, account_id: str, address: str, *, instead_of: str = "") -> bool:
        """A place for a session that logged in, for the one it had as a stranger or under an earlier login (its account
        id). False: none left, nothing has changed."""

    def unseat(self, account_id: str) -> None: ...

    def recipient(self, address: str, *, known: bool) -> bool:
        """A stranger asked for one recipient. True: it harvests addresses, and is banned from now on."""

    def trusted(self, address: str) -> bool:
        """Mail from there was vouched for in the last 30 days, or the operator exempted it: never a harvester."""


class OpenGate:
    """For doors that only the operator's own servers reach (LMTP)."""

    stressed = False

    def enter(self, address: str) -> Refusal | None:
        return None

    def leave(self, address: str) -> None: ...

    def seat(self, account_id: str, address: str, *, instead_of: str = "") -> bool:
        return True

    def unseat(self, account_id: str) -> None: ...

    def recipient(self, address: str, *, known: bool) -> bool:
        return False

    def trusted(self, address: str) -> bool:
        return True


class TallyGate:
    """`TallyGate(limits, tally)`: with a shared tally the gate of the machine, with a private one of this process."""

    def __init__(self, limits: Limits, tally: Tally | None = None) -> None:
        self._limits = limits
        self._tally = tally or Tally.private(SystemClock())

    def use(self, limits: Limits) -> None:
        """The bounds from now on: a reload's. Who is in stays in."""
        self._limits = limits

    @property
    def stressed(self) -> bool:
        return self._tally.inside(EVERYBODY) > STRESS * self._limits.smtp_connections

    def enter(self, address: str) -> Refusal | None:
        refusal = None if within(address, self._limits.exempt_networks) else self._refusal(address)
        if refusal is None:
            self._tally.enter(EVERYBODY)
            for name in _names(address):
                self._tally.enter(name)
        return refusal

    def leave(self, address: str) -> None:
        self._tally.leave(EVERYBODY)
        for name in _names(address):
            self._tally.leave(name)

    def seat(self, account_id: str, address: str, *, instead_of: str = "") -> bool:
        if account_id == instead_of:
            return True
        name, most = f"smtp-account {account_id}", self._limits.submission_connections_per_account
        if self._tally.inside(name) >= most and not within(address, self._limits.exempt_networks):
            return False
        self._tally.enter(name)
        if instead_of:
            self.unseat(instead_of)
        else:
            self.leave(address)
        return True

    def unseat(self, account_id: str) -> None:
        self._tally.leave(f"smtp-account {account_id}")

    def recipient(self, address: str, *, known: bool) -> bool:
        host = circles(address).host
        if known:
            self._tally.count(f"rcpt {host}", HARVEST_WINDOW)
            return False
        asked = self._tally.add(f"rcpt {host}", HARVEST_WINDOW)
        unknown = self._tally.add(f"rcpt-unknown {host}", HARVEST_WINDOW)
        if unknown <= HARVEST_MINIMUM or unknown <= HARVEST_SHARE * asked or self.trusted(address):
            return False
        self._tally.remember(f"ban {host}", self._limits.harvest_ban)
        return True

    def trusted(self, address: str) -> bool:
        return reputation.vouched(self._tally, address) or within(address, self._limits.exempt_networks)

    def _refusal(self, address: str) -> Refusal | None:
        limits, tally = self._limits, self._tally
        names = _names(address)
        most = (limits.connections_per_address, limits.connections_per_network, limits.connections_per_region)
        rates = (limits.connection_rate_address, limits.connection_rate_network, limits.connection_rate_region)
        # Each attempt counts, refused ones too: who goes on knocking stays outside.
        counts = [tally.add(name, RATE_WINDOW) for name in names]
        if tally.recalls(f"ban {circles(address).host}"):
            return Refusal.BANNED
        if any(map(gt, counts, rates)):
            return Refusal.RATE
        if any(map(ge, map(tally.inside, names), most)):
            return Refusal.CONNECTIONS
        return Refusal.FULL if tally.inside(EVERYBODY) >= limits.smtp_connections else None


@lru_cache(maxsize=4096)  # asked when a connection begins and when it ends
def _names(address: str) -> tuple[str, ...]:
    return tuple([f"smtp {circle}" for circle in circles(address)])
