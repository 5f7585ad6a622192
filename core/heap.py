"""Memory that holds nothing any more, given back to the system. The seam to ctypes.

`give_back` (malloc_trim(3)): freed blocks between living ones stay with the process until somebody asks: after a
thousand indexes were closed, hundreds of MiB that nobody uses. Measured: 20 to 60 ms for a heap of 500 MiB, so call it
rarely, and in a thread.

`release` (madvise(2)): what a buffer was filled with lies there until it is filled again: for days where nobody speaks.
"""

from __future__ import annotations

import ctypes
import mmap

_MADVISE = ctypes.CDLL(None).madvise
_MADVISE.argtypes, _MADVISE.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int


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
