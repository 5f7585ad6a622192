"""The memory behind `core.tally`: a file mapped by every process of the machine, one region for each of them.

A process holds its region by an open-file-description lock, which the kernel takes back however the process ends. The
space of a region is reserved before it is mapped: a full disk is an error here, not a dead process later.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
from dataclasses import dataclass
from pathlib import Path

NAME = "tally-1"  # another layout gets another name
MAGIC = b"beffroi tally 1\n"
HEADER = 4096
REGIONS = 72  # 64 fronts, the delivery worker, the web worker, and some that have not ended yet
_USED = struct.Struct("<I")
_SALT = slice(16, 32)
_USED_AT = 32
# For each region how often a name got a slot in it: who remembers what he found there looks anew when it is another.
# 0 is a process of an earlier version, which does not tell.
NEWS_AT = 64
NEWS = struct.Struct("<I")
_SETTING_UP = HEADER - 1  # the byte whose lock guards the header


@dataclass(slots=True)
class Mapped:
    """`regions` of equal size from `start`; `region` is ours."""

    memory: mmap.mmap
    start: int
    region: int
    salt: bytes
    descriptor: int = -1

    @staticmethod
    def anonymous(size: int) -> Mapped:
        return Mapped(mmap.mmap(-1, size), 0, 0, secrets.token_bytes(16))

    @property
    def regions(self) -> int:
        return 1 if self.descriptor < 0 else int(_USED.unpack_from(self.memory, _USED_AT)[0])

    def tell(self, region: int) -> None:
        """A name got a slot there, or all lost theirs."""
        at = NEWS_AT + region * NEWS.size
        NEWS.pack_into(self.memory, at, NEWS.unpack_from(self.memory, at)[0] % 0xFFFFFFFF + 1)

    def close(self) -> None:
        """Idempotent; the region is free for others."""
        self.memory.close()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def claim(directory: Path, size: int, volatile: int) -> Mapped:
    """A region for this process. The first `volatile` octets of a region die with their process: they are zero in ours
    and in all that belong to nobody. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _lock(descriptor, _SETTING_UP, wait=True)
        _header(descriptor, size)
        region = next((number for number in range(REGIONS) if _lock(descriptor, number)), None)
        if region is None:
            raise OSError("no region is left")
        os.posix_fallocate(descriptor, HEADER + region * size, size)
        memory = mmap.mmap(descriptor, HEADER + REGIONS * size)
        mapped = Mapped(memory, HEADER, region, memory[_SALT], descriptor)
        used = max(_USED.unpack_from(memory, _USED_AT)[0], region + 1)
        _USED.pack_into(memory, _USED_AT, used)
        for number in range(used):
            if number == region or _abandoned(descriptor, number):
                start = HEADER + number * size
                memory[start : start + volatile] = bytes(volatile)
                mapped.tell(number)
        _unlock(descriptor, _SETTING_UP)
    except BaseException:
        os.close(descriptor)
        raise
    return mapped


def _header(descriptor: int, size: int) -> None:
    whole = HEADER + REGIONS * size
    if os.pread(descriptor, len(MAGIC), 0) == MAGIC and os.fstat(descriptor).st_size == whole:
        return
    os.ftruncate(descriptor, whole)
    os.posix_fallocate(descriptor, 0, HEADER)
    os.pwrite(descriptor, MAGIC + secrets.token_bytes(16) + _USED.pack(0), 0)


def _abandoned(descriptor: int, number: int) -> bool:
    """Whether nobody holds this region (asked under the header's lock, so nobody takes it meanwhile)."""
    if not _lock(descriptor, number):
        return False
    _unlock(descriptor, number)
    return True


def _lock(descriptor: int, byte: int, *, wait: bool = False) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK, byte))
    except BlockingIOError:
        return False
    return True


def _unlock(descriptor: int, byte: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, byte))


def _flock(kind: int, byte: int) -> bytes:
    """struct flock of Linux, in its native layout."""
    return struct.pack("hhqqi", kind, os.SEEK_SET, byte, 1, 0)
