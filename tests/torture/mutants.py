"""Is the proof blind? Each mutant is the store with one sync left out, late, or in the wrong place: it must be caught.

A call that promises durability changes nothing else, so a store without it would have left the same tape without that
event: mutants are made of tapes, and whatever the store's code looks like, they stay what their names say.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from store.fsops import Call
from tests.torture.history import History
from tests.torture.power import explore, places
from tests.torture.recorder import Event, Mark, SyncBegin, SyncEnd
from tests.torture.workload import Trace

NEAR = 60  # events behind a mutation in which a crash most probably tells
NOTHING = Mark("nothing", None)
ANSWERS = ("ack", "refused", "end")
Wanted = Callable[[SyncBegin], bool]


def of(path: str, site: str = "") -> Wanted:
    """Syncs of what was opened under such a path, asked for at such a site; regular expressions, searched."""
    return lambda event: bool(re.search(path, event.path) and re.search(site, event.site))


@dataclass(frozen=True, slots=True)
class Mutant:
    """`change` tells what becomes of the syncs that are `wanted`; with `last`, of those alone in front of which that
    call was the last to change the directory."""

    wanted: Wanted
    change: Callable[[list[Event], int, SyncEnd], None]
    last: str = ""

    def wants(self, events: Sequence[Event], number: int) -> bool:
        """Of the sync that begins at `number`."""
        begin = events[number]
        if not isinstance(begin, SyncBegin) or not self.wanted(begin):
            return False
        before = (event for event in reversed(events[:number]) if isinstance(event, Call))
        return not self.last or self.last == next((e.name for e in before if begin.inode in (e.into, e.parent)), "")


def left_out(events: list[Event], end: int, event: SyncEnd) -> None:
    events[end] = events[event.begin] = NOTHING


def too_late(events: list[Event], end: int, event: SyncEnd) -> None:
    """Behind the next answer; it covers what it covered."""
    answers = (n for n in range(end, len(events)) if isinstance(other := events[n], Mark) and other.what in ANSWERS)
    answer = next(answers, None)
    if answer is None:
        return
    events[end : answer + 1] = [*events[end + 1 : answer + 1], event]
    for number in range(end, len(events)):
        other = events[number]
        if isinstance(other, SyncEnd) and end < other.begin <= answer:
            events[number] = replace(other, begin=other.begin - 1)


def too_early(events: list[Event], end: int, event: SyncEnd) -> None:
    """Before the names that were to be synced."""
    first = event.begin
    for number in range(event.begin - 1, -1, -1):
        other = events[number]
        if isinstance(other, SyncEnd) and other.inode == event.inode:
            break
        if isinstance(other, Call) and event.inode in (other.into, other.parent):
            first = number
    events[end] = replace(event, begin=first)


MESSAGE, CUR = r"/#\d+$", r"/cur$"
UNDO = "^names (syncs|transaction)"
FOLDER_FILE, ACCOUNT_FILE, INTENT = r"\.beffroi-folder\.new$", r"\.beffroi-account\.new$", r"\.beffroi-intent\.new$"

# What the name says, of whatever code asks for it.
MUTANTS: dict[str, Mutant] = {
    "octets of a message are not synced": Mutant(of(MESSAGE), left_out),
    "names of messages are not synced": Mutant(of(CUR, "^names (?!flush)"), left_out),
    "names of messages are synced before they are linked": Mutant(of(CUR, "^names (?!flush)"), too_early),
    "octets of a message are synced after the answer": Mutant(of(MESSAGE), too_late),
    "names of messages are synced after the answer": Mutant(of(CUR, "^names (?!flush)"), too_late),
    "flag letters are not synced": Mutant(of(CUR, "flush._rename_all"), left_out),
    "unlinked files are not synced": Mutant(of(CUR, "flush._unlink"), left_out),
    "the journal is not synced": Mutant(of("beffroi-journal$"), left_out),
    "the journal is synced after the answer": Mutant(of("beffroi-journal$"), too_late),
    "octets of a side file are not synced": Mutant(of(FOLDER_FILE), left_out),
    "the name of a side file is not synced": Mutant(of("", r"^names .*sidefile\.write_folder"), left_out),
    "floors are not synced": Mutant(of("", "_raise_floors"), left_out),
    "octets of the account's file are not synced": Mutant(of(ACCOUNT_FILE), left_out),
    "octets of a rename's intent are not synced": Mutant(of(INTENT), left_out),
    "the name of a rename's intent is not synced": Mutant(of("", "^names .*write_intent"), left_out),
    "renamed folders are not synced": Mutant(of("", r"^names folders\._move_directories"), left_out),
    "a new folder's name is not synced": Mutant(of("", r"^names layout\.make_folder"), left_out),
    "a new account's name is not synced": Mutant(of("", r"^names layout\.(_make_account|_opened)"), left_out),
    "a deleted folder's way into the bin is not synced": Mutant(of("", r"^names folders\.delete"), left_out),
    "what a refusal took back is not synced": Mutant(of(CUR, UNDO), left_out, "unlink"),
    "what a refusal took back is synced after the answer": Mutant(of(CUR, UNDO), too_late, "unlink"),
    "that a clean stop is over is not synced": Mutant(of("beffroi.lock$", r"ready"), left_out),
}
SMOKE = (
    "octets of a message are not synced",
    "names of messages are synced before they are linked",
    "floors are not synced",
)


def mutated(trace: Trace, mutant: Mutant) -> tuple[Trace, list[int]]:
    """The tape of a store with that fault, and the events it changed."""
    events, changed = list(trace.events), []
    for number in range(len(events) - 1, -1, -1):  # backwards: a change moves what is behind it
        event = trace.events[number]
        if isinstance(event, SyncEnd) and mutant.wants(trace.events, event.begin):
            mutant.change(events, number, event)
            changed.append(number)
    return replace(trace, events=events), changed


def catch(trace: Trace, mutant: Mutant, seed: int, count: int, room: Path) -> str | None:
    """The first violation met within `count` states; None when the tape has no such sync or nothing was noticed."""
    changed_trace, changed = mutated(trace, mutant)
    if not changed:
        return None
    history = History.of(changed_trace, room / "scratch")
    where = _near(places(changed_trace), changed, random.Random(seed))
    report = asyncio.run(explore(history, seed, count, room, most=1, where=where))
    return report.violations[0] if report.violations else None


def _near(possible: Sequence[int], changed: Sequence[int], dice: random.Random) -> list[int]:
    """Mostly events soon after a change, sometimes any."""
    near = [place for place in possible if any(0 < place - number <= NEAR for number in changed)]
    return [*near, *dice.sample(possible, min(len(possible), 1 + len(near) // 4))]
