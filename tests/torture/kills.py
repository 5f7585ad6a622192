"""kill -9 by strace at the calls that change the disk, and at random moments of several processes under load.

Every call of every operation is the affair of `tests.torture.sweep`; strace is a second witness of it, with processes
that were started as ours are.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import core.log
from store.service import initialise
from tests.torture import forked, load, sweep
from tests.torture.checker import Before, Told, examine

ROOT = Path(__file__).resolve().parents[2]
CALLS = (
    "pwrite64", "fsync", "fdatasync", "linkat", "renameat", "unlinkat", "mkdirat", "ftruncate", "utimensat",
    "fallocate", "copy_file_range", "unlink", "io_submit",
)  # fmt: skip
EXHAUSTIVE = ("deliver", "append", "move", "expunge", "replace", "flag", "rename", "rebuild")
MOST_CALLS = 400  # of one kind in one operation
PATIENCE = 100.0


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def command(data: Path, task: str, seed: str, count: int, seconds: float = 600) -> list[str]:
    return [sys.executable, "-m", "tests.torture.load", str(data), task, seed, str(count), str(seconds)]


def killed_at(data: Path, task: str, call: str, number: int) -> list[str] | None:
    """What was said by a process killed at the n-th such call of one of its threads; None when it ended by itself."""
    strace = ["strace", "-f", "-q", "--seccomp-bpf", "-o", "/dev/null"]
    run = subprocess.run(
        [*strace, "-e", f"inject={call}:signal=KILL:when={number}", *command(data, task, "k", 2)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    said = run.stdout.splitlines()
    return None if "done" in said else said


def one_kill(template: sweep.Template, room: Path, task: str, call: str, number: int) -> list[str] | None:
    """Violations after one kill; None when the operation was over before."""
    data = room / f"{task}-{call}-{number}"
    shutil.copytree(template.data, data, symlinks=True)
    try:
        said = killed_at(data, task, call, number)
        if said is None:
            return None
        violations, _ = asyncio.run(examine(data, template.told.with_more(said), 1, template.before))
        return [f"{task} killed at {call} {number}: {line}" for line in violations]
    finally:
        shutil.rmtree(data)


def exhaustive(
    room: Path, tasks: Sequence[str], calls: Sequence[str] = CALLS, *, step: int = 1
) -> tuple[list[str], int]:
    """Every n-th call of each kind of each operation, n = 1, 1 + step, ...; violations and the number of kills."""
    template = sweep.prepared(room, ())
    violations: list[str] = []
    kills = 0
    for task in tasks:
        for call in calls:
            for number in range(1, MOST_CALLS, step):
                told = one_kill(template, room, task, call, number)
                if told is None:
                    break
                kills += 1
                violations += told
    return violations, kills


# -- at random moments -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Storm:
    """Processes at work on one store, one of them killed every now and then, sometimes all at once."""

    data: Path
    seed: int
    told: Told = field(default_factory=lambda: Told(alone=False))
    kills: int = 0
    errors: list[str] = field(default_factory=list)
    _running: list[tuple[int, Path]] = field(default_factory=list)
    _started: int = 0

    def start_one(self) -> None:
        self._started += 1
        said = self.data.with_name(f"said{self._started}")
        seed = f"s{self.seed}.{self._started}" + "t" * (self._started % 2)
        with said.open("w") as output:
            self._running.append((forked.start(partial(_mix, self.data, seed), output.fileno()), said))

    def kill(self, count: int) -> None:
        """Those that worked longest."""
        dying = [self._running.pop(0) for _ in range(count)]
        for pid, _ in dying:
            os.kill(pid, signal.SIGKILL)
        for pid, said in dying:
            _, status = os.waitpid(pid, 0)
            text = said.read_text()
            said.unlink()
            if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
                self.errors.append(f"ended by itself: {text[-800:]}")
            self.kills += 1
            self.told.hear(text.splitlines())

    def wait_for_work(self) -> None:
        """Until the oldest has said something."""
        deadline = time.monotonic() + PATIENCE
        while self._running[0][1].stat().st_size == 0 and time.monotonic() < deadline:
            time.sleep(0.005)


def _mix(data: Path, seed: str) -> None:
    core.log.configure("error", stream=sys.stderr)
    asyncio.run(load.run(data, "mix", seed, 100_000, 600))


LOOK_EVERY = 25  # kills
DICE = (1, 1, 1, 1, 1, 1, 1, 2, 3)  # how many die together


def storm(room: Path, seed: int, kills: int, processes: int = 3) -> tuple[list[str], Told, int]:
    """In a process of one thread: violations, what was said, and how many were killed. Looked at every now and then."""
    data, dice = room / f"storm{seed}", random.Random(seed)
    initialise(data)
    running = Storm(data, seed)
    violations: list[str] = []
    before: Before = {}
    while running.kills < kills and not violations:
        for _ in range(processes):
            running.start_one()
        enough = min(kills, running.kills + LOOK_EVERY) - processes
        while running.kills < enough:
            running.wait_for_work()
            time.sleep(dice.random() * 0.3)
            dying = dice.choice(DICE)
            running.kill(dying)
            for _ in range(dying):
                running.start_one()
        running.wait_for_work()
        running.kill(processes)
        violations, before = forked.answer(partial(_examined, data, running.told, running.kills, before))
        violations += running.errors
    shutil.rmtree(data)
    return violations, running.told, running.kills


def _examined(data: Path, told: Told, kills: int, before: Before) -> tuple[list[str], Before]:
    return asyncio.run(examine(data, told, kills, before))
