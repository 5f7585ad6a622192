"""kill -9 in front of each system call of each operation: opened, done twice, cleanly stopped.

One run tells how many calls there are; then the same operation on a fresh copy of the same store is killed in front of
the first, the second, … that changes something outside the process, and of a share of the others, and the checker
looks. Some of what is left is killed once more, while whoever comes next recovers it, and looked at again.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import core.log
from store.service import MaildirStore, initialise
from tests.fakes.silence import silence
from tests.torture import forked, load, stopper
from tests.torture.checker import Before, Told, examine
from tests.torture.workload import AUTRE, MAIRIE, VOISIN

# What is swept, and what the store went through before. A name's "by threads" is the way without the kernel's syncs.
ALWAYS = (("deliver", 4), ("append", 3), ("rename", 1))
TASKS: dict[str, tuple[str, ...]] = {
    "deliver": (),
    "deliver by threads": (),
    "append_each": (),
    "append": (),
    "move": (),
    "expunge": (),
    "replace": (),
    "copy": (),
    "flag": (),
    "create": (),
    "rename": (),
    "delete": (),
    "rebuild": (),
    "restore": ("discard",),
    "remove": ("hold",),
    "give_back": ("hold", "remove"),
    "adopt": ("plant",),
}
AT_ONCE = 40  # calls of one operation that a process looks at before the next
SLACK = 30  # calls a later run may make more than the first
AGAIN = 5  # of so many kills one is followed by another, during recovery


OTHERS = 8  # of so many calls of any kind one is a place to be killed at, too


@dataclass(slots=True)
class Template:
    """A store before the operation: where it lies, what was said and what a look found."""

    data: Path
    told: Told
    before: Before


@dataclass(slots=True)
class Swept:
    """What a sweep came to. `calls`: of each operation, those that change something and all."""

    kills: int = 0
    kills_again: int = 0
    calls: dict[str, tuple[int, int]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def add(self, other: Swept) -> None:
        self.kills += other.kills
        self.kills_again += other.kills_again
        self.violations += other.violations


def work(data: Path, task: str, seed: str, count: int) -> Callable[[], None]:
    name, threads, _ = task.partition(" by threads")

    def run() -> None:
        core.log.configure("error", stream=sys.stderr)
        asyncio.run(load.run(data, name, seed + "t" * bool(threads), count, 600))

    return run


def prepared(room: Path, before: Sequence[str]) -> Template:
    """Some mail and folders, and what `before` did, cleanly stopped."""
    data = room / "-".join(["template", *before])
    initialise(data)
    told = Told()
    for task, count in (*ALWAYS, *((task, 1) for task in before)):
        ended = stopper.run(work(data, task, f"p{task}", count), 0)
        if ended.trouble:
            raise RuntimeError(f"{task}: {ended.trouble}")
        told.hear(ended.said)
    shutil.copytree(data, room / "looked", symlinks=True)  # a look changes what it looks at
    _, found = forked.answer(partial(_examined, room / "looked", told, 0, {}, ""))
    shutil.rmtree(room / "looked")
    return Template(data, told, found)


def _examined(data: Path, told: Told, kills: int, before: Before, task: str) -> tuple[list[str], Before]:
    """In a child: where it is a promise that what had begun can be brought to its end, it is; then all is looked at."""
    silence()
    if task in ENDINGS:
        asyncio.run(_end(data, task))
    refs = [MAIRIE, VOISIN, *([AUTRE] if (data / "domains/autre.test/maire").exists() else [])]
    return asyncio.run(examine(data, told, kills, before, refs))


async def _end(data: Path, task: str) -> None:
    store = MaildirStore(data)
    await store.open()
    try:
        await ENDINGS[task](store)
    finally:
        await store.close()


async def _adopted(store: MaildirStore) -> None:
    """Nothing is at the account's place before everything is; and the run can be done again."""
    if (store._data / "domains/autre.test/maire").exists():
        inbox = await (await store.account(AUTRE)).mailbox("INBOX")
        present = [uid for uid in load.FOREIGN if await load.holds(inbox, uid)]
        if present != list(load.FOREIGN):
            raise RuntimeError(f"half an adoption is visible: {present}")
    await load.adopt(store, "")
    inbox = await (await store.account(AUTRE)).mailbox("INBOX")
    for uid in load.FOREIGN:
        if not await load.holds(inbox, uid):
            raise RuntimeError(f"UID {uid} was not adopted")


