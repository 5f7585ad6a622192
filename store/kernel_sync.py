"""fsync by the kernel's own workers (io_submit(2), IOCB_CMD_FSYNC, Linux 4.18): the event loop hands a descriptor over
and is told through an eventfd, so that no thread of ours wakes, waits for the interpreter and hands it back.

Measured: the threads it replaces took a seventh of a delivery's CPU. Where the kernel or a sandbox says no, `open`
returns None and threads do it (`store.syncs`). Knows nothing of what is synced. The ABI is in linux/aio_abi.h.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import struct
from collections.abc import Callable
from time import monotonic

AT_ONCE = 256  # syncs under way; more are the threads'
# io_setup, io_destroy, io_getevents, io_submit (asm/unistd.h)
CALLS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
FSYNC, FDSYNC = 2, 3  # IOCB_CMD_FSYNC, IOCB_CMD_FDSYNC
RESFD = 1  # IOCB_FLAG_RESFD
LONG = 0.001  # seconds that the worker does not need to hand a sync to the disk: somebody else has the processor
AGAIN = 1.0  # seconds until it is left to the worker again, then
# struct iocb (little endian): data, key, rw_flags, opcode, priority, descriptor, buf, nbytes, offset, reserved, flags,
# resfd. Of one that only syncs, the first half without what is zero is all that differs from the last.
IOCB = struct.Struct("<QIIHhIQQqQII")
HALF = struct.Struct("<Q8xHxxI")
EVENT = struct.Struct("<QQqq")  # struct io_event: data, obj, res, res2

Done = Callable[[int], None]  # told 0, or the errno


class KernelSync:
    """Bound to the event loop that opened it. `begin` each descriptor; it must stay open until `done` is told."""

    def __init__(self, loop: asyncio.AbstractEventLoop, libc: ctypes.PyDLL, context: ctypes.c_ulong, bell: int) -> None:
        self._loop, self._libc, self._context, self._bell = loop, libc, context, bell
        _, self._destroy, self._getevents, self._submit = CALLS[platform.machine()]
        self._waiting: dict[int, Done] = {}
        self._number = 0
        self._crowded = 0.0  # until when others want the processor, too
        self._block = ctypes.create_string_buffer(IOCB.pack(0, 0, 0, FSYNC, 0, 0, 0, 0, 0, 0, RESFD, bell), IOCB.size)
        self._blocks = (ctypes.c_void_p * 1)(ctypes.addressof(self._block))
        self._events = ctypes.create_string_buffer(EVENT.size * AT_ONCE)
        self._none, self._one, self._all = ctypes.c_long(0), ctypes.c_long(1), ctypes.c_long(AT_ONCE)
        loop.add_reader(bell, self._told)

    @classmethod
    def open(cls, loop: asyncio.AbstractEventLoop) -> KernelSync | None:
        calls = CALLS.get(platform.machine())
        if calls is None:
            return None
        # PyDLL: these calls do not wait, so that giving the interpreter away around them would only cost.
        libc = ctypes.PyDLL(None)
        context = ctypes.c_ulong(0)
        if libc.syscall(calls[0], ctypes.c_uint(AT_ONCE), ctypes.byref(context)) != 0:
            return None
        try:
            return cls(loop, libc, context, os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
        except OSError:  # no descriptor is left
            libc.syscall(calls[1], context)
            return None

    def begin(self, descriptor: int, done: Done, data_only: bool = False) -> bool:
        """False: the kernel does not take it now, or not for this kind of file; nothing was begun. Its worker waits for
        the processor that we are on, often until we have nothing to do: where no other sync is under way, it goes first
        (300 us of work beside a sync of 420 us: 520 us instead of 700). Under load the disk has others to do."""
        self._number += 1
        HALF.pack_into(self._block, 0, self._number, FDSYNC if data_only else FSYNC, descriptor)
        if self._libc.syscall(self._submit, self._context, self._one, self._blocks) != 1:
            return False
        self._waiting[self._number] = done
        if len(self._waiting) == 1:
            self._let_worker_go_first()
        return True

    def _let_worker_go_first(self) -> None:
        """Where it is alone: another program that wants the processor goes first, too, for as long as it is let (with
        one, 2,400 us instead of 1,000 for the same, with three 5,000 instead of 1,400)."""
        began = monotonic()
        if began >= self._crowded:
            os.sched_yield()
            if monotonic() - began >= LONG:
                self._crowded = began + AGAIN

    def _told(self) -> None:
        """The bell rings once for all that ended since: the kernel rounds `AT_ONCE` up, so more may wait than one look
        brings."""
        os.eventfd_read(self._bell)
        while self._look(self._none) == AT_ONCE:
            pass

    def _look(self, least: ctypes.c_long) -> int:
        """Tell of those that ended, once there are `least`; how many it were, -1 when the kernel did not say."""
        got = int(self._libc.syscall(self._getevents, self._context, least, self._all, self._events, None))
        for number in range(max(got, 0)):
            data, _, result, _ = EVENT.unpack_from(self._events, number * EVENT.size)
            self._waiting.pop(data)(-result)
        return got

    def close(self) -> None:
        """Waits, in the kernel, for what is under way, and tells of it."""
        self._loop.remove_reader(self._bell)
        while self._waiting and self._look(self._one) > 0:
            pass
        self._libc.syscall(self._destroy, self._context)
        os.close(self._bell)
