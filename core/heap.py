"""Memory that holds nothing any more, given back to the system. The seam to ctypes.

`give_back` (malloc_trim(3)): freed blocks between living ones stay with the process until somebody asks: after a
thousand indexes were closed, hundreds of MiB that nobody uses. Measured: 20 to 60 ms for a heap of 500 MiB, so call it
rarely, and in a thread.

`release` (madvise(2)): what a buffer was filled with lies there until it is filled again: for days where nobody speaks.

`gather` (MADV_COLLAPSE, Linux 6.1): each message walks through megabytes of code objects, dictionaries and tables.
In pages of 4 KiB the processor forgets where they lie, and under a hypervisor each look-up is two walks in one.
Measured: in large pages a message takes 6 % less CPU with 20 connections and 10 % less with one. For once the
long-lived objects are there: 55 MiB took 0.1 to 0.2 s on a busy machine.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

_MADVISE = ctypes.CDLL(None).madvise
_MADVISE.argtypes, _MADVISE.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
_COLLAPSE = 25  # MADV_COLLAPSE (asm-generic/mman-common.h)
_LARGE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
_LARGEST = 2 * 1024 * 1024  # octets; where large pages are larger still, nothing is dense enough for them
_ENTRY = 8  # octets that tell of one page (proc_pid_pagemap(5)); mincore(2) is no call of systemd's @system-service
_DENSE = 0.75  # of a large page is there already: so a process grows by a third of its heap at the very most


def give_back() -> bool:
    """Blocking, without the interpreter's lock. False where the C library has no such call (musl)."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:
        return False
    trim.argtypes, trim.restype = (ctypes.c_size_t,), ctypes.c_int
    return bool(trim(0))


def release(buffer: memoryview) -> None:
    """`buffer` is writable and holds nothing of worth: it may read as zeros afterwards. Its whole pages cost no memory
    until something is written there again. Two microseconds; where the system will not, nothing happens."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    first = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    whole = (address + buffer.nbytes - first) // mmap.PAGESIZE * mmap.PAGESIZE
    if whole > 0:
        _MADVISE(first, whole, mmap.MADV_DONTNEED)


def gather(seconds: float = 2.0) -> int:
    """Blocking. Move what this process holds of memory of its own into large pages, where they would be mostly full;
    how many octets went there. 0 where the system has none or none to spare; nothing else changes then. Nothing more is
    begun after `seconds`: where the processors are busy with others each octet takes ten times as long."""
    until = time.monotonic() + seconds
    moved = 0
    try:
        size = int(_LARGE.read_text())
        runs = _dense_runs(size) if size <= _LARGEST else []
    except (OSError, ValueError):
        return 0
    for start, octets in runs:
        if time.monotonic() >= until:
            break
        if _MADVISE(start, octets, _COLLAPSE) == 0:
            moved += octets
    return moved


def _dense_runs(size: int) -> list[tuple[int, int]]:
    """Address and length of what blocks of `size` octets that are mostly there make together, the longest first."""
    runs: list[tuple[int, int]] = []
    with open("/proc/self/pagemap", "rb", buffering=0) as pages:
        for start in _own_blocks(size):
            if not _is_dense(pages, start, size):
                continue
            if runs and sum(runs[-1]) == start:
                runs[-1] = (runs[-1][0], runs[-1][1] + size)
            else:
                runs.append((start, size))
    return sorted(runs, key=itemgetter(1), reverse=True)


def _own_blocks(size: int) -> Iterator[int]:
    """Addresses of the whole blocks in private writable mappings of no file (proc_pid_maps(5))."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, rights, _, _, inode, *_ = line.split()
        if rights == "rw-p" and inode == "0":
            first, end = (int(address, 16) for address in where.split("-"))
            yield from range(-(-first // size) * size, end - size + 1, size)


def _is_dense(pages: BinaryIO, start: int, size: int) -> bool:
    """The highest bit of each entry is set where the page is in memory."""
    count = size // mmap.PAGESIZE
    pages.seek(start // mmap.PAGESIZE * _ENTRY)
    entries = pages.read(count * _ENTRY)
    return sum(octet >> 7 for octet in entries[_ENTRY - 1 :: _ENTRY]) >= _DENSE * count
