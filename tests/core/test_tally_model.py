"""Four processes' counts against plain sums: names that want more slots than there are, kills, restarts, a clock that
jumps, names that are forgotten by whomever."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.tally import SETS, WAYS, Tally

WINDOW = 600.0
STEPS = 10_000


class Machine:
    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = ManualClock()
        self.directory = directory
        self.tallies = [Tally.shared(directory, self.clock) for _ in range(4)]
        self.inside = [Counter[str]() for _ in self.tallies]
        self.names = crowded(self.tallies[0], SETS[0], 2 * WAYS)
        # An event that loses its slot counts anew: these never do, for their sets have room.
        self.events = crowded(self.tallies[0], SETS[1], WAYS)
        self.counted: dict[tuple[int, str], list[int]] = {}  # process and name > bucket, in it, in the one before
        self.marks: dict[tuple[int, str], float] = {}

    def turn(self) -> None:
        number = self.random.randrange(4)
        weights = (40, 40, 30, 10, 6, 4, 1)
        step = self.random.choices(
            (self.come, self.go, self.count, self.remember, self.forget, self.later, self.end), weights
        )[0]
        step(number)

    def come(self, number: int) -> None:
        name = self.random.choice(self.names)
        self.tallies[number].enter(name)
        self.inside[number][name] += 1

    def go(self, number: int) -> None:
        if names := sorted(name for name, count in self.inside[number].items() if count):
            name = self.random.choice(names)
            self.tallies[number].leave(name)
            self.inside[number][name] -= 1

    def count(self, number: int) -> None:
        name, here = self.random.choice(self.events), int(self.clock.now() // WINDOW)
        slot = self.counted.setdefault((number, name), [0, 0, 0])
        if slot[0] == here:
            slot[1] += 1
        else:
            slot[:] = [here, 1, slot[1] if slot[0] == here - 1 else 0]
        assert self.tallies[number].add(name, WINDOW) == self.recent(name)

    def remember(self, number: int) -> None:
        name, seconds = self.random.choice(self.events), self.random.choice((5.0, 1000.0))
        self.tallies[number].remember(name, seconds)
        self.marks[number, name] = self.clock.now() + seconds

    def forget(self, number: int) -> None:
        name = self.random.choice(self.events)
        self.tallies[number].forget(name)
        for process in range(4):
            self.counted.pop((process, name), None)
            self.marks.pop((process, name), None)

    def later(self, _number: int) -> None:
        self.clock.advance(self.random.choice((0.1, 100.0, 600.0, 1300.0, -5.0, -700.0)))

    def end(self, number: int) -> None:
        """Another takes the region over, and what is in it that does not end with its process."""
        tally = self.tallies[number]
        if self.random.random() < 0.5:
            tally.close()
        else:  # as a kill does, without a word
            tally._slots.close()
            tally._mapped.close()
        self.tallies[number] = Tally.shared(self.directory, self.clock)
        self.inside[number].clear()

    def recent(self, name: str) -> int:
        now = self.clock.now()
        here = int(now // WINDOW)
        rest, total = 1.0 - (now / WINDOW - here), 0.0
        for process in range(4):
            bucket, count, before = self.counted.get((process, name), (0, 0, 0))
            total += count + before * rest if bucket == here else count * rest if bucket == here - 1 else 0.0
        return int(total + 0.5)

    def look(self, number: int) -> None:
        tally, name, event = self.tallies[number], self.random.choice(self.names), self.random.choice(self.events)
        told = sum(
            self.inside[process][name] - (0 if process == number else other._beyond[name])
            for process, other in enumerate(self.tallies)
        )
        assert tally.inside(name) == told
        assert tally.seen(event, WINDOW) == self.recent(event)
        assert tally.recalls(event) == any(
            self.clock.now() < self.marks.get((process, event), 0.0) for process in range(4)
        )


def crowded(tally: Tally, sets: int, each: int) -> list[str]:
    """Names that share three sets of a table."""
    found: dict[int, list[str]] = {0: [], 1: [], 2: []}
    number = 0
    while any(len(names) < each for names in found.values()):
        name = f"peer {number}"
        names = found.get(tally.key(name).number % sets)
        if names is not None and len(names) < each:
            names.append(name)
        number += 1
    return [name for names in found.values() for name in names]


@pytest.fixture(params=[2, 1024], ids=["few names held", "all names held"])
def machine(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr("core.tally.HELD", request.param)
    made = Machine(tmp_path, seed=request.param)
    yield made
    for tally in made.tallies:
        tally.close()


def test_four_processes_count_what_each_of_them_did(machine: Machine) -> None:
    for _ in range(STEPS):
        machine.turn()
        machine.look(machine.random.randrange(4))
