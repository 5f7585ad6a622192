"""Which peers are one: the widening circles around an address that limits are counted for (security.md section 2).

Pure. An IPv4 address inside IPv6 is that IPv4 address, a zone counts for nothing (row 57); a host with IPv6 has a whole
/64, so that is what one address is there.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

V4_PREFIXES = (32, 24, 20)
V6_PREFIXES = (64, 56, 48)


class Circles(NamedTuple):
    """One peer, its neighbours, and their neighbourhood, each as a network in its usual spelling."""

    host: str
    network: str
    region: str


@lru_cache(maxsize=4096)
def parsed(text: str) -> IPv4Address | IPv6Address:
    """A peer's address without its zone, an IPv4-mapped one as IPv4. Raises ValueError for text that is no address.
    Remembered, because each message asks it of the same few peers a dozen times."""
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=4096)
def plain_address(text: str) -> str:
    """One peer, one name. Raises ValueError for text that is no address."""
    return str(parsed(text))


@lru_cache(maxsize=4096)
def circles(address: str) -> Circles:
    peer = parsed(address)
    prefixes = V4_PREFIXES if peer.version == 4 else V6_PREFIXES
    return Circles(*(str(ip_network((peer, prefix), strict=False)) for prefix in prefixes))


@lru_cache(maxsize=4096)  # as above
def within(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """False for text that is no address."""
    try:
        peer = parsed(address)
    except ValueError:
        return False
    return any(peer.version == network.version and peer in network for network in networks)
