"""Counts that all processes of a machine share: how many are inside, how often within a time, what is remembered.

`Tally.shared(directory, clock)` maps a file; each process writes a region of its own and reads all of them, so nobody
waits for anybody and a killed process leaves at most its own numbers, which the next one to take the region clears.
`Tally.private(clock)` is the same for one process, and what is used when the file cannot be had (full disk): limits
then hold per process. Every call is a few microseconds of memory, never a system call; not for several threads.

Bounded: sets of eight slots (`core.tally_slots`), the stalest of a full set is forgotten. Names are hashed under a
random key, so that nobody can aim at another's slot. Knows nothing of what is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from core.clock import Clock
from core.tally_file import Mapped, claim
from core.tally_slots import BEFORE, BUCKET, COUNT, EVENTS, GAUGE_OCTETS, GAUGES, MARKS, REGION, SLOT, TIME, Key, Slots
from core.tally_slots import SETS as SETS
from core.tally_slots import WAYS as WAYS

HELD = 1024  # names that are remembered with their places
FAR = 400 * 86400.0  # a mark further away was set by a clock that ran ahead (fault 163)


class Tally:
    """Names are any text; the three kinds (gauges, events, marks) do not meet. `key` gives what a name is asked by;
    who asks for several at once, again and again, keeps theirs."""

    def __init__(self, mapped: Mapped, clock: Clock) -> None:
        self._mapped = mapped
        self._memory = mapped.memory
        self._clock = clock
        self._slots = slots = Slots(mapped, HELD)
        self._counts, self._times = slots.counts, slots.times
        self.key = slots.key
        self._beyond: Counter[str] = Counter()  # gauges that found no slot: counted for this process alone

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
        self._slots.close()
        self._mapped.close()

    # --- gauges: who is inside now -----------------------------------------------------------------------------------

    def enter(self, name: str) -> None:
        self.step((self.key(name),), 1)

    def leave(self, name: str) -> None:
        self.step((self.key(name),), -1)

    def inside(self, name: str) -> int:
        return self.insides((self.key(name),))[0]

    def insides(self, keys: Iterable[Key]) -> list[int]:
        slots, counts, turn = self._slots, self._counts, self._slots.heard()
        found = []
        for key in keys:
            count = key.inside
            for at in key.elsewhere[GAUGES] if key.turns[GAUGES] == turn else slots.look(GAUGES, key):
                count += counts[at + COUNT]
            found.append(count + self._beyond.get(key.name, 0) if self._beyond else count)
        return found

    def step(self, keys: Iterable[Key], by: int) -> None:
        """One enters, or leaves, each of them. A gauge at which nobody is keeps its slot until another wants it."""
        counts = self._counts
        for key in keys:
            at, count = key.ours[GAUGES], key.inside + by
            if at < 0 or count < 0 or self._beyond:
                self._step(key, by)
            else:
                key.inside = counts[at + COUNT] = count

    def _step(self, key: Key, by: int) -> None:
        at = key.ours[GAUGES]
        if at < 0 and by > 0 and key.name not in self._beyond:
            at = self._slots.take(GAUGES, key)
        if at < 0 or (by < 0 and key.name in self._beyond):
            self._step_beyond(key.name, by)
        else:
            key.inside = self._counts[at + COUNT] = max(key.inside + by, 0)

    def _step_beyond(self, name: str, by: int) -> None:
        self._beyond[name] += by
        if self._beyond[name] <= 0:
            del self._beyond[name]

    # --- events: how often within a time -----------------------------------------------------------------------------

    def add(self, name: str, window: float) -> int:
        """Count, and tell how many there were within the last `window` seconds (to within a window's share)."""
        return self.adds((self.key(name),), window)[0]

    def adds(self, keys: Iterable[Key], window: float) -> list[int]:
        slots, counts, turn, now = self._slots, self._counts, self._slots.heard(), self._clock.now()
        here = int(now // window)
        rest = 1.0 - (now / window - here)
        found = []
        for key in keys:
            at = self._counted(key, here, now)
            count = counts[at + COUNT] + counts[at + BEFORE] * rest
            for at in key.elsewhere[EVENTS] if key.turns[EVENTS] == turn else slots.look(EVENTS, key):
                count += self._weighed(at, here, rest)
            found.append(int(count + 0.5))
        return found

    def count(self, name: str, window: float) -> None:
        """As `add`, for who does not ask how many."""
        self.counted(self.key(name), window)

    def counted(self, key: Key, window: float) -> None:
        now = self._clock.now()
        self._counted(key, int(now // window), now)

    def _counted(self, key: Key, here: int, now: float) -> int:
        """Our slot."""
        at, counts = key.ours[EVENTS], self._counts
        if at >= 0 and counts[at + BUCKET] == here:
            counts[at + COUNT] += 1
        else:
            at = self._slots.sure(EVENTS, key)
            counts[at + BEFORE] = counts[at + COUNT] if counts[at + BUCKET] == here - 1 else 0
            counts[at + COUNT] = 1
            counts[at + BUCKET] = here
        self._times[(at >> 1) + TIME] = now
        return at

    def _weighed(self, at: int, here: int, rest: float) -> float:
        """What a slot says of the last window: all of this bucket, of the one before what is left."""
        counts = self._counts
        bucket, current = counts[at + BUCKET], counts[at + COUNT]
        if bucket == here:
            return current + counts[at + BEFORE] * rest
        return current * rest if bucket == here - 1 else 0.0

    def seen(self, name: str, window: float) -> int:
        """`window` is the one that `add` was told."""
        now = self._clock.now()
        here = int(now // window)
        rest = 1.0 - (now / window - here)
        return int(sum(self._weighed(at, here, rest) for at in self._places(EVENTS, self.key(name))) + 0.5)

    def last(self, name: str) -> float:
        """When `name` was counted last (Unix time); 0 when it is not known, or was in the future."""
        times = [self._times[(at >> 1) + TIME] for at in self._places(EVENTS, self.key(name))]
        now = self._clock.now()
        return max((time for time in times if time <= now), default=0.0)

    # --- marks: what is remembered until a time ----------------------------------------------------------------------

    def remember(self, name: str, seconds: float) -> None:
        at = self._slots.sure(MARKS, self.key(name))
        self._times[(at >> 1) + TIME] = self._clock.now() + seconds

    def recalls(self, name: str) -> bool:
        return self.marked(self.key(name))

    def marked(self, key: Key) -> bool:
        for at in self._places(MARKS, key):  # mostly none is
            now = self._clock.now()
            if now < self._times[(at >> 1) + TIME] <= now + FAR:
                return True
        return False

    def forget(self, name: str) -> None:
        """The events and the mark of this name, whoever wrote them. The slots stay its own: their process alone gives
        them to another name, and then has no key of this one read them."""
        key = self.key(name)
        for table in (EVENTS, MARKS):
            for at in self._places(table, key):
                self._memory[4 * (at + BUCKET) : 4 * at + SLOT] = bytes(SLOT - 4 * BUCKET)

    def _places(self, table: int, key: Key) -> Iterable[int]:
        """Every process's slot of this name."""
        at = key.ours[table]
        return self._slots.others(table, key) if at < 0 else (at, *self._slots.others(table, key))
