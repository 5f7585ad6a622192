"""The pure half of evaluation: which messages are still open for which reduced criterion, and how to ask for them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from imap.commands.search.criteria import (
    FALSE,
    Among,
    And,
    Arrived,
    Dated,
    DateOf,
    HasEmailId,
    HasThreadId,
    IsRecent,
    Key,
    Larger,
    Leaf,
    Numbered,
    Smaller,
    Stage,
    Within,
    leaves,
    reduce,
    rewrite,
    stages,
)
from imap.types import Ranges
from imap.view import View
from store.types import Column

Groups = dict[Key, list[int]]  # what is still open > the UIDs it is open for


def resolved(key: Key, view: View, now: float) -> Key:
    """Sequence sets become UIDs of this view, ages become times. A number past the last message matches nothing and is
    no error: RFC 9051 6.4.4 leaves it open, and clients ask for `UID n:*` with any n."""

    def change(leaf: Leaf) -> Key:
        match leaf:
            case Numbered(numbers=numbers, by_uid=by_uid):
                return Among(view.ranges(numbers, uid=by_uid, strict=False))
            case Within(seconds=seconds, younger=younger):
                return Arrived(int(now) - seconds, after=younger)
            case _:
                return leaf

    return rewrite(key, change)


def with_recent(key: Key, view: View) -> Key:
    """What is recent just now becomes UIDs."""
    found = Among(view.recent) if view.recent else FALSE
    return rewrite(key, lambda leaf: found if isinstance(leaf, IsRecent) else leaf)


def waits_for(key: Key, stage: Stage) -> bool:
    return any(stage in stages(leaf) for leaf in leaves(key))


def narrowed(key: Key, uids: list[int]) -> tuple[Key, list[int]]:
    """UIDs outside a set that stands at the top of the criterion go at once, without a look at each; the set is then
    true for all that stay, wherever it stands."""
    sets = [leaf for leaf in (key.keys if isinstance(key, And) else (key,)) if isinstance(leaf, Among)]
    for each in sets:
        uids = within(uids, each.ranges)
    return reduce(key, lambda leaf: True if leaf in sets else None), uids


def within(uids: Sequence[int], ranges: Ranges) -> list[int]:
    """Those of the ascending `uids` that lie in `ranges`."""
    kept: list[int] = []
    for low, high in ranges:
        kept.extend(uids[bisect_left(uids, low) : bisect_right(uids, high)])
    return kept


def split(groups: Groups, leaf: Leaf, hits: frozenset[int]) -> Groups:
    """The groups once `leaf` is true for `hits` and false for the others."""
    after: Groups = {}
    for key, uids in groups.items():
        yes = reduce(key, lambda each: True if each == leaf else None)
        no = reduce(key, lambda each: False if each == leaf else None)
        # One look-up a group: a criterion of hundreds of keys is hashed key by key. What cannot match is not kept.
        if yes is not FALSE:
            after.setdefault(yes, []).extend([uid for uid in uids if uid in hits])
        if no is not FALSE:
            after.setdefault(no, []).extend([uid for uid in uids if uid not in hits])
    return {key: uids for key, uids in after.items() if uids}


def columns(key: Key, stage: Stage) -> Column:
    """What the rows of this stage must bring."""
    needed = Column.NONE
    for leaf in (leaf for leaf in leaves(key) if stage in stages(leaf)):
        match leaf:
            case Dated(of=DateOf.SENT):
                needed |= Column.SENT
            case Dated() | Arrived() | Larger() | Smaller():
                needed |= Column.DATES
            case HasEmailId() | HasThreadId():
                needed |= Column.IDS
            case _:
                pass
    return needed
