"""Greylisting (RFC 6647): who is not known and vouched for by nobody comes again. Pure; whoever remembers is elsewhere.

A sender that keeps no queue does not come back. Known is a network, sender and set of recipients that came back once,
within the window and not before the wait. Times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

from core.networks import circles

RENEWED = 86_400.0  # what is known is written again at most so often


class Greylisting(Enum):
    """The named reason. KNOWN and RETURNED are let in, the others come again."""

    KNOWN = "greylist-known"
    RETURNED = "greylist-returned"
    NEW = "greylisted"
    TOO_SOON = "greylisted-too-soon"
    EXPIRED = "greylisted-again"

    @property
    def passes(self) -> bool:
        return self in (Greylisting.KNOWN, Greylisting.RETURNED)


@dataclass(frozen=True, slots=True)
class Terms:
    """`wait`: before which a return does not count; `window`: after which it is a first time again; `keep`: how long
    who returned stays known, from the last time on; `entries`: how many are remembered."""

    wait: float
    window: float
    keep: float
    entries: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of one key: its first and its last time, and whether it has come back."""

    first: float
    last: float
    returned: bool = False


def key(address: str, sender: str, recipients: Iterable[str]) -> str:
    """A digest of the peer's network (/24 or /64: farms of senders return from a neighbour), the sender ("" is the null
    one) and the set of recipients; the last two as compared. No address is kept. ValueError: `address` is none."""
    found = circles(address)
    network = found.host if ":" in found.host else found.network
    parts = (network, sender, *sorted(set(recipients)))
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def judge(memory: Memory | None, now: float, terms: Terms) -> tuple[Greylisting, Memory]:
    """The outcome, and what to remember; the same object when nothing changed."""
    if memory is None:
        return Greylisting.NEW, Memory(now, now)
    if memory.returned:
        if not -RENEWED < now - memory.last <= terms.keep:  # a clock that ran ahead makes nobody known for years
            return Greylisting.EXPIRED, Memory(now, now)
        fresh = now - memory.last < RENEWED
        return Greylisting.KNOWN, memory if fresh else Memory(memory.first, now, returned=True)
    age = now - memory.first
    if not 0 <= age <= terms.window:
        return Greylisting.EXPIRED, Memory(now, now)
    if age < terms.wait:
        return Greylisting.TOO_SOON, memory
    return Greylisting.RETURNED, Memory(memory.first, now, returned=True)
