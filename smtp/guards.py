"""What keeps one peer from being a burden to the others: counters and rules, pure, with the clock as an argument.

Errors, junk and refused recipients per session, connections per address and network, the least speed of DATA, and
foreign protocols (security.md rows 15, 16, 35, 36, 39). Defaults are Postfix's; the bounds come from `core.config`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Protocol

from core.config import Limits

TARPIT = 1.0  # seconds before each reply once a session has made too many errors
MAX_TARPIT = 10.0  # for recipients that do not exist the wait grows up to here
LOGIN_FAILURES = 3  # per session; the directory slows down across sessions
SUSPECT_SHARE = 0.5  # refused among asked recipients above which each further refusal takes longer
HARVEST_MINIMUM = 20  # a session that asks for more unknown users than this, most of them unknown, is ended
HARVEST_SHARE = 0.8
RATE_GRACE = 30.0  # seconds of waiting for data before its speed is judged

# What other protocols say first: HTTP, HTTP/2, PROXY, SSH, a TLS ClientHello (row 16; ALPACA, row 33).
_FOREIGN = re.compile(
    rb"(?:GET|POST|HEAD|PUT|DELETE|OPTIONS|CONNECT|TRACE|PATCH|PRI) [^\r\n]*HTTP/|PRI \* |PROXY |\r\n\r\n\0\r\nQUIT\n"
    rb"|SSH-|\x16\x03",
    re.IGNORECASE,
)


def foreign_protocol(first: bytes) -> bool:
    """Whether the first octets of a connection belong to another protocol than SMTP."""
    return _FOREIGN.match(first) is not None


@dataclass(slots=True)
class Budget:
    """What one session has used up. Each method says what to do now: wait (seconds) and whether to end it."""

    limits: Limits
    errors: int = 0
    junk: int = 0
    login_failures: int = 0
    refused_recipients: int = 0
    accepted_recipients: int = 0

    def error(self) -> tuple[float, bool]:
        self.errors += 1
        wait = TARPIT if self.errors > self.limits.errors_soft else 0.0
        return wait, self.errors >= self.limits.errors_hard

    def login_failed(self) -> tuple[float, bool]:
        self.login_failures += 1
        return TARPIT, self.login_failures >= LOGIN_FAILURES

    def junk_command(self) -> bool:
        """NOOP, RSET, HELP and their like since the last message; True: end the session."""
        self.junk += 1
        return self.junk > self.limits.junk_commands

    def recipient_refused(self) -> tuple[float, bool]:
        """A list with a few dead addresses is ordinary; many unknown among few known is harvesting (row 39)."""
        self.refused_recipients += 1
        beyond = self.refused_recipients - self.limits.errors_soft
        asked = self.refused_recipients + self.accepted_recipients
        suspect = beyond > 0 and self.refused_recipients > SUSPECT_SHARE * asked
        wait = min(TARPIT * beyond, MAX_TARPIT) if suspect else 0.0
        harvesting = self.refused_recipients > HARVEST_MINIMUM and self.refused_recipients > HARVEST_SHARE * asked
        return wait, harvesting

    def recipient_accepted(self) -> None:
        self.accepted_recipients += 1

    def mail_received(self) -> None:
        self.junk = 0


@dataclass(slots=True)
class RateMeter:
    """The speed of a peer, counting only the time in which we waited for it (`minimum` in octets per second)."""

    minimum: float
    waited: float = 0.0
    octets: int = 0

    def add(self, seconds: float, octets: int) -> None:
        self.waited += seconds
        self.octets += octets

    @property
    def too_slow(self) -> bool:
        return self.waited > RATE_GRACE and self.octets < self.minimum * self.waited


def plain_address(text: str) -> str:
    """An IPv4 address inside IPv6 in its own spelling, without zone: one peer, one name (row 57)."""
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


class Gate(Protocol):
    """Counts open connections; one place per machine may stand behind it."""

    def enter(self, address: str) -> bool:
        """False: too many from this address or network; nothing was counted."""

    def leave(self, address: str) -> None: ...


class LocalGate:
    """The count of one process: per address (IPv6: per /64) and per /24 or /56."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: Counter[str] = Counter()

    def use(self, limits: Limits) -> None:
        """The bounds from now on: a reload's. Who is in stays in."""
        self._limits = limits

    def enter(self, address: str) -> bool:
        host, network = _groups(address)
        full = (
            self._open[host] >= self._limits.connections_per_address
            or self._open[network] >= self._limits.connections_per_network
        )
        if full and not self._exempt(address):
            self._forget_zero(host, network)
            return False
        self._open[host] += 1
        self._open[network] += 1
        return True

    def leave(self, address: str) -> None:
        groups = _groups(address)
        for group in groups:
            self._open[group] -= 1
        self._forget_zero(*groups)

    def _forget_zero(self, *groups: str) -> None:
        for group in groups:
            if self._open[group] <= 0:
                del self._open[group]

    def _exempt(self, address: str) -> bool:
        return exempt(address, self._limits)


def exempt(address: str, limits: Limits) -> bool:
    """Whether the operator freed this network from connection and rate limits."""
    peer = ip_address(address)
    return any(peer.version == network.version and peer in network for network in limits.exempt_networks)


@lru_cache(maxsize=4096)
def _groups(address: str) -> tuple[str, str]:
    peer = ip_address(address)
    host, network = (32, 24) if isinstance(peer, IPv4Address) else (64, 56)
    return str(ip_network((peer, host), strict=False)), str(ip_network((peer, network), strict=False))