async def _given_back(store: MaildirStore) -> None:
    """A removal or a return that was cut off leaves the mail in one of both places, and can be done again."""
    left = await store.administration.leftover(AUTRE.domain, AUTRE.local)
    if left is not None and left.id != AUTRE.id:  # `beffroi store recycle`, as `verify` tells
        await store.remove_account(left)
    if left is None or left.id != AUTRE.id:
        items = [item for item in await store.administration.recycled(AUTRE.organisation_id) if not item.folder]
        await store.administration.give_back(AUTRE, items[-1])


ENDINGS = {"adopt": _adopted, "remove": _given_back, "give_back": _given_back}


@dataclass(frozen=True, slots=True)
class Kill:
    """In front of call `number` of those that change something, or of all; then of call `again` of the recovery, when
    that is not 0."""

    task: str
    number: int
    changing: bool
    again: int = 0

    def __str__(self) -> str:
        again = f" and recovery at {self.again}" if self.again else ""
        return f"{self.task} killed at {'change' if self.changing else 'call'} {self.number}{again}"


def one(template: Template, room: Path, kill: Kill) -> Swept:
    data, swept = room / f"{kill.task}-{kill.number}-{kill.changing}", Swept()
    shutil.copytree(template.data, data, symlinks=True)
    try:
        ended = stopper.run(work(data, kill.task, "k", 2), kill.number, changing=kill.changing)
        told, troubles = template.told.with_more(ended.said), [ended.trouble]
        swept.kills += ended.killed
        if ended.killed and kill.again:
            second = stopper.run(work(data, "recover", "r", 1), kill.again)
            swept.kills_again += second.killed
            troubles.append(second.trouble)
        kills = swept.kills + swept.kills_again
        lines, _ = forked.answer(partial(_examined, data, told, kills, template.before, kill.task))
        swept.violations = [f"{kill}: {line}" for line in [*troubles, *lines] if line]
    except RuntimeError as error:
        swept.violations.append(f"{kill}: {error}")
    finally:
        shutil.rmtree(data)
    return swept


def some(template: Template, room: Path, kills: Sequence[Kill]) -> Swept:
    """In a process of its own, which has one thread."""
    swept = Swept()
    for kill in kills:
        swept.add(one(template, room, kill))
    return swept


def _kills(task: str, changes: int, calls: int, seed: int, step: int) -> list[Kill]:
    dice = random.Random(f"{seed} {task}")

    def again() -> int:
        return dice.randint(1, 300) if dice.randrange(AGAIN) == 0 else 0

    kills = [Kill(task, number, True, again()) for number in range(1, changes + SLACK, step)]
    others = range(dice.randint(1, OTHERS), calls + SLACK, OTHERS * step)
    return [*kills, *(Kill(task, number, False, again()) for number in others)]


def sweep(
    room: Path, tasks: Sequence[str], *, seed: int = 1, processes: int = 2, step: int = 1, tell: Callable[[str], None]
) -> Swept:
    """Every call of each operation that changes something, and some of the others; with `step` so much fewer."""
    swept = Swept()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        templates: dict[tuple[str, ...], Template] = {}
        for task in tasks:
            before, done = TASKS[task], Swept()
            if before not in templates:
                templates[before] = pool.submit(prepared, room, before).result()
            swept.calls[task] = pool.submit(counted, templates[before], room, task).result()
            kills = _kills(task, *swept.calls[task], seed, step)
            chunks = [kills[start : start + AT_ONCE] for start in range(0, len(kills), AT_ONCE)]
            for future in [pool.submit(some, templates[before], room, chunk) for chunk in chunks]:
                done.add(future.result())
            changes, calls = swept.calls[task]
            tell(f"{task}: {changes} changes, {calls} calls; {done.kills} killed, {done.kills_again} again in recovery")
            swept.add(done)
    return swept


def counted(template: Template, room: Path, task: str) -> tuple[int, int]:
    """How many calls the operation makes: those that change something, and all."""
    told = []
    for changing in (True, False):
        data = room / f"{task}-counted"
        shutil.copytree(template.data, data, symlinks=True)
        ended = stopper.run(work(data, task, "k", 2), 0, changing=changing)
        shutil.rmtree(data)
        if ended.trouble:
            raise RuntimeError(f"{task}: {ended.trouble}")
        told.append(ended.calls)
    return told[0], told[1]


__all__ = ["TASKS", "Swept", "one", "sweep"]
