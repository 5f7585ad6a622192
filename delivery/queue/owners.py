"""Who holds a lease: a name that tells host and process, so that what a dead process of this host held is free at once.

Of other hosts nothing is known but how long they are silent. A process number that was given again is told apart by the
moment its process started (proc(5), field 22), and no process outlives the start of its machine.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import secrets
from pathlib import Path

_PROC = Path("/proc")
_NAME = re.compile(r"([0-9a-f]{12})-([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]+")


@functools.cache
def here() -> str:
    """This boot of this host, and which processes can be seen from here: a container sees its own only."""
    parts = [os.uname().nodename, os.readlink(_PROC / "self/ns/pid"), os.readlink(_PROC / "self/ns/mnt")]
    parts.append((_PROC / "sys/kernel/random/boot_id").read_text())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


@functools.cache
def boot() -> str:
    """Which start of the machine this is, the same in all its containers; "" where it cannot be known."""
    try:
        return hashlib.sha256((_PROC / "sys/kernel/random/boot_id").read_bytes()).hexdigest()[:8]
    except OSError:
        return ""


@functools.cache
def machine() -> str:
    """This machine, or container, by its name."""
    return hashlib.sha256(os.uname().nodename.encode()).hexdigest()[:12]


def new_owner() -> str:
    """A name for one opened queue of this process: "host-boot-pid-start-random", at most 64 characters."""
    pid = os.getpid()
    return f"{_host()}-{boot()}-{pid}-{_started(pid)}-{secrets.token_hex(8)}"


def is_dead(owner: str, *, one_machine: bool = False) -> bool:
    """Whether the process that took the lease is certainly gone. In doubt: not. `one_machine`: nobody of another one
    can have taken it."""
    found = _NAME.fullmatch(owner)
    if found is None or not boot():
        return False
    host, booted, pid, start = found.groups()
    if booted != boot():
        return one_machine
    return host == _host() and _started(int(pid)) not in (start, "0")


def _host() -> str:
    try:
        return here()
    except OSError:  # no proc: nobody here can be called dead
        return ""


def _started(pid: int) -> str:
    """Clock ticks between boot and the start of a process, "" when there is none, "0" when it cannot be known."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    except OSError:
        return "0"
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if fields[0] in "ZX" else fields[19]
