"""What of the disk keeps the suite from working, in words: asked for when something was refused, never before.

An error of SQLite or of a system call names a cause ("attempt to write a readonly database"); the person on duty needs
the place and what to do.
"""

from __future__ import annotations

import errno
import os
import pwd
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.config import Config

# Below `data`; of databases also what SQLite keeps beside them.
_DATABASES = ("directory.db", "queue/queue.db")
_OTHERS = (
    "queue", "queue/queue.lock", "keys", "domains", "recycle", "spool", "run", "run/beffroi.pid", "store.beffroi",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Disk:
    """What `statvfs` tells of the file system of a path."""

    read_only: bool
    octets: int  # free to us
    files: int | None  # that can still be made; None where the file system does not count them


def look(path: Path) -> Disk:
    """Raises `OSError`."""
    told = os.statvfs(path)
    files = told.f_favail if told.f_files else None
    read_only = bool(told.f_flag & os.ST_RDONLY) or _refuses(path)
    return Disk(read_only, told.f_bavail * told.f_frsize, files)


def _refuses(path: Path) -> bool:
    """ext4 that met an error writes nothing any more, and `statvfs` of Linux 6.18 does not tell: a file that never gets
    a name is asked for."""
    try:
        os.close(os.open(path, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        return error.errno == errno.EROFS
    return False


def ailments(config: Config, disk: Callable[[Path], Disk] = look) -> list[str]:
    """Nothing where all is well. One line a fault, with the path and what to do."""
    told = of_the_disk(config, disk)
    return told or list(_closed(config))


def of_the_disk(config: Config, disk: Callable[[Path], Disk] = look) -> list[str]:
    """Those that keep everything from being written."""
    data = config.data
    try:
        found = disk(data)
    except OSError as error:
        return [f"{data}: {error.strerror} (is the disk mounted?)"]
    told = []
    if found.read_only:
        told.append(f"the disk of {data} is read-only: see the kernel's log for the reason, then remount it")
    if found.octets == 0:
        told.append(f"the disk of {data} is full: make room, nothing was lost")
    if found.files == 0:
        told.append(f"the disk of {data} has no inodes left: remove files that are not the suite's")
    return told


def _closed(config: Config) -> Iterator[str]:
    """Files that we may not use, most often because root copied them."""
    read = [config.keys_dir / "master.key", config.certificate_file, config.key_file]
    beside = [f"{name}{end}" for name in _DATABASES for end in ("", "-wal", "-shm")]
    for path in (*read, *(config.data / name for name in (*beside, *_OTHERS))):
        try:
            owner = path.stat().st_uid
        except OSError:  # absent, or below a directory that was told
            continue
        wanted = os.R_OK | (0 if path in read else os.W_OK) | (os.X_OK if path.is_dir() else 0)
        if not os.access(path, wanted):
            yield f"{path} is closed to {_name(os.geteuid())} (it belongs to {_name(owner)}): chown it"


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user number {number}"
