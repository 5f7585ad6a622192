"""What the C library keeps of freed memory, given back to the system (malloc_trim(3)). The seam to ctypes.

Freed blocks between living ones stay with the process until somebody asks: after a thousand indexes were closed,
hundreds of MiB that nobody uses. Measured: 20 to 60 ms for a heap of 500 MiB, so call it rarely, and in a thread.
"""

from __future__ import annotations

import ctypes


def give_back() -> bool:
    """Blocking, without the interpreter's lock. False where the C library has no such call (musl)."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:
        return False
    trim.argtypes, trim.restype = (ctypes.c_size_t,), ctypes.c_int
    return bool(trim(0))
