"""Sizes, durations and endpoints as an operator writes them."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

KIB, MIB = 1024, 1024 * 1024
_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+)\s*([smhdw]?)")
_UNITS = {"": 1, "K": KIB, "M": MIB, "G": 1024**3, "T": 1024**4}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@lru_cache(maxsize=64)  # a message asks for its limit several times
def parse_size(text: str | int) -> int:
    """ "60M" > 62914560 octets; binary multiples. Raises ValueError."""
    match = _SIZE.fullmatch(str(text).strip())
    if not match:
        raise ValueError(f"not a size: {text!r} (write 500K, 60M or 5G)")
    return int(match[1]) * _UNITS[match[2].upper()]


def parse_duration(text: str | int) -> int:
    """ "15m" > 900 seconds. Raises ValueError."""
    match = _DURATION.fullmatch(str(text).strip())
    if not match:
        raise ValueError(f"not a duration: {text!r} (write 30s, 15m, 4h or 5d)")
    return int(match[1]) * _SECONDS[match[2]]


def parse_endpoint(text: str) -> tuple[str, int]:
    """ "127.0.0.1:25" or "[::1]:25" > (address, port). Raises ValueError."""
    host, colon, port = text.rpartition(":")
    odd = host.startswith("[") != host.endswith("]")
    if not colon or odd or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"not an address and port: {text!r} (write 0.0.0.0:25 or [::]:25)")
    return host.strip("[]"), int(port)


def parse_place(text: str, *, names: tuple[str, ...] = ()) -> tuple[str, int]:
    """An endpoint of this machine or of a resolver: an address, or one of `names`. Raises ValueError."""
    host, port = parse_endpoint(text)
    if host not in names:
        parse_address(host)
    return host, port


def parse_address(text: str) -> str:
    """An IP address as it is written. Raises ValueError."""
    try:
        ip_address(text)
    except ValueError:
        raise ValueError(f"not an IP address: {text!r} (a name cannot stand here)") from None
    return text


def parse_web_address(text: str) -> str:
    """ "http://…" or "https://…". Raises ValueError."""
    try:
        parts = urlsplit(text)
        sound = re.fullmatch(r"https?://[!-~]+", text) and parts.hostname and parts.port != 0
    except ValueError:  # brackets without their fellow, a port past 65535
        sound = False
    if not sound:
        raise ValueError(f"not an address of the web: {text!r} (write http://127.0.0.1:11333 or https://…)")
    return text
