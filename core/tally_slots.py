"""Where names have their slots in the memory of `core.tally`: for each name one set of eight in a table of a region.

A `Key` is a name with what was found for it. A slot of ours is asked whether it is still the name's; those of other
processes are looked for again only once a process has told that a name got one, so a connection from where others
came before looks for nothing. That was three quarters of what its counts cost, and grew with each process.

Slots are read and written as native numbers, each in one piece.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from hashlib import blake2b

from core.tally_file import NEWS, NEWS_AT, REGIONS, Mapped

WAYS = 8
# A slot: key (8 octets); bucket of the window, count of this bucket, count of the one before, unused (4 octets each);
# Unix time (8). Its place is that of its key among numbers of eight octets.
SLOT = 32
NUMBERS = SLOT // 8
BUCKET, COUNT, BEFORE = 2, 3, 4  # among numbers of four octets, from twice the place on
TIME = 3  # among those of eight, from the place on
SET = WAYS * SLOT
# table > sets of it in a region
GAUGES, EVENTS, MARKS = range(3)
SETS = (2048, 4096, 4096)
OFFSETS = tuple(SET * sum(SETS[:number]) for number in range(len(SETS)))
REGION = SET * sum(SETS)
GAUGE_OCTETS = SET * SETS[GAUGES]  # the first table: whoever is inside is gone with the process


class Key:
    """A name: its hash, its sets in region 0; for each table where our slot was, or -1 and how many slots we had taken
    by then, and where the others' are, with the turn of news in which they were looked for."""

    __slots__ = ("elsewhere", "name", "number", "octets", "ours", "sets", "taken", "turns")

    def __init__(self, name: str, number: int, sets: tuple[int, ...]) -> None:
        self.name, self.number, self.sets = name, number, sets
        self.octets = number.to_bytes(8, sys.byteorder)
        self.ours = [-1] * len(SETS)
        self.taken = [-1] * len(SETS)
        self.elsewhere: list[tuple[int, ...]] = [()] * len(SETS)
        self.turns = [-1] * len(SETS)


class Slots:
    """Places of names in a mapped memory, of which `numbers`, `counts` and `times` are views. `held`: how many names
    are remembered."""

    def __init__(self, mapped: Mapped, held: int) -> None:
        self._mapped, self._memory = mapped, mapped.memory
        view = memoryview(mapped.memory)
        self.numbers: memoryview[int] = view.cast("Q")
        self.counts: memoryview[int] = view.cast("I")
        self.times: memoryview[float] = view.cast("d")
        self.key = lru_cache(maxsize=held)(self._hashed)  # a connection asks for the same few names again and again
        self._told = slice(NEWS_AT, NEWS_AT + REGIONS * NEWS.size) if mapped.start else slice(0)  # alone nobody tells
        self._news = self._memory[self._told]
        self._turn = 0  # of news
        self._taken = 0  # slots, by us

    def close(self) -> None:
        for view in (self.numbers, self.counts, self.times):
            view.release()

    def _hashed(self, name: str) -> Key:
        digest = blake2b(name.encode("utf-8", "replace"), key=self._mapped.salt, digest_size=8).digest()
        number = int.from_bytes(digest, "little") or 1
        sets = tuple(self._mapped.start + OFFSETS[table] + (number % SETS[table]) * SET for table in range(len(SETS)))
        return Key(name, number, sets)

    def ours(self, table: int, key: Key) -> int:
        """Our slot of this name; -1 when there is none."""
        at = key.ours[table]
        known = self.numbers[at] == key.number if at >= 0 else key.taken[table] == self._taken
        if not known:
            at = key.ours[table] = self._find(self._mapped.region, table, key)
            key.taken[table] = self._taken
        return at

    def others(self, table: int, key: Key) -> tuple[int, ...]:
        """The other processes' slots of this name."""
        return key.elsewhere[table] if key.turns[table] == self.heard() else self.look(table, key)

    def heard(self) -> int:
        """The turn of news it is now. For whose turn is another, `look` again."""
        if self._memory[self._told] != self._news:
            self._news = self._memory[self._told]
            self._turn += 1
        return self._turn

    def look(self, table: int, key: Key) -> tuple[int, ...]:
        regions = [region for region in range(self._mapped.regions) if region != self._mapped.region]
        places = [self._find(region, table, key) for region in regions]
        silent = any(NEWS.unpack_from(self._news, region * NEWS.size)[0] == 0 for region in regions)
        key.turns[table] = -1 if silent else self._turn
        key.elsewhere[table] = found = tuple([at for at in places if at >= 0])
        return found

    def _find(self, region: int, table: int, key: Key) -> int:
        """Not by `mmap.find`, which takes longer and before Python 3.11.4 may read past the end it was given (CPython
        issue 105235)."""
        start = key.sets[table] + region * REGION
        octets = self._memory[start : start + SET]
        found = octets.find(key.octets)
        while found >= 0 and found % SLOT:  # what looks like it lies across other numbers
            found = octets.find(key.octets, found + 1)
        return (start + found) // 8 if found >= 0 else -1

    def take(self, table: int, key: Key) -> int:
        """A slot of ours for a name that has none: an empty one, else that of a gauge at which nobody is, or of the
        oldest event or mark; -1 when there is somebody at each gauge."""
        start = (key.sets[table] + self._mapped.region * REGION) // 8
        places = range(start, start + WAYS * NUMBERS, NUMBERS)
        at = next((at for at in places if self.numbers[at] == 0), -1)
        if at < 0 and table == GAUGES:
            at = next((at for at in places if self.counts[2 * at + COUNT] == 0), -1)
        elif at < 0:
            at = min(places, key=lambda at: self.times[at + TIME])
        if at >= 0:
            self._memory[8 * at : 8 * at + SLOT] = bytes(SLOT)
            self.numbers[at] = key.number
            self._taken += 1
            self._tell()
        key.ours[table] = at
        return at

    def _tell(self) -> None:
        """Behind the number, so that whoever hears of it finds it. Ours is no news to us."""
        if self._news:
            at = self._mapped.region * NEWS.size
            self._mapped.tell(self._mapped.region)
            ours = self._memory[NEWS_AT + at : NEWS_AT + at + NEWS.size]
            self._news = self._news[:at] + ours + self._news[at + NEWS.size :]
