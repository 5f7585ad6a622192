"""Power loss: any event of a recorded day, any survival of what was not synced, any index beside it, recovered.

`explore` walks one trace and judges as many states as asked, spread over its events. All is drawn from the seed.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from store.types import AccountRef
from tests.torture import twice
from tests.torture.disk import SURVIVALS, Disk, File, Pending, Replay, apply
from tests.torture.history import History
from tests.torture.judge import Case, judge
from tests.torture.recorder import Mark, SyncBegin
from tests.torture.workload import AUTRE, REFS, Trace, account_path, record, small_blocks

# The index beside the files, and how often: as the same disk kept it, absent, of an earlier commit, with a torn WAL,
# of another account. "killed": everything is there and the kernel still runs.
TWICE = 0.12  # how many states meet a second power loss while they are recovered
INDEXES = {"own": 6, "none": 3, "earlier": 4, "torn": 3, "foreign": 1, "killed": 3}


@dataclass(slots=True)
class Report:
    """What a run found."""

    states: int = 0
    events: int = 0
    twice: int = 0
    by_index: Counter[str] = field(default_factory=Counter)
    by_survival: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        self.states += other.states
        self.events += other.events
        self.twice += other.twice
        self.by_index += other.by_index
        self.by_survival += other.by_survival
        self.violations += other.violations


@dataclass(slots=True)
class _State:
    position: int
    survival: str
    index: str
    disk: Disk
    durable: Disk  # what is certain of it: all after a power loss
    pending: Pending  # and, after a kill, what is not

    def __str__(self) -> str:
        return f"event {self.position}, {self.survival}, index {self.index}"


def is_index(name: str) -> bool:
    return "index" in name


def places(trace: Trace) -> list[int]:
    """Where a crash may come: in front of each event that changes or promises something."""
    first = next(n for n, event in enumerate(trace.events) if isinstance(event, Mark))
    return [n for n in range(first, len(trace.events)) if not isinstance(trace.events[n], SyncBegin | Mark)]


def states(history: History, dice: random.Random, count: int, where: Sequence[int]) -> Iterator[_State]:
    """`count` crash states in the order of their events, which are drawn from `where`."""
    trace = history.trace
    wanted = Counter(dice.choices(where, k=count))
    replay = Replay(trace.baseline, trace.numbers, trace.events)
    for position in sorted(wanted):
        while replay.position < position:
            replay.step()
        for _ in range(wanted[position]):
            index = dice.choices(list(INDEXES), list(INDEXES.values()))[0]
            survival = "everything" if index == "killed" else dice.choice(list(SURVIVALS))
            disk = _survived(replay, dice, survival)
            _put_index(disk, history, position, dice, index)
            killed = index == "killed"
            durable, pending = (replay.durable.copy(), [c for _, c in replay.pending]) if killed else (disk, [])
            yield _State(position, survival, index, disk, durable, pending)


def _survived(replay: Replay, dice: random.Random, survival: str) -> Disk:
    disk = replay.durable.copy()
    pending: Pending = [change for _, change in replay.pending]
    for change in SURVIVALS[survival](dice, pending):
        apply(disk, change)
    return disk


def _put_index(disk: Disk, history: History, position: int, dice: random.Random, index: str) -> None:
    for ref in REFS:
        if index in ("own", "killed"):
            return
        account = account_path(ref)
        number = disk.find(account)
        if number is None or number not in disk.directories:
            continue
        names = disk.directories[number]
        if index == "torn":
            _tear(disk, names, dice)
            continue
        for name in [name for name in names if is_index(name)]:
            del names[name]
        source = account_path(dice.choice(REFS)) if index == "foreign" else account
        told = [state for state in history.told[source] if state.position <= position]
        if index != "none" and told:
            for offset, (name, data) in enumerate(dice.choice(told).images.items()):
                inner = -(number * 10 + offset)
                names[name], disk.files[inner] = inner, File(data)


def _tear(disk: Disk, names: dict[str, int], dice: random.Random) -> None:
    """The WAL cut anywhere, or with some octets of its end changed."""
    inner = names.get("index.db-wal")
    data = disk.files[inner].data if inner is not None and inner in disk.files else b""
    if inner is None or not data:
        return
    cut = dice.randrange(len(data))
    if dice.random() < 0.5:
        disk.files[inner] = File(data[:cut])
    else:
        disk.files[inner] = File(data[:cut] + dice.randbytes(min(8, len(data) - cut)) + data[cut + 8 :])


async def explore(
    history: History, seed: int, count: int, room: Path, *, most: int = 20, where: Sequence[int] = ()
) -> Report:
    """Judge `count` states of a trace in directories under `room`; stop after `most` violations. `where`: the events to
    crash at; all, when empty."""
    dice, report = random.Random(seed), Report(events=len(history.trace.events))
    report.violations += history.complaints
    with small_blocks():
        for number, state in enumerate(states(history, dice, count, where or places(history.trace))):
            target = room / f"state{number}"
            state.disk.write_to(target)
            case, second = _case(history, state, target, dice), ""
            try:
                if case.adopted is not None and dice.random() < TWICE:
                    second = f", {await _once_more(history, state, case)}"
                    report.twice += 1
                told = await judge(case)
            except Exception as error:
                told = [f"recovery failed: {error!r} {error.__cause__!r} {getattr(error, 'fields', '')}"]
            report.violations += [f"seed {history.trace.seed}/{seed}, {state}{second}: {line}" for line in told]
            report.states += 1
            report.by_index[state.index] += 1
            report.by_survival[state.survival] += 1
            shutil.rmtree(target)
            if len(report.violations) >= most:
                break
    return report


def _case(history: History, state: _State, target: Path, dice: random.Random) -> Case:
    """Two accounts are judged: the one the last event was about, and another."""
    killed = state.index == "killed"
    near = _account_near(history.trace, state.position)
    refs = [near, dice.choice([ref for ref in REFS if ref != near])]
    expected = {
        ref: history.expected(account_path(ref), state.position, exact_flags=killed, view=dice.random()) for ref in refs
    }
    deliveries = history.deliveries(state.position)
    clock, boot, adopted = history.trace.clock, "one" if killed else "two", history.adopted(state.position)
    return Case(target, boot, clock, history.trace.originals, expected, deliveries, dice, adopted)


async def _once_more(history: History, state: _State, case: Case) -> str:
    """Another power loss during the recovery of the account the last event was about."""
    near = next(iter(case.expected))
    if case.expected[near].kind == "remove and return" and near == AUTRE:
        near = next(ref for ref in case.expected if ref != near)  # the way there and back is for an operator
    first = twice.First(case.data, state.disk, state.durable, state.pending, case.boot, case.clock)
    between = await twice.interrupted(first, near, case.deliveries, case.dice)
    case.boot, case.told_since, case.acked_since = "three", between.told, between.acked
    for ref in case.expected if state.index == "killed" else ():  # what a kill left whole, the power loss may take
        case.expected[ref] = history.expected(
            account_path(ref), state.position, exact_flags=False, view=case.dice.random()
        )
    return f"recovery of {near.address} until event {between.position}, {between.survival}"


def _account_near(trace: Trace, position: int) -> AccountRef:
    for event in reversed(trace.events[:position]):
        for ref in REFS:
            if f"/{account_path(ref)}/" in str(getattr(event, "path", "")):
                return ref
    return REFS[0]


def explore_in(trace: Trace, seed: int, count: int, room: Path) -> Report:
    """A recorded day, explored."""
    history = History.of(trace, room / "scratch")
    return asyncio.run(explore(history, seed, count, room))


def run(seed: int, rounds: int, count: int, room: Path) -> tuple[Trace, Report]:
    """A day recorded and explored."""
    trace = asyncio.run(record(room / f"day{seed}", seed, rounds))
    return trace, explore_in(trace, seed, count, room)
