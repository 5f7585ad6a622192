"""The words of IMAP inside the house: session states, sequence numbers, sets, flags as a client names them.

Knows no bytes of the wire and no store. A sequence number is never a UID: both are ints with a NewType of their own
(`store.types.Uid`), and a set says by the command's row which of the two it holds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, Flag
from typing import NewType, TypeVar

from core.frozen import dataclass
from store.types import NO_FLAGS
from store.types import Flag as SystemFlag

SeqNum = NewType("SeqNum", int)
MAX_NUMBER = 2**32 - 1  # nz-number, RFC 9051 9
MAX_MODSEQ = 2**63 - 1  # mod-sequence-value, RFC 7162 7
TURN = 4000  # messages worked on between two turns of the loop: some 4 ms
FEW = 8  # times fewer than a view holds: they are looked up one by one
STAR = MAX_NUMBER + 1  # "*" inside a set, until `resolve` knows the largest number in use

Ranges = tuple[tuple[int, int], ...]  # inclusive pairs, ascending, disjoint, not adjacent


T = TypeVar("T")


def turns(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """All of them, as many at a time as others can wait for (promise P7)."""
    return (items[start : start + TURN] for start in range(0, len(items), TURN))


class State(Enum):
    """RFC 9051 3. LOGOUT: the tagged answer is the last thing that is sent."""

    NOT_AUTHENTICATED = "not-authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"


class Feature(Flag):
    """What a client switched on with ENABLE or by use; each changes the form of responses."""

    NONE = 0
    CONDSTORE = 1
    QRESYNC = 2
    UTF8 = 4
    REV2 = 8  # IMAP4rev2, RFC 9051
    UIDONLY = 16  # RFC 9586: no message numbers, either way
    METADATA = 32  # RFC 5464 4.4: changes of annotations are told


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """`sequence-set` of RFC 9051 9: pairs as written, `STAR` for "*". `saved`: with "$", the result the view keeps."""

    pairs: tuple[tuple[int, int], ...]
    saved: bool = False

    def resolve(self, largest: int) -> Ranges:
        """The set with "*" as `largest`, sorted and merged; nothing when `largest` is 0 and only "*" was asked.

        RFC 9051 9: "a:b" means the same as "b:a", so "9:*" holds the largest number even when that is below 9.
        """
        if all([first <= last < STAR for first, last in self.pairs]):  # noqa: C419 - quicker than a generator, for ten thousand pairs
            return merge(self.pairs)
        return merge(self._bounds(first, last, largest) for first, last in self.pairs)

    @staticmethod
    def _bounds(first: int, last: int, largest: int) -> tuple[int, int]:
        low = largest if first == STAR else first
        high = largest if last == STAR else last
        return (low, high) if low <= high else (high, low)


SAVED = SequenceSet((), saved=True)


def contains(ranges: Sequence[tuple[int, int]], number: int) -> bool:
    """`ranges` ascending and disjoint."""
    index = bisect_right(ranges, number, key=lambda pair: pair[0]) - 1
    return index >= 0 and number <= ranges[index][1]


def merge(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """Overlapping and adjacent pairs become one (security.md row 99: ten thousand times 1:* is 1:*)."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pairs):
        if high < 1:
            continue
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((max(low, 1), high))
    return tuple(merged)


def ranges_of(numbers: Iterable[int]) -> Ranges:
    """Numbers as ranges: 1 2 3 7 > ((1, 3), (7, 7)). A plain loop: results of a whole mailbox pass through here."""
    ordered = sorted(numbers)
    if not ordered:
        return ()
    found: list[tuple[int, int]] = []
    low = high = ordered[0]
    for number in ordered:
        if number > high + 1:
            found.append((low, high))
            low = number
        high = number
    return (*found, (low, high))


def clip(ranges: Sequence[tuple[int, int]], largest: int) -> Ranges:
    """The part of `ranges` that lies at or below `largest`."""
    if not ranges or ranges[-1][1] <= largest:
        return tuple(ranges)
    return tuple((low, min(high, largest)) for low, high in ranges if low <= largest)


def spans(uids: Sequence[int], view: Sequence[int], *, bridge: int) -> Ranges:
    """`uids` (ascending, all of them in `view`) as ranges. Neighbours in the view join, for nothing lies between them;
    gaps of at most `bridge` messages are covered as well, the caller drops what it did not ask for."""
    if not uids:
        return ()
    if len(uids) == len(view):
        return ((uids[0], uids[-1]),)
    if len(uids) * FEW > len(view):
        wanted = frozenset(uids)
        return _joined([(place, uid) for place, uid in enumerate(view) if uid in wanted], bridge)
    found: list[tuple[int, int]] = []
    index = bisect_left(view, uids[0])
    low = last = uids[0]
    for uid in uids[1:]:
        beyond = min(index + bridge + 2, len(view))
        position = bisect_left(view, uid, index + 1, beyond)
        if position < beyond and view[position] == uid:
            index = position
        else:
            found.append((low, last))
            low = uid
            index = bisect_left(view, uid, index + 1)
        last = uid
    return (*found, (low, last))


def _joined(places: Sequence[tuple[int, int]], bridge: int) -> Ranges:
    """(place in the view, UID) of many: the same ranges in one pass, instead of looking each up."""
    found: list[tuple[int, int]] = []
    reach, (before, low) = bridge + 1, places[0]
    last = low
    for place, uid in places:
        if place > before + reach:
            found.append((low, last))
            low = uid
        before, last = place, uid
    return (*found, (low, last))


@dataclass(frozen=True, slots=True)
class FlagSet:
    """Flags as a client lists them: system flags and keywords (atoms, in the client's case, each once)."""

    flags: SystemFlag = NO_FLAGS
    keywords: tuple[str, ...] = ()
    recent: bool = False  # \\Recent, which only the server sets (RFC 3501 2.3.2)
