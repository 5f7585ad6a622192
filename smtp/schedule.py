"""When and how urgently: HOLDFOR and HOLDUNTIL (RFC 4865), BY (RFC 2852), MT-PRIORITY (RFC 6710), read and written.

Pure; times are Unix seconds. What cannot be read, or asks for more than was announced, raises ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from core.envelope import Schedule

_INTERVAL = re.compile(r"[1-9][0-9]{0,8}")  # future-release-integer: without leading zeros, hence not 0
# date-time of RFC 3339 5.6, which erratum 2040 of RFC 4865 puts in the place of a rule that does not exist
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_BY = re.compile(r"([+-]?[0-9]{1,9});([NR])(T?)", re.IGNORECASE)
_PRIORITY = re.compile(r"0|-?[1-9]")


class TooSoonError(ValueError):
    """A time limit that is shorter than the announced min-by-time."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What this server announced: `now`, the longest it holds mail and the shortest time limit, in seconds."""

    now: float
    longest_hold: int
    shortest_by: int


Setter = Callable[[Schedule, str, Terms], Schedule]


def hold_for(schedule: Schedule, value: str, terms: Terms) -> Schedule:
    """Seconds from now on (RFC 4865 4)."""
    if not _INTERVAL.fullmatch(value):
        raise ValueError(value)
    return _held(schedule, terms.now + int(value), f"for;{value}", terms)


def hold_until(schedule: Schedule, value: str, terms: Terms) -> Schedule:
    if not _DATE_TIME.fullmatch(value):
        raise ValueError(value)
    moment = datetime.fromisoformat(value.upper())
    return _held(schedule, moment.timestamp(), f"until;{value}", terms)


def _held(schedule: Schedule, release_at: float, asked: str, terms: Terms) -> Schedule:
    """One of the two, once, not in the past and no further than was announced (RFC 4865 3, 4)."""
    if schedule.hold or not terms.now <= release_at <= terms.now + terms.longest_hold:
        raise ValueError(asked)
    return replace(schedule, release_at=release_at, hold=asked)


def by(schedule: Schedule, value: str, terms: Terms) -> Schedule:
    """RFC 2852 4: by-time ";" by-mode [by-trace]; to return a message at once makes no sense, to tell that it is late
    does."""
    match = _BY.fullmatch(value)
    if not match:
        raise ValueError(value)
    seconds, mode = int(match[1]), match[2].upper()
    if mode == "R" and seconds <= 0:
        raise ValueError(value)
    if mode == "R" and seconds < terms.shortest_by:
        raise TooSoonError(value)
    return replace(
        schedule,
        deliver_by=max(terms.now + seconds, 1.0),
        by_mode="R" if mode == "R" else "N",
        by_trace=bool(match[3]),
    )


def priority(schedule: Schedule, value: str, _terms: Terms) -> Schedule:
    """RFC 6710 8: from -9 to 9, without plus signs and leading zeros."""
    if not _PRIORITY.fullmatch(value):
        raise ValueError(value)
    return replace(schedule, priority=int(value))


def contradictory(schedule: Schedule) -> bool:
    """To be returned, or told late, before it may leave."""
    return 0 < schedule.deliver_by <= schedule.release_at


SETTERS: dict[str, Setter] = {"HOLDFOR": hold_for, "HOLDUNTIL": hold_until, "BY": by, "MT-PRIORITY": priority}


# --- announced, and passed on ----------------------------------------------------------------------------------------


def future_release(terms: Terms) -> str:
    """RFC 4865 3: the longest interval and the latest moment."""
    latest = datetime.fromtimestamp(int(terms.now) + terms.longest_hold, UTC)
    return f"FUTURERELEASE {terms.longest_hold} {latest:%Y-%m-%dT%H:%M:%SZ}"


def left(schedule: Schedule, now: float) -> int:
    """The by-time that is left, in the range of the RFC; below zero when it is over."""
    return max(min(int(schedule.deliver_by - now), 999_999_999), -999_999_999)


def by_parameter(schedule: Schedule, now: float) -> str:
    """BY= for the next server (RFC 2852 4.1.4.1)."""
    seconds = left(schedule, now)
    if schedule.by_mode == "R":
        seconds = max(seconds, 1)  # it was above zero when the attempt began
    return f"BY={seconds};{schedule.by_mode}{'T' if schedule.by_trace else ''}"
