"""A disk that forgets: names and data that were not synced may be missing, alone or together, in any order, or torn.

`Replay` walks a tape and knows at each event what is durable and what is pending. A crash state is the durable part
plus any chosen part of the pending changes. Assumed of the file system: a rename within one directory, or a directory's
move, is there as a whole or not at all; syncing a directory makes its names durable, syncing a file its octets;
nothing else. A file whose new octets are lost may be short, or have its full size and zeros.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from store.fsops import Call
from tests.torture.recorder import Event, Mark, SyncBegin, SyncEnd

ROOT = 1
SECTOR = 512


@dataclass(frozen=True, slots=True)
class File:
    data: bytes = b""
    time: int | None = None


@dataclass(slots=True)
class Disk:
    """Files by number; directories as name > number. A directory that was entered but never filled is empty."""

    files: dict[int, File] = field(default_factory=dict)
    directories: dict[int, dict[str, int]] = field(default_factory=dict)

    def copy(self) -> Disk:
        return Disk(dict(self.files), {number: dict(names) for number, names in self.directories.items()})

    def paths(self, number: int = ROOT, prefix: str = "") -> Iterator[tuple[str, int]]:
        """(path, number) of everything that can be reached, directories before what is in them."""
        for name, inner in self.directories[number].items():
            yield f"{prefix}{name}", inner
            if inner in self.directories:
                yield from self.paths(inner, f"{prefix}{name}/")

    def find(self, path: str) -> int | None:
        number: int | None = ROOT
        for name in path.split("/"):
            number = self.directories.get(number or 0, {}).get(name)
        return number

    def write_to(self, target: Path) -> None:
        """As a real tree; an inode with several names stays one."""
        made: dict[int, str] = {}
        os.mkdir(target, 0o700)
        for path, number in self.paths():
            full = f"{target}/{path}"
            if number in self.directories:
                os.mkdir(full, 0o700)
            elif number in made:
                os.link(made[number], full)
            else:
                self._write_file(full, self.files.get(number, File()))
                made[number] = full

    @staticmethod
    def _write_file(full: str, file: File) -> None:
        fd = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if file.data:
                os.write(fd, file.data)
            if file.time is not None:
                os.utime(fd, (file.time, file.time))
        finally:
            os.close(fd)


@dataclass(frozen=True, slots=True)
class Change:
    """One change, told in numbers of this model. `owner`: the file, or the directories whose sync makes it durable."""

    kind: str  # data: write truncate reserve time; names: enter leave move
    owner: tuple[int, ...]
    name: str = ""
    inner: int = 0
    new: str = ""
    data: bytes = b""
    offset: int = 0
    size: int = 0
    directory: bool = False

    @property
    def is_name(self) -> bool:
        return self.kind in ("enter", "leave", "move")


def apply(disk: Disk, change: Change) -> None:
    """On a state where earlier changes may be missing: what has lost its ground does nothing."""
    if change.is_name:
        _apply_name(disk, change)
        return
    file = disk.files.get(change.owner[0], File())
    if change.kind == "write":
        data = file.data.ljust(change.offset, b"\0")
        data = data[: change.offset] + change.data + data[change.offset + len(change.data) :]
        disk.files[change.owner[0]] = File(data, file.time)
    elif change.kind == "truncate":
        disk.files[change.owner[0]] = File(file.data[: change.size].ljust(change.size, b"\0"), file.time)
    elif change.kind == "reserve":
        disk.files[change.owner[0]] = File(file.data.ljust(change.size, b"\0"), file.time)
    else:
        disk.files[change.owner[0]] = File(file.data, change.size)


def _apply_name(disk: Disk, change: Change) -> None:
    names = disk.directories.setdefault(change.owner[0], {})
    if change.kind == "enter":
        names[change.name] = change.inner
        if change.directory:
            disk.directories.setdefault(change.inner, {})
    elif change.kind == "leave":
        names.pop(change.name, None)
    else:  # the new name is there even where the old one never came to be
        if names.get(change.name) == change.inner:
            del names[change.name]
        disk.directories.setdefault(change.owner[-1], {})[change.new] = change.inner
        if change.directory:
            disk.directories.setdefault(change.inner, {})


class Replay:
    """`step` through the tape. `now` is the disk as running processes see it, `durable` what no power loss takes;
    `pending` the changes between them, by the number of their event."""

    def __init__(self, baseline: Disk, numbers: dict[int, int], events: Sequence[Event]) -> None:
        self.events = events
        self.now, self.durable = baseline.copy(), baseline.copy()
        self.pending: list[tuple[int, Change]] = []
        self.position = 0
        self._numbers = dict(numbers)  # inode of the recorded disk > number here
        named = [number for names in baseline.directories.values() for number in names.values()]
        self._next = max([ROOT, *baseline.files, *baseline.directories, *named]) + 1

    def not_durable(self, durable: Disk, pending: Sequence[Change]) -> None:
        """What the baseline holds came from `durable` by changes that nobody has synced yet."""
        self.durable = durable.copy()
        self.pending = [(-1, change) for change in pending]

    def step(self) -> Change | None:
        """One event; the change it made, if it was one."""
        event = self.events[self.position]
        self.position += 1
        if isinstance(event, SyncEnd):
            self._synced(event)
        if not isinstance(event, Call):
            return None
        change = self._change(event)
        if change is not None:
            apply(self.now, change)
            self.pending.append((self.position - 1, change))
        return change

    def _fresh(self, inode: int) -> int:
        number = self._numbers[inode] = self._next
        self._next += 1
        return number

    def _change(self, call: Call) -> Change | None:
        if call.name == "nameless":
            self._fresh(call.inode)
            return None
        name, new = call.path.rpartition("/")[2], call.target.rpartition("/")[2]
        if call.parent:
            parent = self._numbers.get(call.parent)
            return None if parent is None else self._named(call, parent, name, new)
        number = self._numbers.get(call.inode)
        if number is None:
            return None
        if call.name == "link":
            return Change("enter", (self._numbers[call.into],), new, number)
        return self._data(call, number)

    def _named(self, call: Call, parent: int, name: str, new: str) -> Change | None:
        if call.name in ("mkdir", "create"):
            return Change("enter", (parent,), name, self._fresh(call.inode), directory=call.name == "mkdir")
        inner = self.now.directories[parent].get(name)
        if inner is None:  # a socket, which no disk keeps
            return None
        if call.name in ("unlink", "rmdir"):
            return Change("leave", (parent,), name)
        into = self._numbers[call.into]
        if call.name == "link":
            return Change("enter", (into,), new, inner)
        return Change("move", (parent, into), name, inner, new, directory=inner in self.now.directories)

    @staticmethod
    def _data(call: Call, number: int) -> Change:
        if call.name == "write":
            return Change("write", (number,), data=call.data, offset=call.offset)
        if call.name == "truncate":
            return Change("truncate", (number,), size=int(call.value))
        if call.name == "reserve":
            return Change("reserve", (number,), size=call.offset + int(call.value))
        return Change("time", (number,), size=int(call.value))

    def _synced(self, event: SyncEnd) -> None:
        number = self._numbers.get(event.inode)
        kept: list[tuple[int, Change]] = []
        for position, change in self.pending:
            covered = number in change.owner and position < event.begin
            if covered and not (event.data_only and change.kind == "time"):
                apply(self.durable, change)
            else:
                kept.append((position, change))
        self.pending = kept


# -- what survives -----------------------------------------------------------------------------------------------------

Pending = list[Change]
Survival = Callable[[random.Random, Pending], Pending]


def torn(dice: random.Random, change: Change) -> Change:
    """A write of which the first sectors, or the first octets, arrived."""
    if change.kind != "write" or len(change.data) < 2:
        return change
    cut = dice.randrange(1, len(change.data))
    if len(change.data) > SECTOR and dice.random() < 0.7:
        cut = max(SECTOR, cut // SECTOR * SECTOR)
    return Change("write", change.owner, data=change.data[:cut], offset=change.offset)


def zeroed(change: Change) -> Change:
    """The size arrived, the octets did not."""
    if change.kind != "write":
        return change
    return Change("reserve", change.owner, size=change.offset + len(change.data))


def _without_one(dice: random.Random, pending: Pending) -> Pending:
    gone = dice.randrange(len(pending)) if pending else 0
    return pending[:gone] + pending[gone + 1 :]


def _random_part(dice: random.Random, pending: Pending) -> Pending:
    share = dice.choice((0.1, 0.5, 0.9))
    part = [change for change in pending if dice.random() < share]
    return [dice.choice((change, change, torn(dice, change), zeroed(change))) for change in part]


def _torn_last(dice: random.Random, pending: Pending) -> Pending:
    writes = [index for index, change in enumerate(pending) if change.kind == "write"]
    if not writes:
        return pending
    return [*pending[: writes[-1]], torn(dice, pending[writes[-1]]), *pending[writes[-1] + 1 :]]


SURVIVALS: dict[str, Survival] = {
    "everything": lambda _, pending: pending,
    "nothing": lambda _, pending: [],
    "all but one": _without_one,
    "only one": lambda dice, pending: [dice.choice(pending)] if pending else [],
    "names without data": lambda _, pending: [change for change in pending if change.is_name],
    "data without names": lambda _, pending: [change for change in pending if not change.is_name],
    "sizes without data": lambda _, pending: [zeroed(change) for change in pending],
    "torn at the end": _torn_last,
    "any part": _random_part,
    "the newest half": lambda _, pending: pending[len(pending) // 2 :],
}


def inodes(disk: Disk, root: Path) -> dict[int, int]:
    """The inodes of the tree that `write_to` made of it, and their numbers in it."""
    return {os.stat(root).st_ino: ROOT, **{os.lstat(root / path).st_ino: number for path, number in disk.paths()}}


def read_tree(root: Path) -> tuple[Disk, dict[int, int]]:
    """A real tree as a durable disk, and its inodes' numbers."""
    disk = Disk(directories={ROOT: {}})
    numbers = {os.stat(root).st_ino: ROOT}
    _read_directory(root, ROOT, disk, numbers)
    return disk, numbers


def _read_directory(directory: Path, number: int, disk: Disk, numbers: dict[int, int]) -> None:
    for entry in os.scandir(directory):
        inode = entry.inode()
        if inode not in numbers:
            numbers[inode] = len(numbers) + 1
        inner = disk.directories[number][entry.name] = numbers[inode]
        if entry.is_dir(follow_symlinks=False):
            disk.directories[inner] = {}
            _read_directory(Path(entry.path), inner, disk, numbers)
        elif entry.is_file(follow_symlinks=False):
            disk.files[inner] = File(Path(entry.path).read_bytes(), int(entry.stat().st_mtime))


__all__ = [
    "ROOT",
    "SURVIVALS",
    "Change",
    "Disk",
    "File",
    "Mark",
    "Replay",
    "SyncBegin",
    "apply",
    "inodes",
    "read_tree",
    "torn",
]
