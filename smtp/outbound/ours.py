"""Which addresses are our own: mail is never sent to ourselves as if we were the world (RFC 5321 5.1)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from core.config import parse_endpoint
from core.networks import plain_address


def our_mx(endpoints: Sequence[str]) -> Callable[[str, int], bool]:
    """Whether an address and port is one at which we listen as MX; a wildcard listens at every local address."""
    listening = [(plain_address(address), port) for address, port in map(parse_endpoint, endpoints)]

    def ours(address: str, port: int) -> bool:
        return any(
            port == our_port and (address == our_address or (our_address in ("0.0.0.0", "::") and is_local(address)))
            for our_address, our_port in listening
        )

    return ours


def is_local(address: str) -> bool:
    """Whether a packet to `address` would stay on this machine: only a local address can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
