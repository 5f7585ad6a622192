"""Counts that all processes of a machine share: how many are inside, how often within a time, what is remembered.

`Tally.shared(directory, clock)` maps a file; each process writes a region of its own and reads all of them, so nobody
waits for anybody and a killed process leaves at most its own numbers, which the next one to take the region clears.
`Tally.private(clock)` is the same for one process, and what is used when the file cannot be had (full disk): limits
then hold per process. Every call is a few microseconds of memory, never a system call; not for several threads.

Bounded: sets of eight slots, the stalest of a full set is forgotten. Names are hashed under a random key, so that
nobody can aim at another's slot. Knows nothing of what is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from core.clock import Clock
from core.tally_file import Mapped, claim

WAYS = 8
# key, bucket of the window, count of this bucket, count of the one before, unused, Unix time
SLOT = Struct("<QIIIId")
SET = WAYS * SLOT.size
COUNT, COUNT_AT = Struct("<I"), 12  # the count of this bucket, by itself
KEYS = Struct("<" + f"Q{SLOT.size - 8}x" * WAYS)  # the keys of a set
HELD = 1024  # gauges whose slot and count we know without looking, and events whose slot we look at first
# table > sets of it in a region
GAUGES, EVENTS, MARKS = range(3)
SETS = (2048, 4096, 4096)
OFFSETS = tuple(SET * sum(SETS[:number]) for number in range(len(SETS)))
REGION = SET * sum(SETS)
GAUGE_OCTETS = SET * SETS[GAUGES]  # the first table: whoever is inside is gone with the process
FAR = 400 * 86400.0  # a mark further away was set by a clock that ran ahead (fault 163)

Slot = tuple[int, int, int, int, int, float]


class Key(NamedTuple):
    """What a name is looked for by: a hash, and its set in each table of region 0."""

    number: int
    sets: tuple[int, ...]


class Tally:
    """Names are any text; the three kinds (gauges, events, marks) do not meet."""

    def __init__(self, mapped: Mapped, clock: Clock) -> None:
        self._mapped = mapped
        self._memory = mapped.memory
        self._clock = clock
        self._key = lru_cache(maxsize=512)(self._hashed)  # a connection asks for the same few names again and again
        self._beyond: Counter[str] = Counter()  # gauges that found no slot: counted for this process alone
        self._held: dict[str, tuple[int, int]] = {}  # gauges of our region, which nobody else writes: slot and count
        self._places: dict[int, int] = {}  # events of our region: where the slot of a key's number was

    @classmethod
    def private(cls, clock: Clock) -> Tally:
        return cls(Mapped.anonymous(REGION), clock)

    @classmethod
    def shared(cls, directory: Path, clock: Clock) -> Tally:
        """Raises OSError when the file cannot be made or has no region left."""
        return cls(claim(directory, REGION, GAUGE_OCTETS), clock)

    def close(self) -> None:
        start = self._mapped.start + self._mapped.region * REGION
        self._memory[start : start + GAUGE_OCTETS] = bytes(GAUGE_OCTETS)
        self._mapped.close()

    # --- gauges: who is inside now -----------------------------------------------------------------------------------

    def enter(self, name: str) -> None:
        self._step(name, 1)

    def leave(self, name: str) -> None:
        self._step(name, -1)

    def inside(self, name: str) -> int:
        key, memory, found = self._key(name), self._memory, self._beyond.get(name, 0)
        held = self._held.get(name)
        for region in range(self._mapped.regions):
            if held is not None and region == self._mapped.region:
                found += held[1]
                continue
            at = self._find(region, GAUGES, key)
            if at >= 0:
                found += COUNT.unpack_from(memory, at + COUNT_AT)[0]
        return found

    def _step(self, name: str, by: int) -> None:
        """Every connection takes eight of these; who is not the first nor the last of a name costs one write."""
        held = self._held.get(name)
        if held is None or held[1] + by <= 0:
            self._sought(name, by)
            return
        at, count = held[0], held[1] + by
        COUNT.pack_into(self._memory, at + COUNT_AT, count)
        self._held[name] = (at, count)

    def _sought(self, name: str, by: int) -> None:
        key = self._key(name)
        at = self._find(self._mapped.region, GAUGES, key)
        if at < 0 and by > 0 and name not in self._beyond:
            at = self._free(GAUGES, key, _kept)
        if at < 0 or (name in self._beyond and by < 0):
            self._beyond[name] += by
            if self._beyond[name] <= 0:
                del self._beyond[name]
            return
        count = max(SLOT.unpack_from(self._memory, at)[2] + by, 0)
        # An empty gauge gives its slot back.
        SLOT.pack_into(self._memory, at, key.number if count else 0, 0, count, 0, 0, 0.0)
        if not count:
            self._held.pop(name, None)
        elif len(self._held) < HELD:
            self._held[name] = (at, count)

    # --- events: how often within a time -----------------------------------------------------------------------------

    def add(self, name: str, window: float, amount: int = 1) -> int:
        """Count, and tell how many there were within the last `window` seconds (to within a window's share)."""
        key, now = self._key(name), self._clock.now()
        ours = self._counted(key, window, amount, now)
        return int(ours + self._elsewhere(key, window, now) + 0.5)

    def count(self, name: str, window: float) -> None:
        """As `add`, for who does not ask how many."""
        self._counted(self._key(name), window, 1, self._clock.now())

    def _counted(self, key: Key, window: float, amount: int, now: float) -> float:
        """Ours are so many with these."""
        at = self._places.get(key.number, -1)
        slot: Slot | None = SLOT.unpack_from(self._memory, at) if at >= 0 else None
        if slot is None or slot[0] != key.number:  # forgotten since, or another's
            at = self._place(key)
            slot = SLOT.unpack_from(self._memory, at)
        _, bucket, current, previous, _, _ = slot
        here = int(now // window)
        if bucket != here:
            current, previous = 0, current if bucket == here - 1 else 0
        current += amount
        SLOT.pack_into(self._memory, at, key.number, here, current, previous, 0, now)
        return current + previous * (1.0 - (now / window - here))

    def _place(self, key: Key) -> int:
        at = self._find(self._mapped.region, EVENTS, key)
        if at < 0:
            at = self._free(EVENTS, key, lambda slot: slot[5])
        if len(self._places) >= HELD:
            self._places.clear()
        self._places[key.number] = at
        return at

    def seen(self, name: str, window: float) -> int:
        """`window` is the one that `add` was told."""
        key, now = self._key(name), self._clock.now()
        return int(sum(_weighed(slot, window, now) for slot in self._slots(EVENTS, key)) + 0.5)

    def last(self, name: str) -> float:
        """When `name` was counted last (Unix time); 0 when it is not known, or was in the future."""
        times = [slot[5] for slot in self._slots(EVENTS, self._key(name))]
        now = self._clock.now()
        return max((time for time in times if time <= now), default=0.0)

    def _elsewhere(self, key: Key, window: float, now: float) -> float:
        """What the other processes counted."""
        total = 0.0
        for region in range(self._mapped.regions):
            if region != self._mapped.region:
                at = self._find(region, EVENTS, key)
                if at >= 0:
                    total += _weighed(SLOT.unpack_from(self._memory, at), window, now)
        return total

    # --- marks: what is remembered until a time ----------------------------------------------------------------------

    def remember(self, name: str, seconds: float) -> None:
        key = self._key(name)
        at = self._find(self._mapped.region, MARKS, key)
        if at < 0:
            at = self._free(MARKS, key, lambda slot: slot[5])
        SLOT.pack_into(self._memory, at, key.number, 0, 0, 0, 0, self._clock.now() + seconds)

    def recalls(self, name: str) -> bool:
        key = self._key(name)
        for region in range(self._mapped.regions):
            at = self._find(region, MARKS, key)
            if at >= 0:  # mostly none is
                now = self._clock.now()
                if now < SLOT.unpack_from(self._memory, at)[5] <= now + FAR:
                    return True
        return False

    def forget(self, name: str) -> None:
        """The events and the mark of this name, whoever wrote them."""
        key = self._key(name)
        for table in (EVENTS, MARKS):
            for region in range(self._mapped.regions):
                at = self._find(region, table, key)
                if at >= 0:
                    self._memory[at : at + SLOT.size] = bytes(SLOT.size)

    # --- slots -------------------------------------------------------------------------------------------------------

    def _hashed(self, name: str) -> Key:
        digest = blake2b(name.encode("utf-8", "replace"), key=self._mapped.salt, digest_size=8).digest()
        number = int.from_bytes(digest, "little") or 1
        sets = tuple(self._mapped.start + OFFSETS[table] + (number % SETS[table]) * SET for table in range(len(SETS)))
        return Key(number, sets)

    def _find(self, region: int, table: int, key: Key) -> int:
        """Where the slot of `key` lies in a region; -1 when it has none. Not by `mmap.find`, which takes longer and
        before Python 3.11.4 may read past the end it was given (CPython issue 105235)."""
        start = key.sets[table] + region * REGION
        keys = KEYS.unpack_from(self._memory, start)
        return start + keys.index(key.number) * SLOT.size if key.number in keys else -1

    def _slots(self, table: int, key: Key) -> list[Slot]:
        found = []
        for region in range(self._mapped.regions):
            at = self._find(region, table, key)
            if at >= 0:
                found.append(SLOT.unpack_from(self._memory, at))
        return found

    def _free(self, table: int, key: Key, worth: Callable[[Slot], float]) -> int:
        """A slot of ours for a new key: an empty one, else the one of least worth; -1 when all are worth too much."""
        start = key.sets[table] + self._mapped.region * REGION
        slots: list[Slot] = list(SLOT.iter_unpack(self._memory[start : start + SET]))
        chosen = next((number for number, slot in enumerate(slots) if slot[0] == 0), -1)
        if chosen < 0:
            chosen = min(range(WAYS), key=lambda number: worth(slots[number]))
            if worth(slots[chosen]) == float("inf"):
                return -1
        at = start + chosen * SLOT.size
        self._memory[at : at + SLOT.size] = bytes(SLOT.size)
        return at


def _weighed(slot: Slot, window: float, now: float) -> float:
    """What an event's slot says of the last `window` seconds: all of this bucket, of the one before what is left."""
    _, bucket, current, previous, _, _ = slot
    here = int(now // window)
    rest = 1.0 - (now / window - here)
    if bucket == here:
        return current + previous * rest
    return current * rest if bucket == here - 1 else 0.0


def _kept(_slot: Slot) -> float:
    """Who is inside stays counted: an empty slot or none."""
    return float("inf")
