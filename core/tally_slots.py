"""Where names have their slots in the memory of `core.tally`: for each name one set of eight in a table of a region.

A `Key` is a name with what was found for it. Our slots we know, for nobody else gives them away; those of other
processes are looked for again only once one of them has told that a name got a slot. So a connection from where others
came before looks for nothing: that was three quarters of what its counts cost, and grew with each process.

Slots are read and written as native numbers, each in one piece.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from hashlib import blake2b
from weakref import WeakValueDictionary

from core.tally_file import NEWS, NEWS_AT, REGIONS, Mapped

WAYS = 8
# A slot: key (8 octets); bucket of the window, count of this bucket, count of the one before, unused (4 octets each);
# Unix time (8). Its place is that of its first octet among numbers of four octets, from which these are so far:
BUCKET, COUNT, BEFORE = 2, 3, 4
TIME = 3  # among numbers of eight, from half the place on
SLOT = 32
NUMBERS = SLOT // 4
SET = WAYS * SLOT
# table > sets of it in a region
GAUGES, EVENTS, MARKS = range(3)
SETS = (2048, 4096, 4096)
OFFSETS = tuple(SET * sum(SETS[:number]) for number in range(len(SETS)))
REGION = SET * sum(SETS)
GAUGE_OCTETS = SET * SETS[GAUGES]  # the first table: whoever is inside is gone with the process


class Key:
    """A name: its hash, its sets in region 0; for each table the place of our slot (-1: we have none) and those of the
    others', with the turn of news in which they were looked for; how many are `inside` by our gauge, which nobody else
    writes."""

    __slots__ = ("__weakref__", "elsewhere", "inside", "name", "number", "octets", "ours", "sets", "turns")

    def __init__(self, name: str, number: int, sets: tuple[int, ...]) -> None:
        self.name, self.number, self.sets = name, number, sets
        self.octets = number.to_bytes(8, sys.byteorder)
        self.ours = [-1] * len(SETS)
        self.elsewhere: list[tuple[int, ...]] = [()] * len(SETS)
        self.turns = [-1] * len(SETS)
        self.inside = 0


class Slots:
    """Places of names in a mapped memory, of which `counts` and `times` are views. `held`: how many names are
    remembered anyway; a name has one key for as long as anybody keeps it."""

    def __init__(self, mapped: Mapped, held: int) -> None:
        self._mapped, self._memory = mapped, mapped.memory
        view = memoryview(mapped.memory)
        self.counts: memoryview[int] = view.cast("I")
        self._numbers: memoryview[int] = view.cast("Q")
        self.times: memoryview[float] = view.cast("d")
        self.key = lru_cache(maxsize=held)(self._known)  # a connection asks for the same few names again and again
        self._keys = WeakValueDictionary[int, Key]()
        self._told = slice(NEWS_AT, NEWS_AT + REGIONS * NEWS.size) if mapped.start else slice(0)  # alone nobody tells
        self._news = self._memory[self._told]
        self._turn = 0  # of news

    def close(self) -> None:
        for view in (self.counts, self._numbers, self.times):
            view.release()

    def _known(self, name: str) -> Key:
        digest = blake2b(name.encode("utf-8", "replace"), key=self._mapped.salt, digest_size=8).digest()
        number = int.from_bytes(digest, "little") or 1
        key = self._keys.get(number)
        if key is None:
            start = self._mapped.start
            sets = tuple(start + OFFSETS[table] + (number % SETS[table]) * SET for table in range(len(SETS)))
            key = self._keys[number] = Key(name, number, sets)
            key.ours = [self._find(self._mapped.region, table, key) for table in range(len(SETS))]
            key.inside = self.counts[key.ours[GAUGES] + COUNT] if key.ours[GAUGES] >= 0 else 0
        return key

    def sure(self, table: int, key: Key) -> int:
        """Our slot of an event or a mark, whose name a process of an earlier version may have made it forget."""
        at = key.ours[table]
        return at if at >= 0 and self._numbers[at >> 1] == key.number else self.take(table, key)

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
        return (start + found) // 4 if found >= 0 else -1

    def take(self, table: int, key: Key) -> int:
        """A slot of ours for a name that has none: an empty one, else that of a gauge at which nobody is, or of the
        oldest event or mark; -1 when there is somebody at each gauge."""
        start = (key.sets[table] + self._mapped.region * REGION) // 4
        places = range(start, start + WAYS * NUMBERS, NUMBERS)
        at = next((at for at in places if self._numbers[at >> 1] == 0), -1)
        if at < 0 and table == GAUGES:
            at = next((at for at in places if self.counts[at + COUNT] == 0), -1)
        elif at < 0:
            at = min(places, key=lambda at: self.times[(at >> 1) + TIME])
        if at >= 0:
            if loser := self._keys.get(self._numbers[at >> 1]):
                loser.ours[table] = -1
            self._memory[4 * at : 4 * at + SLOT] = bytes(SLOT)
            self._numbers[at >> 1] = key.number
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
