"""`make torture ARGS="power --states 50000 --seed 1"`: the long proofs of docs/reliability.md, one or all of them.

Ends with 1 when a promise was broken, and then keeps what repeats it (a recorded day) in the current directory.
"""

from __future__ import annotations

import argparse
import asyncio
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import core.log
from tests.fakes.silence import silence
from tests.torture import clients, crowd, failing, mutants, power, sweep, whole
from tests.torture import kills as kill
from tests.torture.power import Report
from tests.torture.workload import Trace, record

STATES_PER_DAY = 500
TOLD_EVERY = 2500
ROUNDS = 40
MEMORY = Path("/dev/shm")


@contextmanager
def room() -> Iterator[Path]:
    """A directory in memory: states come and go by the thousand."""
    with tempfile.TemporaryDirectory(prefix="torture", dir=MEMORY if MEMORY.is_dir() else None) as directory:
        yield Path(directory)


def one_day(seed: int, rounds: int, states: int) -> Report:
    """In a process of its own."""
    silence()
    with room() as directory:
        trace, report = power.run(seed, rounds, states, directory)
    if report.violations:
        Path(f"torture-{seed}.day").write_bytes(pickle.dumps(trace))
    return report


def run_power(options: argparse.Namespace) -> bool:
    """Days with consecutive seeds until the states are enough."""
    started, total, days = time.time(), Report(), -(-options.states // STATES_PER_DAY)
    seeds = range(options.seed, options.seed + days)
    with ProcessPoolExecutor(options.processes) as pool:
        counts = [min(STATES_PER_DAY, options.states - STATES_PER_DAY * number) for number in range(days)]
        for report in pool.map(one_day, seeds, [options.rounds] * days, counts):
            total.add(report)
            for line in report.violations:
                print(f"VIOLATION {line}", flush=True)
            if total.states % TOLD_EVERY == 0:
                _tell(f"power: {total.states} states so far, {len(total.violations)} violations")
    print(f"power: {total.states} states of {days} days (seeds {seeds.start}-{seeds.stop - 1}, {total.events} events)")
    print(f"  {total.twice} of them with a second power loss during recovery")
    print(f"  index beside the files: {dict(total.by_index)}")
    print(f"  what survived: {dict(total.by_survival)}")
    print(f"  {len(total.violations)} violations, {time.time() - started:.0f} s")
    return not total.violations


def one_mutant(name: str, seed: int, states: int, days: int) -> str | None:
    """In a process of its own: how it was caught; None when `days` of `states` states each were not enough."""
    silence()
    for day in range(seed, seed + days):
        with room() as directory:
            trace = asyncio.run(record(directory / "day", day, ROUNDS))
            caught = mutants.catch(trace, mutants.MUTANTS[name], day, states, directory)
            if caught is not None:
                return caught
    return None


def run_mutants(options: argparse.Namespace) -> bool:
    """Every mutant must be caught."""
    names = [name for name in mutants.MUTANTS if options.only in name]
    with ProcessPoolExecutor(options.processes) as pool:
        count = len(names)
        answers = pool.map(one_mutant, names, [options.seed] * count, [options.states] * count, [options.days] * count)
        missed = 0
        for name, caught in zip(names, answers, strict=True):
            missed += caught is None
            print(
                f"{'MISSED' if caught is None else 'caught'}: {name}{'' if caught is None else f' ({caught})'}",
                flush=True,
            )
    print(f"mutants: {len(names) - missed} of {len(names)} caught")
    return not missed


def one_row(operation: str, fault: str, lasting: bool, step: int) -> tuple[list[str], int]:
    """In a process of its own."""
    silence()
    with room() as directory:
        return asyncio.run(failing.every_call(directory, operation, fault, lasting=lasting, step=step))


def run_failing(options: argparse.Namespace) -> bool:
    """Every call of every operation, every fault, once and for good."""
    rows = [(o, f, lasting) for o in failing.OPERATIONS for f in failing.FAULTS for lasting in (False, True)]
    started, calls, bad = time.time(), 0, 0
    with ProcessPoolExecutor(options.processes) as pool:
        for lines, count in pool.map(one_row, *zip(*rows, strict=True), [options.step] * len(rows)):
            calls, bad = calls + count, bad + len(lines)
            for line in lines:
                print(f"VIOLATION {line}", flush=True)
    print(f"failing: {calls} calls failed in {len(rows)} rows, {bad} violations, {time.time() - started:.0f} s")
    return not bad


def run_sweep(options: argparse.Namespace) -> bool:
    """Every call of every operation."""
    started = time.time()
    names = [name for name in sweep.TASKS if options.only in name]
    with room() as directory:
        swept = sweep.sweep(
            directory, names, seed=options.seed, processes=options.processes, step=options.step, tell=_tell
        )
    for line in swept.violations:
        print(f"VIOLATION {line}")
    print(
        f"sweep: {swept.kills} killed in {len(names)} operations, {swept.kills_again} of them again during recovery, "
        f"{len(swept.violations)} violations, {time.time() - started:.0f} s"
    )
    return not swept.violations


def _tell(line: str) -> None:
    print(line, flush=True)


def run_kills(options: argparse.Namespace) -> bool:
    """The calls that change the disk, by strace."""
    silence()
    started, kills = time.time(), 0
    violations: list[str] = []
    tasks = options.tasks.split(",")
    with room() as directory, ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        rooms = [directory / task for task in tasks]
        for path in rooms:
            path.mkdir()
        run = partial(kill.exhaustive, calls=options.calls.split(","), step=options.step)
        for lines, count in pool.map(run, rooms, [[task] for task in tasks]):
            violations, kills = violations + lines, kills + count
    for line in violations:
        print(f"VIOLATION {line}")
    print(f"kills: {kills} by strace in {options.tasks}, {len(violations)} violations, {time.time() - started:.0f} s")
    return not violations


STORM = 250  # kills on one store


def run_storm(options: argparse.Namespace) -> bool:
    """Random moments of several processes at work."""
    started, acknowledged, killed, bad = time.time(), 0, 0, 0
    stores = -(-options.kills // STORM)
    counts = [min(STORM, options.kills - STORM * number) for number in range(stores)]
    with room() as directory, ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for lines, told, kills in pool.map(
            kill.storm, [directory] * stores, range(options.seed, options.seed + stores), counts
        ):
            acknowledged, killed, bad = acknowledged + len(told.ok), killed + kills, bad + len(lines)
            for line in lines:
                print(f"VIOLATION {line}", flush=True)
    print(
        f"storm: {killed} killed at random moments (seeds {options.seed}-{options.seed + stores - 1}), "
        f"{acknowledged} acknowledged, {bad} violations, {time.time() - started:.0f} s"
    )
    return not bad


def run_crowd(options: argparse.Namespace) -> bool:
    """Sixteen writers, sixteen readers."""
    with room() as directory:
        counted = crowd.crowd(directory, options.seconds)
    for line in counted.violations:
        print(f"VIOLATION {line}")
    print(f"crowd: {counted.written} written, {counted.looked} read, {len(counted.violations)} violations")
    return not counted.violations


def run_clients(options: argparse.Namespace) -> bool:
    """IMAP clients that believe what they are told."""
    fine, end = True, time.monotonic() + options.seconds
    seed = options.seed
    while fine and time.monotonic() < end:
        with room() as directory:
            counted = clients.torture(directory, seed, min(60.0, end - time.monotonic()), options.processes)
        for line in counted.violations:
            print(f"VIOLATION {line}")
        said = f"{counted.commands} commands, {counted.rounds} comparisons, {len(counted.violations)} violations"
        print(f"clients: seed {seed}, {said}", flush=True)
        fine, seed = not counted.violations, seed + 1
    return fine


def run_suite(options: argparse.Namespace) -> bool:
    """The whole suite, killed again and again while letters of every way go through it."""
    told = whole.storm(options.seed, options.kills, log=Path(f"torture-{options.seed}.jsonl"))
    for line in told.account.violations:
        print(f"VIOLATION {line}")
    print(f"suite: seed {options.seed}, {told.summary}")
    return not told.account.violations


def run_all(options: argparse.Namespace) -> bool:
    """Every part with its defaults."""
    fine = True
    for part in ("sweep", "storm", "mutants", "failing", "kills", "crowd", "clients", "suite", "power"):
        fine = main(["--seed", str(options.seed), "--processes", str(options.processes), part]) == 0 and fine
    return fine


def run_again(options: argparse.Namespace) -> bool:
    """A kept day once more."""
    trace: Trace = pickle.loads(Path(options.file).read_bytes())
    core.log.configure("error", stream=sys.stderr)
    with room() as directory:
        report = power.explore_in(trace, trace.seed, options.states, directory)
    print("\n".join([*report.violations, f"{report.states} states"]))
    return not report.violations


PARTS = {
    "power": run_power,
    "mutants": run_mutants,
    "failing": run_failing,
    "sweep": run_sweep,
    "kills": run_kills,
    "storm": run_storm,
    "crowd": run_crowd,
    "clients": run_clients,
    "suite": run_suite,
    "all": run_all,
    "again": run_again,
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("power", help="power loss on a recorded disk")
    part.add_argument("--states", type=int, default=50_000)
    part.add_argument("--rounds", type=int, default=ROUNDS)
    part = parts.add_parser("mutants", help="stores with one sync missing, which the proof must catch")
    part.add_argument("--states", type=int, default=400)
    part.add_argument("--days", type=int, default=4)
    part.add_argument("--only", default="")
    part = parts.add_parser("again", help="a kept day once more")
    part.add_argument("file")
    part.add_argument("--states", type=int, default=STATES_PER_DAY)
    part = parts.add_parser("failing", help="a disk that fails at every call")
    part.add_argument("--step", type=int, default=1)
    part = parts.add_parser("sweep", help="kill -9 in front of each system call")
    part.add_argument("--only", default="")
    part.add_argument("--step", type=int, default=1)
    part = parts.add_parser("kills", help="kill -9 by strace at the calls that change the disk")
    part.add_argument("--tasks", default=",".join(kill.EXHAUSTIVE))
    part.add_argument("--calls", default=",".join(kill.CALLS))
    part.add_argument("--step", type=int, default=1)
    part = parts.add_parser("storm", help="kill -9 at random moments of several processes")
    part.add_argument("--kills", type=int, default=1000)
    part = parts.add_parser("crowd", help="sixteen writers and readers in four processes")
    part.add_argument("--seconds", type=float, default=60)
    part = parts.add_parser("clients", help="IMAP clients on one mailbox, each believing what it is told")
    part.add_argument("--seconds", type=float, default=300)
    part = parts.add_parser("suite", help="kill -9 of the whole suite under load")
    part.add_argument("--kills", type=int, default=200)
    parts.add_parser("all", help="everything")
    options = parser.parse_args(arguments or ["all"])
    return 0 if PARTS[options.part](options) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
