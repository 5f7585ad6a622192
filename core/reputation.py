"""Whom this machine has reason to know: addresses whose mail was vouched for lately (security.md, Decided, row 39).

Written by delivery when SPF or DKIM passes, read by whoever would otherwise ban; kept in `core.tally`.
"""

from __future__ import annotations

from core.networks import circles
from core.tally import Tally

KNOWN_FOR = 30 * 86400.0


def vouch(tally: Tally, address: str) -> None:
    tally.remember(f"vouched {circles(address).host}", KNOWN_FOR)


def vouched(tally: Tally, address: str) -> bool:
    return tally.recalls(f"vouched {circles(address).host}")
