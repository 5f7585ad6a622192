"""The checker of what was sent against what is there (promises P1 to P3), for every fault of the whole suite.

A letter names itself in its body and says where it must be in the end; the clients' log says of each attempt whether it
was answered. Whatever was answered 250 is in each of its places, octet by octet; an attempt whose answer was lost may
have come or not; nothing is anywhere that was not sent there. Pure: the places were read before.
"""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Place = str  # "imap:ADDRESS", "bounce:ADDRESS" or "sink:ADDRESS"


@dataclass(frozen=True, slots=True)
class Found:
    """One copy. `digest`: SHA-256 of the body, "" where only the mark can be asked for (a report)."""

    mark: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """`places`: where a letter belongs; `digest` of its body; by its attempts: `acknowledged` how often it was answered
    250, `unknown` how often the answer was lost; `kills` of the queue's runner while it may have been under way: each
    may double it at one remote recipient (fault 146), and never here, where a redelivery is recognised (fault 145)."""

    mark: str
    digest: str
    places: frozenset[Place]
    acknowledged: int
    unknown: int
    kills: int = 0


@dataclass
class Account:
    """`violations` in words; `copies` looked at; `duplicates` beyond the first copy, by kind of place."""

    violations: list[str] = field(default_factory=list)
    copies: int = 0
    duplicates: collections.Counter[str] = field(default_factory=collections.Counter)


def settle(letters: Iterable[Sent], found: Mapping[Place, Sequence[Found]]) -> Account:
    """`found`: everything that lies in every place there is, strangers included."""
    account, sent = Account(), {letter.mark: letter for letter in letters}
    counts: dict[Place, collections.Counter[str]] = {}
    for place, copies in found.items():
        counts[place] = collections.Counter(copy.mark for copy in copies)
        account.copies += len(copies)
        account.violations += _strangers(place, copies, sent)
    for letter in sent.values():
        for place in letter.places:
            count = counts.get(place, collections.Counter())[letter.mark]
            account.violations += _judge(letter, place, count)
            account.duplicates[place.partition(":")[0]] += max(0, count - 1)
    return account


def _strangers(place: Place, copies: Sequence[Found], sent: Mapping[str, Sent]) -> list[str]:
    lines = []
    for copy in copies:
        letter = sent.get(copy.mark)
        if letter is None:
            lines.append(f"{place}: {copy.mark or 'a message without a mark'} was never sent")
        elif place not in letter.places:
            lines.append(f"{place}: {copy.mark} was sent to {sorted(letter.places)} only")
        elif copy.digest and copy.digest != letter.digest:
            lines.append(f"{place}: {copy.mark} was changed on its way")
    return lines


def _judge(letter: Sent, place: Place, count: int) -> list[str]:
    if letter.acknowledged and not count:
        return [f"{place}: {letter.mark} was acknowledged and is lost"]
    most = letter.acknowledged + letter.unknown + (letter.kills if place.startswith("sink:") else 0)
    if count > most:
        return [f"{place}: {letter.mark} is there {count} times, at most {most} are explained"]
    return []


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
