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
from pathlib import Path

import core.log
from tests.torture import mutants, power
from tests.torture.power import Report
from tests.torture.workload import Trace, record

STATES_PER_DAY = 500
ROUNDS = 40
MEMORY = Path("/dev/shm")


@contextmanager
def room() -> Iterator[Path]:
    """A directory in memory: states come and go by the thousand."""
    with tempfile.TemporaryDirectory(prefix="torture", dir=MEMORY if MEMORY.is_dir() else None) as directory:
        yield Path(directory)


def one_day(seed: int, rounds: int, states: int) -> Report:
    """In a process of its own."""
    core.log.configure("error", stream=open("/dev/null", "w"))  # noqa: SIM115 - for the life of the process
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
    print(f"power: {total.states} states of {days} days (seeds {seeds.start}-{seeds.stop - 1}, {total.events} events)")
    print(f"  index beside the files: {dict(total.by_index)}")
    print(f"  what survived: {dict(total.by_survival)}")
    print(f"  {len(total.violations)} violations, {time.time() - started:.0f} s")
    return not total.violations


def one_mutant(name: str, seed: int, states: int, days: int) -> str | None:
    """In a process of its own: how it was caught; None when `days` of `states` states each were not enough."""
    core.log.configure("error", stream=open("/dev/null", "w"))  # noqa: SIM115 - for the life of the process
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


def run_again(options: argparse.Namespace) -> bool:
    """A kept day once more."""
    trace: Trace = pickle.loads(Path(options.file).read_bytes())
    core.log.configure("error", stream=sys.stderr)
    with room() as directory:
        report = power.explore_in(trace, trace.seed, options.states, directory)
    print("\n".join([*report.violations, f"{report.states} states"]))
    return not report.violations


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
    options = parser.parse_args(arguments)
    runs = {"power": run_power, "mutants": run_mutants, "again": run_again}
    return 0 if runs[options.part](options) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
