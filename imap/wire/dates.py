"""IMAP's dates (RFC 9051 9: `date`, `date-time`), without locale and without a guess."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone

from imap.errors import BadSyntax

_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_NUMBER_OF = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
# date-text = date-day "-" date-month "-" date-year
_DATE = re.compile(rb"([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})")
# date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
_DATE_TIME = re.compile(
    rb"([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"
)


def parse_date(text: bytes) -> date:
    """`date-text` without its quotes. Raises `BadSyntax` for a day that no calendar has."""
    match = _DATE.fullmatch(text)
    if not match:
        raise BadSyntax("malformed date")
    try:
        return date(int(match[3]), _month(match[2]), int(match[1]))
    except ValueError as error:
        raise BadSyntax("no such date") from error


def parse_date_time(text: bytes) -> int:
    """`date-time` without its quotes as Unix seconds. A leap second counts as the second before it."""
    match = _DATE_TIME.fullmatch(text)
    if not match:
        raise BadSyntax("malformed date-time")
    sign = -1 if match[7] == b"-" else 1
    try:
        zone = timezone(sign * timedelta(hours=int(match[8]), minutes=int(match[9])))
        second = min(int(match[6]), 59)
        day, hour, minute = int(match[1]), int(match[4]), int(match[5])
        moment = datetime(int(match[3]), _month(match[2]), day, hour, minute, second, tzinfo=zone)
        return int(moment.timestamp())
    except (ValueError, OverflowError) as error:
        raise BadSyntax("no such date-time") from error


def _month(name: bytes) -> int:
    number = _NUMBER_OF.get(name.lower())
    if number is None:
        raise BadSyntax("no such month")
    return number


def encode_date_time(seconds: int) -> bytes:
    """Unix seconds as a quoted `date-time` in UTC; dates past year 9999 are shown as its end."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        moment = datetime(9999 if seconds > 0 else 1, 12 if seconds > 0 else 1, 31 if seconds > 0 else 1, tzinfo=UTC)
    clock = b"%02d:%02d:%02d" % (moment.hour, moment.minute, moment.second)
    return b'"%2d-%b-%04d %b +0000"' % (moment.day, _MONTHS[moment.month - 1], moment.year, clock)
