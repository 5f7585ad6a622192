"""Results that keep up with their mailbox: what UPDATE of SEARCH and SORT promised (RFC 5267 4.3).

A context remembers which messages it told. When some of the mailbox's messages change, only these are looked at again.
Pure but for the questions it asks; refuses to know criteria, sorting and sockets.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from imap.types import Ranges

MOST = 8  # contexts of a selected mailbox (RFC 5267 4.3.1: one at least)
MOST_UIDS = 500_000  # messages remembered by all contexts of a selected mailbox together, four octets each

Find = Callable[[Sequence[int]], Awaitable[Sequence[int]]]  # which of these UIDs match now
Order = Callable[[Sequence[int]], Awaitable[Sequence[int]]]  # these UIDs as they are sorted
Fetch = Callable[[Ranges], Awaitable[None]]  # tell these new messages (RFC 5465 7)
Places = tuple[tuple[int, tuple[int, ...]], ...]  # (position in the result, UIDs); position 0: wherever they belong


@dataclass(slots=True)
class Context:
    """`tag`: of the command that asked. `order`: None for SEARCH, whose results stand in mailbox order."""

    tag: str
    by_uid: bool
    find: Find
    order: Order | None = None
    fetch: Fetch | None = None
    found: Sequence[int] = ()  # UIDs in the order of the result

    def keep(self, found: Sequence[int]) -> None:
        self.found = array("I", found)

    async def look(self, touched: Mapping[int, bool], alive: Sequence[int]) -> Change:
        """What changed for the client: `touched` are the UIDs that something happened to (True: they are new), `alive`
        (ascending) those of them that still exist."""
        known, matching = set(self.found), set(await self.find(alive)) if alive else set[int]()
        gone = {uid for uid in touched if uid in known and uid not in matching}
        new, expunged = matching - known, gone.difference(alive)
        arrived = tuple(sorted(uid for uid in new if touched.get(uid)))
        kept = [uid for uid in self.found if uid not in gone]
        if self.order is None:
            after: Sequence[int] = sorted([*kept, *new]) if new else kept
            return Change(self, _unordered(expunged), _unordered(gone - expunged), _unordered(new), after, arrived)
        after = still_there(await self.order([*kept, *new]), kept) if new else kept
        there = [uid for uid in self.found if uid not in expunged]
        removed, left = removals(self.found, expunged), removals(there, gone)
        return Change(self, removed, left, additions(after, new), after, arrived)


@dataclass(frozen=True, slots=True)
class Change:
    """What a context has to tell: `removed`, which is expunged, before any EXPUNGE; `left`, which matches no more,
    after the FETCH that tells why (RFC 5465 5.1); then `added`, after EXISTS, too (RFC 5267 4.3.3, 4.3.4)."""

    context: Context
    removed: Places
    left: Places
    added: Places
    after: Sequence[int]
    arrived: tuple[int, ...]  # those of the added that are new in the mailbox


def still_there(ordered: Sequence[int], kept: Sequence[int]) -> Sequence[int]:
    """What went since the mailbox was last looked at is missing in `ordered`, but the client has it in its place of
    `kept` until the next look tells its removal."""
    present = set(ordered)
    if present.issuperset(kept):
        return ordered
    following: dict[int, list[int]] = {}
    before = 0  # no UID
    for uid in kept:
        if uid in present:
            before = uid
        else:
            following.setdefault(before, []).append(uid)
    return [*following.get(0, ()), *(each for uid in ordered for each in (uid, *following.get(uid, ())))]


def removals(found: Sequence[int], gone: Container[int]) -> Places:
    """From the end to the beginning, so that each position is still right when its turn comes."""
    return tuple(reversed(_runs((position, uid) for position, uid in enumerate(found, 1) if uid in gone)))


def additions(after: Sequence[int], new: Container[int]) -> Places:
    """From the beginning to the end: whatever stands before is there already."""
    return _runs((position, uid) for position, uid in enumerate(after, 1) if uid in new)


def _runs(places: Iterable[tuple[int, int]]) -> Places:
    """Neighbours under the position of the first of them."""
    runs: list[tuple[int, list[int]]] = []
    for position, uid in places:
        if runs and position == runs[-1][0] + len(runs[-1][1]):
            runs[-1][1].append(uid)
        else:
            runs.append((position, [uid]))
    return tuple((position, tuple(uids)) for position, uids in runs)


def _unordered(uids: Iterable[int]) -> Places:
    together = tuple(sorted(uids))
    return ((0, together),) if together else ()


def has_room(contexts: Iterable[Context], found: Sequence[int]) -> bool:
    """One more fits beside these."""
    there = [len(context.found) for context in contexts]
    return len(there) < MOST and sum(there) + len(found) <= MOST_UIDS
