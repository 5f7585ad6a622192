"""Who may come in: connections and their rates in three widening circles, bans, places of accounts, all counted once
per machine (security.md rows 35, 36, 39; section 2, Decided).

Decides by `core.tally`'s numbers and the limits; refuses to know sockets. Networks in `limits.exempt` always get in,
so that a flood of strangers does not shut out the operator's partners.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from operator import ge, gt
from typing import NamedTuple, Protocol

from core import reputation
from core.clock import SystemClock
from core.config import Limits
from core.networks import circles, within
from core.tally import Tally
from core.tally_slots import Key

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


class _Peer(NamedTuple):
    """What an address is counted by."""

    circles: tuple[Key, ...]  # how often it comes
    places: tuple[Key, ...]  # where it is inside
    ban: Key
    asked: Key  # how many recipients it asked for
    exempt: bool


class TallyGate:
    """`TallyGate(limits, tally)`: with a shared tally the gate of the machine, with a private one of this process."""

    def __init__(self, limits: Limits, tally: Tally | None = None) -> None:
        self._tally = tally or Tally.private(SystemClock())
        self.use(limits)

    def use(self, limits: Limits) -> None:
        """The bounds from now on: a reload's. Who is in stays in."""
        self._limits = limits
        self._most = (limits.connections_per_address, limits.connections_per_network, limits.connections_per_region)
        self._rates = (limits.connection_rate_address, limits.connection_rate_network, limits.connection_rate_region)
        self._peer = lru_cache(maxsize=1024)(self._known)  # asked when a connection begins and when it ends

    def _known(self, address: str) -> _Peer:
        key, around = self._tally.key, circles(address)
        own = tuple([key(f"smtp {circle}") for circle in around])
        exempt = within(address, self._limits.exempt_networks)
        return _Peer(own, (key(EVERYBODY), *own), key(f"ban {around.host}"), key(f"rcpt {around.host}"), exempt)

    @property
    def stressed(self) -> bool:
        return self._tally.inside(EVERYBODY) > STRESS * self._limits.smtp_connections

    def enter(self, address: str) -> Refusal | None:
        peer = self._peer(address)
        refusal = None if peer.exempt else self._refusal(peer)
        if refusal is None:
            self._tally.step(peer.places, 1)
        return refusal

    def leave(self, address: str) -> None:
        self._tally.step(self._peer(address).places, -1)

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
        if known:
            self._tally.counted(self._peer(address).asked, HARVEST_WINDOW)
            return False
        host = circles(address).host
        asked = self._tally.add(f"rcpt {host}", HARVEST_WINDOW)
        unknown = self._tally.add(f"rcpt-unknown {host}", HARVEST_WINDOW)
        if unknown <= HARVEST_MINIMUM or unknown <= HARVEST_SHARE * asked or self.trusted(address):
            return False
        self._tally.remember(f"ban {host}", self._limits.harvest_ban)
        return True

    def trusted(self, address: str) -> bool:
        return reputation.vouched(self._tally, address) or within(address, self._limits.exempt_networks)

    def _refusal(self, peer: _Peer) -> Refusal | None:
        tally = self._tally
        # Each attempt counts, refused ones too: who goes on knocking stays outside.
        counts = tally.adds(peer.circles, RATE_WINDOW)
        if tally.marked(peer.ban):
            return Refusal.BANNED
        if any(map(gt, counts, self._rates)):
            return Refusal.RATE
        if any(map(ge, tally.insides(peer.circles), self._most)):
            return Refusal.CONNECTIONS
        return Refusal.FULL if tally.inside(EVERYBODY) >= self._limits.smtp_connections else None
