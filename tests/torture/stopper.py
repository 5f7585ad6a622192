"""A forked process that asks before each of its system calls, and may be killed instead of being answered.

seccomp's user notification (seccomp_unotify(2), Linux 5.5): the calls of all threads come one after another, in the
order they are made, so "the n-th call of the process" is one place and the last call the last place. strace counts per
thread and kind, starts Python for each kill, and so comes to few of them. A call that is not answered never happens.
Between two calls that change something outside the process all kills are the same, so a caller may count those alone.
Linux's ABI is touched here alone: linux/seccomp.h, linux/bpf_common.h, asm/unistd.h.
"""

from __future__ import annotations

import ctypes
import os
import platform
import select
import signal
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fcntl import ioctl

from tests.torture import forked

PATIENCE = 60  # seconds without a call; the time that all of us were stopped does not count

# Calls that change nothing outside the process and tell nobody anything; a kill there is one at the next call.
# futex, mmap, munmap, mprotect, mremap, madvise, brk, rt_sigaction, rt_sigprocmask, rt_sigreturn, clock_nanosleep,
# epoll_wait, epoll_pwait, sched_yield, getpid, gettid, getrandom, set_robust_list, rseq, clone3, exit; and sendmsg, by
# which the listener is handed over, and exit_group, the end.
QUIET = {
    "x86_64": (202, 9, 11, 10, 25, 28, 12, 13, 14, 15, 230, 232, 281, 24, 39, 186, 318, 273, 334, 435, 60, 46, 231),
    "aarch64": (98, 222, 215, 226, 216, 233, 214, 134, 135, 139, 115, 22, 124, 172, 178, 278, 99, 293, 435, 93, 211,
                94),
}  # fmt: skip
# What changes files, names, locks, or tells another process something: write, pwrite64, writev, ftruncate, fallocate,
# mkdir(at), link(at), rename(at, 2), unlink(at), rmdir, utimensat, fchmod, fsync, fdatasync, flock, io_submit,
# copy_file_range, sendto, bind; and openat where it may make a file.
CHANGING = {
    "x86_64": (1, 18, 20, 77, 285, 83, 258, 86, 265, 82, 264, 316, 87, 263, 84, 280, 91, 74, 75, 73, 209, 326, 44, 49),
    "aarch64": (64, 68, 66, 46, 47, 34, 37, 38, 276, 35, 88, 52, 82, 83, 32, 2, 285, 206, 200),
}
OPENAT = {"x86_64": 257, "aarch64": 56}
MAKES = os.O_CREAT  # O_TMPFILE makes nothing that outlives its process
SECCOMP = {"x86_64": 317, "aarch64": 277}
SET_MODE_FILTER, NEW_LISTENER = 1, 8
ALLOW, USER_NOTIF = 0x7FFF0000, 0x7FC00000
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
PR_SET_NO_NEW_PRIVS = 38
RECEIVE, SEND, CONTINUE = 0xC0502100, 0xC0182101, 1
NOTIFICATION, ANSWER = struct.Struct("<QIIiIQ6Q"), struct.Struct("<QqiI")
FILTER = struct.Struct("<HBBI")


@dataclass(slots=True)
class Ended:
    """How it went: what it said, the calls it made, whether it was killed before one, and what went wrong else."""

    said: list[str]
    calls: int
    killed: bool
    trouble: str = ""


def run(work: Callable[[], None], stop_at: int, *, changing: bool = False) -> Ended:
    """`work` in a fork, killed in front of its `stop_at`-th call (0: never). `changing`: only calls that change
    something outside the process are counted. The caller has one thread."""
    said, ours, theirs = os.memfd_create("said"), *socket.socketpair()

    def stopped() -> None:
        ours.close()
        listener = _install()
        socket.send_fds(theirs, [b"."], [listener])
        os.close(listener)
        theirs.close()
        work()

    pid = forked.start(stopped, said)
    theirs.close()
    try:
        calls, killed, trouble = _watch(pid, ours, stop_at, changing=changing)
        _, status = os.waitpid(pid, 0)
        text = os.pread(said, os.fstat(said).st_size, 0).decode("utf-8", "replace")
        if not killed and status != 0:
            trouble = trouble or f"ended with {status}: {text[-800:]}"
        return Ended(text.splitlines(), calls, killed, trouble)
    finally:
        ours.close()
        os.close(said)


def _install() -> int:
    """From now on every other call of this thread and those it starts waits for an answer; the listener."""
    quiet = QUIET[platform.machine()]
    steps = [FILTER.pack(LOAD, 0, 0, 0)]  # the number of the call
    steps += [FILTER.pack(JUMP_IF_EQUAL, len(quiet) - place, 0, number) for place, number in enumerate(quiet)]
    steps += [FILTER.pack(RETURN, 0, 0, USER_NOTIF), FILTER.pack(RETURN, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(steps), len(steps) * FILTER.size)
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    listener = int(libc.syscall(SECCOMP[platform.machine()], SET_MODE_FILTER, NEW_LISTENER, program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


def _watch(pid: int, ours: socket.socket, stop_at: int, *, changing: bool) -> tuple[int, bool, str]:
    _, (listener, *_), _, _ = socket.recv_fds(ours, 1, 1)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    calls = idle = 0
    try:
        while True:
            events = poll.poll(1000)
            if events and events[0][1] & select.POLLIN:
                idle = 0
                waiting, counts = _asked(listener)
                calls += counts or not changing
                if stop_at and calls == stop_at:
                    os.kill(pid, signal.SIGKILL)
                    return calls, True, ""
                ioctl(listener, SEND, bytearray(ANSWER.pack(waiting, 0, 0, CONTINUE)))
            elif events:  # nobody is left
                return calls, False, ""
            elif (idle := idle + 1) > PATIENCE:
                os.kill(pid, signal.SIGKILL)
                return calls, False, f"no end after {calls} calls"
    finally:
        os.close(listener)


def _asked(listener: int) -> tuple[int, bool]:
    """The number of the question, and whether the call changes something."""
    notification = bytearray(NOTIFICATION.size)
    ioctl(listener, RECEIVE, notification)
    number, _, _, call, _, _, *arguments = NOTIFICATION.unpack(notification)
    makes = call == OPENAT[platform.machine()] and bool(arguments[2] & MAKES)
    return number, makes or call in CHANGING[platform.machine()]
