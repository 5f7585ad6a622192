"""kill -9: at each system call of each operation (strace), and at random moments of several processes under load.

The checker of security.md section 6: what was acknowledged is there unless it was removed, whole and once; what was not
may be there once; UIDs and mod-sequences of what was seen before do not go back; the store verifies.
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
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from store.service import MaildirStore, initialise
from store.types import AccountRef, Uid
from tests.torture import load
from tests.torture.judge import Found, look
from tests.torture.workload import MAIRIE, VOISIN

ROOT = Path(__file__).resolve().parents[2]
CALLS = (
    "pwrite64", "fsync", "fdatasync", "linkat", "renameat", "unlinkat", "mkdirat", "ftruncate", "openat", "utimensat",
    "flock", "fallocate", "copy_file_range", "unlink", "write", "pread64",
)  # fmt: skip
MOST_CALLS = 400  # of one kind in one operation
PATIENCE = 100.0


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def command(data: Path, task: str, seed: str, count: int, seconds: float = 600) -> list[str]:
    return [sys.executable, "-m", "tests.torture.load", str(data), task, seed, str(count), str(seconds)]


@dataclass(slots=True)
class Told:
    """What the processes said. `started`: identities handed over; `ok`: account:identity acknowledged; `gone`: those
    whose removal was begun."""

    started: set[str] = field(default_factory=set)
    ok: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    done: int = 0

    def hear(self, lines: Iterable[str]) -> None:
        for words in (line.split() for line in lines):
            if words[:1] == ["done"]:
                self.done += 1
            elif len(words) > 1 and words[0] in ("start", "ok", "gone"):
                {"start": self.started, "ok": self.ok, "gone": self.gone}[words[0]].add(words[1])


async def examine(
    data: Path, told: Told, kills: int, before: dict[AccountRef, Found]
) -> tuple[list[str], dict[AccountRef, Found]]:
    """Violations, and what is there now. `before`: what an earlier look found."""
    store = MaildirStore(data)
    await store.open()
    violations: list[str] = []
    now: dict[AccountRef, Found] = {}
    try:
        for ref in (MAIRIE, VOISIN):
            account = await store.account(ref)
            found = now[ref] = await look(account)
            counts: Counter[str] = Counter()
            for folder_id, uid in found.mail:
                file = await (await account.mailbox(found.folders[folder_id].name)).open(Uid(uid))
                data_read = await file.read(0, file.size + 1)
                file.close()
                identity = load.identity_of(data_read)
                counts[identity] += 1
                if data_read != load.mail(identity):
                    violations.append(f"{ref.local}: {identity} is not whole")
            violations += _account(ref, counts, told, kills)
            violations += _backwards(ref, before[ref], found) if ref in before else []
        violations += await store.verify(None)
    finally:
        await store.close()
    return violations, now


def _account(ref: AccountRef, counts: Counter[str], told: Told, kills: int) -> list[str]:
    mine = {name.partition(":")[2] for name in told.ok if name.startswith(f"{ref.local}:")}
    gone = {name.partition(":")[2] for name in told.gone if name.startswith(f"{ref.local}:")}
    lines = [f"{ref.local}: {identity} was acknowledged and is lost" for identity in mine - gone - counts.keys()]
    lines += [f"{ref.local}: {identity} was never handed over" for identity in counts.keys() - told.started]
    doubled = sum(counts.values()) - len(counts)
    return [*lines, *([f"{ref.local}: {doubled} duplicates after {kills} kills"] if doubled > kills else [])]


def _backwards(ref: AccountRef, before: Found, now: Found) -> list[str]:
    """UIDs that mean another message, numbers that went back."""
    lines = []
    for key, mail in before.mail.items():
        if key in now.mail and now.mail[key].email_id != mail.email_id:
            lines.append(f"{ref.local}: UID {key[1]} means another message")
    for folder_id, folder in before.folders.items():
        later = now.folders.get(folder_id)
        if later is None or later.uidvalidity != folder.uidvalidity:
            lines.append(f"{ref.local}: folder {folder.name} is lost or has another UIDVALIDITY")
        elif later.uidnext < folder.uidnext or later.highest_modseq < folder.highest_modseq:
            lines.append(f"{ref.local}: {folder.name} went back")
    return lines


# -- at each system call ---------------------------------------------------------------------------------------------


def prepared(data: Path) -> Told:
    """A store with some mail and folders in it, cleanly stopped."""
    initialise(data)
    told = Told()
    for task, count in (("deliver", 4), ("append", 3), ("rename", 1)):
        said = subprocess.run(
            command(data, task, f"p{task}", count),
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        told.hear(said.stdout.splitlines())
    return told


def killed_at(data: Path, task: str, call: str, number: int) -> Told | None:
    """What was said by a process killed at the n-th such call of one of its threads; None when it ended by itself."""
    strace = [
        "strace",
        "-f",
        "-q",
        "--seccomp-bpf",
        "-o",
        "/dev/null",
        "-e",
        f"inject={call}:signal=KILL:when={number}",
    ]
    run = subprocess.run(
        [*strace, *command(data, task, "k", 2)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    told = Told()
    told.hear(run.stdout.splitlines())
    return None if told.done else told


def one_kill(template: Path, base: Told, room: Path, task: str, call: str, number: int) -> list[str] | None:
    """Violations after one kill; None when the operation was over before."""
    data = room / f"{task}-{call}-{number}"
    shutil.copytree(template, data, symlinks=True)
    try:
        told = killed_at(data, task, call, number)
        if told is None:
            return None
        whole = Told(base.started | told.started, base.ok | told.ok, base.gone | told.gone)
        violations, _ = asyncio.run(examine(data, whole, 1, {}))
        return [f"{task} killed at {call} {number}: {line}" for line in violations]
    finally:
        shutil.rmtree(data)


# -- at random moments -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Storm:
    """`processes` at work on one store, one of them killed every now and then."""

    data: Path
    dice: random.Random
    processes: int
    told: Told = field(default_factory=Told)
    kills: int = 0
    errors: list[str] = field(default_factory=list)
    _running: list[tuple[subprocess.Popen[str], Path]] = field(default_factory=list)
    _seeds: int = 0

    def start_one(self) -> None:
        self._seeds += 1
        said = self.data.with_name(f"said{self._seeds}")
        with said.open("w") as out, said.with_suffix(".error").open("w") as error:
            process = subprocess.Popen(
                command(self.data, "mix", f"s{self._seeds}", 100_000),
                env=environment(),
                stdout=out,
                stderr=error,
                text=True,
            )
        self._running.append((process, said))

    def kill_one(self) -> None:
        """The one that worked longest: a fresh one still imports."""
        process, said = self._running.pop(0)
        process.kill()
        code = process.wait(PATIENCE)
        if code != -signal.SIGKILL:
            self.errors.append(f"ended by itself: {said.with_suffix('.error').read_text()[-500:]}")
        self.kills += 1
        self._hear(said)

    def end(self) -> None:
        while self._running:
            self.kill_one()

    def _hear(self, said: Path) -> None:
        self.told.hear(said.read_text().splitlines())
        said.unlink()
        said.with_suffix(".error").unlink()

    def said_by_oldest(self) -> int:
        return self._running[0][1].stat().st_size


def storm(room: Path, seed: int, kills: int, processes: int = 3) -> tuple[list[str], Told, int]:
    """Violations, what was said, and how many were killed. Looked at after every tenth of the kills."""
    data, dice = room / "storm", random.Random(seed)
    initialise(data)
    running = Storm(data, dice, processes)
    violations: list[str] = []
    before: dict[AccountRef, Found] = {}
    every = max(processes, kills // 10)
    while running.kills < kills and not violations:
        for _ in range(processes):
            running.start_one()
        for _ in range(every - processes):
            _wait_for_work(running)
            time.sleep(dice.random() * 0.3)
            running.kill_one()
            running.start_one()
        _wait_for_work(running)
        running.end()
        violations, before = asyncio.run(examine(data, running.told, running.kills, before))
        violations += running.errors
    return violations, running.told, running.kills


def _wait_for_work(running: Storm) -> None:
    """Until the oldest has acknowledged something."""
    deadline = time.monotonic() + PATIENCE
    while running.said_by_oldest() == 0 and time.monotonic() < deadline:
        time.sleep(0.02)


EXHAUSTIVE = ("deliver", "append", "move", "expunge", "rename", "flag", "rebuild")


def exhaustive(
    room: Path, tasks: Sequence[str], calls: Sequence[str] = CALLS, *, step: int = 1
) -> tuple[list[str], int]:
    """Every n-th call of each kind of each operation, n = 1, 1 + step, ...; violations and the number of kills."""
    base = prepared(room / "template")
    violations: list[str] = []
    kills = 0
    for task in tasks:
        for call in calls:
            for number in range(1, MOST_CALLS, step):
                told = one_kill(room / "template", base, room, task, call, number)
                if told is None:
                    break
                kills += 1
                violations += told
    return violations, kills
