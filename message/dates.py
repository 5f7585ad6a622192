"""Dates of header fields, in and out (RFC 5322 3.3 and 4.3). Absurd ones are None (security.md row 73)."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

from core.frozen import dataclass
from message.parameters import comment_end

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTH_NUMBER = {name: number for number, name in enumerate(_MONTHS, 1)}
# RFC 5322 4.3; single letters are -0000 because RFC 822 gave them the wrong sign.
_ZONES = {"ut": 0, "gmt": 0, "utc": 0, "z": 0, "est": -300, "edt": -240, "cst": -360, "cdt": -300, "mst": -420,
          "mdt": -360, "pst": -480, "pdt": -420, "cet": 60, "cest": 120}  # fmt: skip
_DATE = re.compile(
    r"(?:[a-z]{2,9}\.?\s*,?\s*)?(\d{1,2})[\s-]+([a-z]{3})[a-z]*[\s-]+(\d{2,4})\s*,?\s+"
    r"(\d{1,2})\s*:\s*(\d{1,2})(?:\s*:\s*(\d{1,2}))?(?:[.,]\d{1,9})?\s*(?:([+-])(\d{2}):?(\d{2})|([a-z]{1,5})\b)?",
    re.IGNORECASE,
)
# A date as nearly all are, where a test finds `_DATE` to say the same: RFC 5322 3.3 with one blank where more may be.
_USUAL = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) (?:([+-])(\d\d)(\d\d)|(GMT))"
    r"(?: \([A-Z]{1,5}\))?"
)
_EPOCH = date(1970, 1, 1).toordinal()
_MAX_LENGTH = 200
_MAX_ZONE = 14 * 60  # no zone on Earth lies further from Greenwich
_FIRST_YEAR, _LAST_YEAR = 1900, 9999


@dataclass(frozen=True, slots=True)
class Date:
    """`seconds` since the Unix epoch; `local` the day as its sender wrote it, which IMAP's SENTON and its like compare
    (RFC 9051 6.4.4: "disregarding time and timezone"); `zone` minutes east of Greenwich."""

    seconds: int
    local: date
    zone: int


def parse(value: bytes | None) -> Date | None:
    """The date of an unfolded Date field; None when absent, malformed or absurd."""
    if not value:
        return None
    value = value[:_MAX_LENGTH]
    match = _USUAL.fullmatch(value.decode("ascii", "replace")) or _DATE.match(_plain(value))
    if match is None:
        return None
    local, zone = _local(*match.group(1, 2, 3)), _zone(*match.group(7, 8, 9, 10))
    hour, minute, second = int(match[4]), int(match[5]), int(match[6] or 0)
    # RFC 5322 3.3 allows 60 for a leap second; Unix time has none.
    if local is None or zone is None or hour > 23 or minute > 59 or second > 60:
        return None
    days = local.toordinal() - _EPOCH
    return Date(days * 86400 + hour * 3600 + (minute - zone) * 60 + min(second, 59), local, zone)


def _plain(value: bytes) -> str:
    """Without comments, blanks folded."""
    position = 0
    while (opening := value.find(b"(", position)) >= 0:
        value = value[:opening] + b" " + value[comment_end(value, opening) :]
        position = opening + 1
    return " ".join(value.decode("ascii", "replace").split())


@lru_cache(maxsize=64)  # most mail is of a few days, and of a few zones
def _local(day: str, month: str, written: str) -> date | None:
    year = int(written)
    if len(written) == 2:  # RFC 5322 4.3: 00-49 is 2000-2049, other two and three digits count from 1900
        year += 2000 if year < 50 else 1900
    elif len(written) == 3:
        year += 1900
    number = _MONTH_NUMBER.get(month.lower())
    if number is None or not _FIRST_YEAR <= year <= _LAST_YEAR:
        return None
    try:
        return date(year, number, int(day))
    except ValueError:
        return None


@lru_cache(maxsize=64)
def _zone(sign: str | None, hours: str, minutes: str, name: str | None) -> int | None:
    """Minutes east; an unknown or a missing name is -0000 (RFC 5322 4.3); None is absurd."""
    if not sign:
        return _ZONES.get((name or "").lower(), 0)
    zone = int(hours) * 60 + int(minutes)
    if zone > _MAX_ZONE or int(minutes) > 59:
        return None
    return -zone if sign == "-" else zone


def format_date(seconds: float, zone: int = 0) -> str:
    """ "Sun, 22 Nov 2026 15:43:36 +0000": English whatever the locale; `zone` minutes east of Greenwich."""
    minutes, second = divmod(int(seconds), 60)
    before, behind = _around(minutes + zone, zone)
    return f"{before}{second:02}{behind}"


@lru_cache(maxsize=4)
def _around(minutes: int, zone: int) -> tuple[str, str]:
    """What stands around the seconds in a minute of the local time."""
    days, minute = divmod(minutes, 24 * 60)
    day, east = date.fromordinal(_EPOCH + days), abs(zone)
    return (
        f"{_DAYS[day.weekday()]}, {day.day} {_MONTHS[day.month - 1].title()} {day.year:04} "
        f"{minute // 60:02}:{minute % 60:02}:",
        f" {'-' if zone < 0 else '+'}{east // 60:02}{east % 60:02}",
    )
