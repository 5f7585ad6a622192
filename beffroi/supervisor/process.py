"""One worker process: exec'd (never forked: SQLite and OpenSSL state must not be shared), told by environment which
descriptors are its sockets, and asked to say "ready" on a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from beffroi.supervisor.sockets import Door
from core import log
from core.errors import TemporaryError

READY_TIMEOUT = 60.0  # seconds; a cold import of the web worker on a loaded machine takes several
RESTART_DELAYS = (0.2, 1.0, 2.0, 5.0, 10.0)  # seconds; the last one repeats
REFUSED = b"refused "  # what a worker writes instead of "ready", before a code and the reason
STABLE_AFTER = 30.0  # seconds a worker must live for its restart delay to start over

# glibc's allocator, told once at the start of a process (mallopt(3)). Left to itself it learns from the first password
# hash that blocks of 19 MiB are ordinary, keeps them in the heap of each thread, and gives back to the system only what
# lies above twice that: a front then holds tens of MiB that nobody uses (`make bench ARGS=idle`). Large blocks are
# mapped and go back at once. The store's threads have heaps beside the loop's: while they shared it, holes of closed
# indexes lay between what connections keep, and those in IDLE cost half as much again (`make bench ARGS=many`). Other C
# libraries know none of these names.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "8",
    "MALLOC_MMAP_THRESHOLD_": str(1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(1024 * 1024),
}

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Role:
    """What a worker is: `kind` "front", "delivery" or "web", and which of the doors' sockets are its own."""

    kind: str
    index: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.index}"


class Worker:
    """Keeps one process of a role alive until `stop`. `ready` is set each time the process said so."""

    def __init__(self, role: Role, doors: list[Door], settings: Path) -> None:
        self.role = role
        self.ready = asyncio.Event()
        self.failed_start = False
        self.refusal: TemporaryError | None = None  # why it could not start, when it could say so itself
        self._sockets = [(door.role, door.sockets[role.index]) for door in doors]
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def run(self, lifeline: int) -> None:
        """Start, watch and restart. Ends when `stop` was called, or when the first start fails."""
        if not await self._start(lifeline):
            self.failed_start = not self._stopping.is_set()
            self.ready.set()  # whoever waits for us need not wait longer
            return
        attempt = 0
        loop = asyncio.get_running_loop()
        while True:
            since = loop.time()
            code = await self._exit_code()
            if self._stopping.is_set():
                return
            self.ready.clear()
            attempt = 0 if loop.time() - since > STABLE_AFTER else attempt + 1
            delay = RESTART_DELAYS[min(attempt, len(RESTART_DELAYS) - 1)]
            _log.error("worker-died", worker=self.role.name, exit_code=code, restart_in=delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
                return
            if not await self._start(lifeline):
                self._tell()

    def _tell(self) -> None:
        """Of a worker that came back and may not start; of a first start the supervisor tells one refusal."""
        if self.refusal is not None:
            _log.error("worker-refused", worker=self.role.name, reason=self.refusal.code, why=self.refusal.public)

    async def _exit_code(self) -> int:
        assert self._process is not None
        return await self._process.wait()

    async def _start(self, lifeline: int) -> bool:
        """False when it did not become ready. A machine out of processes or descriptors costs an attempt, never the
        supervisor (fault 154)."""
        self.refusal = None
        try:
            reader = await self._execute(lifeline)
        except OSError as error:
            _log.error("worker-not-started", worker=self.role.name, error=str(error))
            return False
        if self._stopping.is_set():  # `stop` came while there was no process to tell
            self.signal(signal.SIGTERM)
        return await self._wait_ready(reader)

    async def _execute(self, lifeline: int) -> int:
        """Start the process; the reading end of the pipe on which it says "ready"."""
        reader, writer = os.pipe()
        # A fixed seed would make hash collisions computable from outside (security.md row 107).
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONHASHSEED"}
        environment = (
            ALLOCATOR
            | inherited
            | {
                "BEFFROI_WORKER": json.dumps(
                    {
                        "kind": self.role.kind,
                        "index": self.role.index,
                        "settings": str(self._settings),
                        "sockets": [[role, sock.fileno()] for role, sock in self._sockets],
                        "ready": writer,
                        "lifeline": lifeline,
                    }
                )
            }
        )
        descriptors = (writer, lifeline, *(sock.fileno() for _, sock in self._sockets))
        # The mask is inherited: a reload that comes before the worker listens for it waits until it does.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "beffroi.worker", pass_fds=descriptors, env=environment, start_new_session=True
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
            os.close(writer)
        return reader

    async def _wait_ready(self, descriptor: int) -> bool:
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(descriptor, "rb")
        )
        try:
            line = await asyncio.wait_for(stream.readline(), READY_TIMEOUT)
        except TimeoutError:
            _log.error("worker-not-ready", worker=self.role.name, after=READY_TIMEOUT)
            self.kill()
            return False
        finally:
            transport.close()
        if line == b"ready\n":
            self.ready.set()
            return True
        if line.startswith(REFUSED):
            code, _, why = line.removeprefix(REFUSED).decode("ascii", "replace").strip().partition(" ")
            self.refusal = TemporaryError(why, code=code)
        return False

    def signal(self, number: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def stop(self) -> None:
        self._stopping.set()
        if not self.failed_start:  # it ends by itself; Popen would reap it before asyncio does, which then complains
            self.signal(signal.SIGTERM)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
