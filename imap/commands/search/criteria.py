"""What SEARCH asks for, as frozen values (RFC 9051 6.4.4, RFC 3501 6.4.4, RFC 7162 3.1.5, RFC 8474 6).

A criterion is a tree of `And`, `Or`, `Not` over leaves. Knows which kind of evidence decides each leaf (`Stage`), and
how a tree shrinks once some leaves are known; refuses to know messages, charsets and the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum

from imap.types import SequenceSet
from message.facts import KEPT_FIELDS
from message.sorting import SEARCHED
from store.types import Flag


class Stage(IntEnum):
    """Kinds of evidence in the order of their price; a search opens no message that a cheaper stage decided."""

    VIEW = 0  # the UID alone
    INDEX = 1  # flags, dates, sizes: fixed-size columns that the store has always
    OCTETS = 2  # the date sent, identifiers: it may have to read messages for these
    FIELDS = 3  # the store's search in addresses and subjects
    HEADERS = 4  # the kept header fields
    FILE = 5  # the header block of the message file
    TEXT = 6  # the store's text search


class DateOf(Enum):
    INTERNAL = "internal"
    SENT = "sent"
    SAVED = "saved"  # RFC 8514


class Relation(Enum):
    """RFC 9051 6.4.4: BEFORE excludes the day, SINCE includes it."""

    BEFORE = "before"
    ON = "on"
    SINCE = "since"


@dataclass(frozen=True, slots=True)
class Always:
    """ALL."""

    value: bool


@dataclass(frozen=True, slots=True)
class IsRecent:
    """\\Recent (RFC 3501 2.3.2), until the session says which UIDs have it: for a result that is kept up, each time."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A sequence set, or UID and a set: what the client wrote, before the view translates it to `Among`."""

    numbers: SequenceSet
    by_uid: bool


@dataclass(frozen=True, slots=True)
class Among:
    """UIDs, as inclusive ascending disjoint ranges."""

    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class HasFlag:
    flag: Flag


@dataclass(frozen=True, slots=True)
class HasKeyword:
    """`keyword` is lower case: flags are compared without case (RFC 9051 2.3.2)."""

    keyword: str


@dataclass(frozen=True, slots=True)
class Dated:
    """`day` is `datetime.date.toordinal()`; time and zone are disregarded (RFC 9051 6.4.4)."""

    of: DateOf
    relation: Relation
    day: int


@dataclass(frozen=True, slots=True)
class Within:
    """RFC 5032 3: what arrived in the last `seconds`; YOUNGER, or OLDER when not `younger`."""

    seconds: int
    younger: bool


@dataclass(frozen=True, slots=True)
class Arrived:
    """`Within` once the time is known: internal date at or after `at` (Unix seconds), at or before when not `after`."""

    at: int
    after: bool


@dataclass(frozen=True, slots=True)
class Larger:
    octets: int


@dataclass(frozen=True, slots=True)
class Smaller:
    octets: int


@dataclass(frozen=True, slots=True)
class HeaderHas:
    """`field` in lower case; an empty `pattern` asks only that the field exists. `pattern` as the client wrote it."""

    field: bytes
    pattern: str
    fuzzy: bool = False  # RFC 6203


@dataclass(frozen=True, slots=True)
class TextHas:
    pattern: str
    body_only: bool
    fuzzy: bool = False


@dataclass(frozen=True, slots=True)
class ModifiedSince:
    """RFC 7162 3.1.5: mod-sequence equal to or above."""

    modseq: int


@dataclass(frozen=True, slots=True)
class HasEmailId:
    email_id: str


@dataclass(frozen=True, slots=True)
class HasThreadId:
    thread_id: str


Leaf = (
    Always
    | IsRecent
    | Numbered
    | Among
    | HasFlag
    | HasKeyword
    | Dated
    | Within
    | Arrived
    | Larger
    | Smaller
    | HeaderHas
    | TextHas
    | ModifiedSince
    | HasEmailId
    | HasThreadId
)


@dataclass(frozen=True, slots=True)
class Not:
    key: Key


@dataclass(frozen=True, slots=True)
class And:
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Or:
    left: Key
    right: Key


Key = Leaf | Not | And | Or

TRUE = Always(True)
FALSE = Always(False)


def stages(leaf: Leaf) -> tuple[Stage, ...]:
    """Where a leaf can be decided; a SENT date mostly from its index column, near the bound from the header field."""
    match leaf:
        case Always() | IsRecent() | Numbered() | Among():
            return (Stage.VIEW,)
        case Dated(of=DateOf.SENT):
            return (Stage.OCTETS, Stage.HEADERS)
        case HasEmailId() | HasThreadId():
            return (Stage.OCTETS,)
        case HeaderHas(field=field):
            if field in SEARCHED:
                return (Stage.FIELDS,)
            return (Stage.HEADERS,) if field in KEPT_FIELDS else (Stage.FILE,)
        case TextHas():
            return (Stage.TEXT,)
        case _:
            return (Stage.INDEX,)


def leaves(key: Key) -> Iterator[Leaf]:
    match key:
        case Not(key=inner):
            yield from leaves(inner)
        case And(keys=keys):
            for each in keys:
                yield from leaves(each)
        case Or(left=left, right=right):
            yield from leaves(left)
            yield from leaves(right)
        case _:
            yield key


def rewrite(key: Key, change: Callable[[Leaf], Key]) -> Key:
    """The same tree with each leaf replaced, simplified: `TRUE` and `FALSE` (these objects) never stay inside."""
    match key:
        case Not(key=inner):
            return _negate(rewrite(inner, change))
        case And(keys=keys):
            return _all(keys, change)
        case Or(left=left, right=right):
            return _either(rewrite(left, change), right, change)
        case Always(value=value):
            return TRUE if value else FALSE
        case _:
            return change(key)


def reduce(key: Key, known: Callable[[Leaf], bool | None]) -> Key:
    """What is left of a tree when `known` leaves are answered; `TRUE` or `FALSE` when nothing is."""

    def answered(leaf: Leaf) -> Key:
        answer = known(leaf)
        return leaf if answer is None else TRUE if answer else FALSE

    return rewrite(key, answered)


def _negate(key: Key) -> Key:
    if key is TRUE or key is FALSE:
        return FALSE if key is TRUE else TRUE
    return key.key if isinstance(key, Not) else Not(key)


def _all(keys: tuple[Key, ...], change: Callable[[Leaf], Key]) -> Key:
    rest: list[Key] = []
    for key in keys:
        now = rewrite(key, change)
        if now is FALSE:
            return FALSE
        if now is not TRUE:
            rest.append(now)
    if len(rest) > 1:
        return And(tuple(rest))
    return rest[0] if rest else TRUE


def _either(left: Key, right: Key, change: Callable[[Leaf], Key]) -> Key:
    if left is TRUE:
        return TRUE
    other = rewrite(right, change)
    if other is TRUE or left is FALSE:
        return other
    return left if other is FALSE else Or(left, other)
