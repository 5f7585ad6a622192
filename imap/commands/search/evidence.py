"""What one message says about each leaf of a search, by the kind of evidence in hand. Pure.

Each class answers `known(leaf)`: True, False, or None for "not from this".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

from imap.commands.search.criteria import (
    Among,
    Arrived,
    Dated,
    DateOf,
    HasEmailId,
    HasFlag,
    HasKeyword,
    HasThreadId,
    HeaderHas,
    Larger,
    Leaf,
    ModifiedSince,
    Relation,
    Smaller,
)
from imap.types import contains
from message import dates, decode, fields
from message.collation import casemap, one_line, searchable
from message.facts import KEPT_FIELDS
from store.types import Message

# Real zones reach 14 hours either way; beyond two days the instant alone decides on which side of a day a Date lies.
_SURE_DAYS = 2
_SECONDS_A_DAY = 86400
_EPOCH = date(1970, 1, 1).toordinal()
_ODD_BLANK = re.compile(r"  |[\t\n\r\f\v\x1c-\x1f]")
Fold = Callable[[str], str]
_WHITE_SPACE = re.compile(r"\s+")


class ByNumber:
    """A UID alone."""

    __slots__ = ("uid",)

    def __init__(self) -> None:
        self.uid = 0

    def known(self, leaf: Leaf) -> bool | None:
        return contains(leaf.ranges, self.uid) if isinstance(leaf, Among) else None


class ByIndex:
    """The fixed-size columns of a row that the store has always."""

    __slots__ = ("row",)

    row: Message

    def known(self, leaf: Leaf) -> bool | None:
        row = self.row
        match leaf:
            case HasFlag(flag=flag):
                return flag in row.flags
            case HasKeyword(keyword=keyword):
                return any(each.lower() == keyword for each in row.keywords)
            case Larger(octets=octets):
                return row.size > octets
            case Smaller(octets=octets):
                return row.size < octets
            case Dated(of=DateOf.INTERNAL):
                return compare(_day(row.internal_date), leaf.relation, leaf.day)
            case Dated(of=DateOf.SAVED):
                return compare(_day(row.save_date), leaf.relation, leaf.day)
            case Arrived(at=at, after=after):
                return row.internal_date >= at if after else row.internal_date <= at
            case ModifiedSince(modseq=modseq):
                return row.modseq >= modseq
            case _:
                return None


class ByOctets:
    """The fixed-size columns of a row that come from what the message holds."""

    __slots__ = ("row",)

    row: Message

    def known(self, leaf: Leaf) -> bool | None:
        row = self.row
        match leaf:
            case Dated(of=DateOf.SENT):
                return _sent(leaf, row)
            case HasEmailId(email_id=wanted):
                return row.email_id == wanted
            case HasThreadId(thread_id=wanted):
                return row.thread_id == wanted
            case _:
                return None


class ByHeader:
    """A header block: the kept fields of the index, or the whole of the message file. Each field is decoded once."""

    __slots__ = ("_fields", "_fold", "_texts", "_whole")

    def __init__(self, head: bytes, *, whole: bool, form: Fold | None = None) -> None:
        """`form`: the one in which texts are compared, `fold` when none is given."""
        self._fold = form or fold
        self._fields = list(fields.walk(head))
        self._texts: dict[bytes, list[str]] = {}
        self._whole = whole

    def known(self, leaf: Leaf) -> bool | None:
        match leaf:
            case HeaderHas(field=name, pattern=pattern):
                if not self._whole and name not in KEPT_FIELDS:
                    return None
                wanted = self._fold(pattern)
                return any(wanted in text for text in self._text_of(name))
            case Dated(of=DateOf.SENT, relation=relation, day=day):
                return self._sent(relation, day)
            case _:
                return None

    def _text_of(self, wanted: bytes) -> list[str]:
        texts = self._texts.get(wanted)
        if texts is None:
            texts = [_readable(fields.value(raw), self._fold) for name, raw in self._fields if name == wanted]
            self._texts[wanted] = texts
        return texts

    def _sent(self, relation: Relation, day: int) -> bool:
        """The day as its sender wrote it (RFC 9051 6.4.4); a message without a usable Date matches nothing."""
        sent = next((dates.parse(fields.value(raw)) for name, raw in self._fields if name == b"date"), None)
        return sent is not None and compare(sent.local.toordinal(), relation, day)


def _readable(octets: bytes, fold: Fold) -> str:
    """A header value in the form it is compared in; plain ASCII, the usual case, needs no decoding."""
    if octets.isascii() and b"=?" not in octets:
        return fold(octets.decode("ascii"))
    return fold(decode.words(octets))


def compare(day: int, relation: Relation, bound: int) -> bool:
    """Both in days; RFC 9051 6.4.4: BEFORE is earlier, SINCE is within or later."""
    if relation is Relation.BEFORE:
        return day < bound
    return day == bound if relation is Relation.ON else day >= bound


def mapped(text: str) -> str:
    """The form of i;unicode-casemap (RFC 5051), white space as one blank."""
    return casemap(one_line(text))


def fold(text: str) -> str:
    """The form in which two texts are compared: white space as one blank, all else as the store searches what it
    keeps, so that whatever i;unicode-casemap finds is found, and what differs in accents only besides."""
    return searchable(_WHITE_SPACE.sub(" ", text) if _ODD_BLANK.search(text) or not text.isascii() else text)


def _day(seconds: int) -> int:
    """Unix seconds as `toordinal()` of the day in UTC, the zone INTERNALDATE is told in."""
    return seconds // _SECONDS_A_DAY + _EPOCH


def _sent(leaf: Dated, row: Message) -> bool | None:
    day = _day(row.sent_date)
    # 0 is a message without Date, or one of 1 January 1970: the header tells which.
    if not row.sent_date or abs(day - leaf.day) <= _SURE_DAYS:
        return None
    return compare(day, leaf.relation, leaf.day)
