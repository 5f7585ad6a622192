"""Where UIDs stand in a map from numbers to UIDs, and the map without them. Pure, and done by whole pieces.

An EXPUNGE or MOVE may take tens of thousands at once, and every session that has the mailbox selected takes them out of
its own map on the event loop. What goes is mostly neighbours (a slice), else many among others (one pass in which no
line of Python runs for each), else a few far apart (each looked up). Of 100,000, 50,000 neighbours take 1.6 ms, every
second message 8, where a loop over the map took 17 (CPython 3.11, 2026-11-30).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import compress, count
from operator import not_

from imap.types import FEW, TURN

PIECE = 1024  # UIDs looked at together


class Removal:
    """`gone` out of `uids`, both ascending: `places` is where those of them stand that are there (from 0, ascending),
    `kept` what is left, once `steps` has come to its end."""

    __slots__ = ("_gone", "_size", "_uids", "kept", "places")

    def __init__(self, uids: array[int], gone: Sequence[int]) -> None:
        self._uids, self._gone, self._size = uids, gone, len(uids)
        self.places: list[int] = []
        self.kept: array[int] = array("I")

    def steps(self) -> Iterator[None]:
        """Some milliseconds of work at a time."""
        uids, gone, done = self._uids, self._gone, 0  # places before this one are looked at
        for start in range(0, len(gone), PIECE):
            if start and start % TURN < PIECE:
                yield
            piece = gone[start : start + PIECE]
            low = bisect_left(uids, piece[0], done)
            high = bisect_right(uids, piece[-1], low)
            self.kept += uids[done:low]
            self._take(piece, low, uids[low:high])
            done = high
        self.kept += uids[done:]

    def _take(self, piece: Sequence[int], low: int, stretch: array[int]) -> None:
        """`stretch` of the map begins at `low`, before the first of `piece`, and ends behind its last."""
        if len(stretch) == len(piece) and stretch == array("I", piece):
            self.places.extend(range(low, low + len(piece)))
        elif len(stretch) < len(piece) * FEW:
            taken = list(map(frozenset(piece).__contains__, stretch))
            self.places.extend(compress(count(low), taken))
            self.kept.extend(compress(stretch, map(not_, taken)))
        else:
            self._take_each(piece, low, stretch)

    def _take_each(self, piece: Sequence[int], low: int, stretch: array[int]) -> None:
        done = 0
        for uid in piece:
            at = bisect_left(stretch, uid, done)
            if at < len(stretch) and stretch[at] == uid:
                self.places.append(low + at)
                self.kept += stretch[done:at]
                done = at + 1
        self.kept += stretch[done:]

    def fits(self, uids: Sequence[int], gone: Collection[int]) -> bool:
        """They are what this was made of: a map only grows, and so does what is gone from it."""
        return (self._size, len(self._gone)) == (len(uids), len(gone))


def removed(uids: array[int], gone: Sequence[int]) -> Removal:
    """All of it at once."""
    removal = Removal(uids, gone)
    for _ in removal.steps():
        pass
    return removal
