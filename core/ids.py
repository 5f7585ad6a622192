"""Names for things: queue ids, connection ids, object ids. Time-ordered where people sort by them, never guessable."""

from __future__ import annotations

import os
import secrets
from functools import lru_cache
from typing import Protocol

from core.clock import Clock, SystemClock

# Crockford's alphabet: no i, l, o, u, so a queue id read over the telephone survives.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]  # two digits, ten bits at a time
_LOW = (1 << 60) - 1
_DIGITS = (ALPHABET * 8).encode()  # a digit for each octet: of a random one, five random bits


def base32(number: int, width: int) -> str:
    """`number` in Crockford base 32, lower case, left-padded to `width` characters."""
    text = "".join([_PAIRS[number >> shift & 1023] for shift in range(10 * ((width + 1) // 2) - 10, -1, -10)])
    return text[len(text) - width :]


def _random(digits: int) -> str:
    return str(os.urandom(digits).translate(_DIGITS), "ascii")


@lru_cache(maxsize=2)  # of the milliseconds in a queue id, which are others after 17 minutes
def _four(number: int) -> str:
    return _PAIRS[number >> 10 & 1023] + _PAIRS[number & 1023]


def _eight(number: int) -> str:
    """The low 40 bits as `base32` has them."""
    pairs = _PAIRS
    return pairs[number >> 30 & 1023] + pairs[number >> 20 & 1023] + pairs[number >> 10 & 1023] + pairs[number & 1023]


def twenty(number: int) -> str:
    """100 bits as `base32` has them: what is made like an object id, twice for each message."""
    high, low = number >> 60, number & _LOW
    return _eight(high) + _eight(low >> 20) + _PAIRS[low >> 10 & 1023] + _PAIRS[low & 1023]


class Ids(Protocol):
    def queue_id(self) -> str: ...

    def object_id(self) -> str: ...

    def token(self) -> str: ...


class RandomIds:
    """The ids of a running suite. `queue_id`: 16 characters, 8 of milliseconds and 8 random (40 bits each); sorts by
    time."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()

    def queue_id(self) -> str:
        now = int(self._clock.now() * 1000)
        return _four(now >> 20) + _PAIRS[now >> 10 & 1023] + _PAIRS[now & 1023] + _random(8)

    def object_id(self) -> str:
        """20 characters of 100 random bits: accounts, organisations, folders (RFC 8474 allows [A-Za-z0-9_-])."""
        return _random(20)

    def token(self) -> str:
        """A bearer secret of 256 bits, URL-safe."""
        return secrets.token_urlsafe(32)
