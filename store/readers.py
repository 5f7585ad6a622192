"""Messages read and scanned by other processes, ahead of the one that makes an index: a rebuild uses every core.

Processes are started anew, not forked: a fork would copy open databases and locks. They know a directory and names,
and answer what the index will hold; whatever they cannot read the maker reads, and judges, himself.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future, ProcessPoolExecutor

import core.log
from core.config import Limits
from message import facts
from store.adopt import in_memory
from store.fsops import FileSystem
from store.records import Prepared, email_id
from store.stage import digest_of, file_content

log = core.log.get(__name__)

LEAST = 500  # messages; for fewer of an account, processes that are not running yet are not started
TOGETHER = 50  # messages of one errand
_AHEAD = 3  # errands under way for each process
PATIENCE = 30.0  # seconds for an errand, where somebody waits: one that was stopped gives none back
LONGEST = 600.0  # where nobody does
ENDING = 10.0  # seconds to come to an end, before they are killed
BEHIND = 10  # how much later than we they have their turn, where others are served meanwhile (nice(2))

Answer = tuple[str, Prepared | None]  # file name, what it holds


class Readers:
    """At most as many processes as there are cores for us, started at the first need. `close` ends them for good; they
    end when we do. `behind`: others are served meanwhile. `ended`: called once they are no more."""

    def __init__(
        self,
        limits: Limits,
        processes: int | None = None,
        *,
        behind: bool = False,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._limits = limits
        self.processes = processes or len(os.sched_getaffinity(0))
        self._nice = BEHIND if behind else 0
        self._when_ended = ended
        self._closed = False
        self._pool: ProcessPoolExecutor | None = None
        self._starting = threading.Lock()
        self._broken = False

    def wanted(self, messages: int) -> bool:
        return not self._broken and messages >= (LEAST if self._pool is None else TOGETHER)

    def start(self) -> None:
        """All of them now rather than at the first need: it takes some milliseconds each. Raises OSError, RuntimeError
        (BrokenExecutor is one)."""
        with _deaf():
            for _ in range(self.processes):
                self._started().submit(os.getpid)

    async def ended(self, names: Sequence[str], begun: Future[list[Answer]]) -> list[Answer]:
        """What an errand that was begun comes to, for the event loop."""
        waiting = asyncio.wrap_future(begun)
        waiting.add_done_callback(_seen)  # who waits may leave
        # Never taken back: a pool that breaks trips over errands that were (python/cpython issue 107219).
        await asyncio.wait((waiting,), timeout=0 if self._broken else PATIENCE)
        return self._ended(names, begun, 0)

    def read(self, directory: str, names: Sequence[str]) -> Iterator[Answer]:
        """In the order of `names`; `directory` is an absolute path without symbolic links."""
        errands = deque(names[start : start + TOGETHER] for start in range(0, len(names), TOGETHER))
        under_way: deque[tuple[Sequence[str], Future[list[Answer]]]] = deque()
        while errands or under_way:
            while errands and len(under_way) < _AHEAD * self.processes:
                some = errands.popleft()
                under_way.append((some, self.begin(directory, some)))
            some, future = under_way.popleft()
            yield from self._ended(some, future, 0 if self._broken else LONGEST)

    def begin(self, directory: str, names: Sequence[str]) -> Future[list[Answer]]:
        """An errand of a few. One that nobody can be sent on has failed."""
        try:
            if self._broken:
                raise BrokenExecutor("they do not answer")
            with _deaf():
                return self._started().submit(read_some, directory, names, self._limits)
        except (RuntimeError, OSError) as error:  # broken, ended, or one more could not be started
            failed: Future[list[Answer]] = Future()
            failed.set_exception(BrokenExecutor(str(error)))
            return failed

    def _ended(self, names: Sequence[str], future: Future[list[Answer]], patience: float) -> list[Answer]:
        """A process that was killed is no reason to give up; it takes the others with it, which is told once. Nor is
        one that stands still, but nobody waits for it twice."""
        try:
            return future.result(patience)
        except TimeoutError:
            self._gave_up("one of them stands still")
        except BrokenExecutor as error:
            self._gave_up(str(error))
        except CancelledError:  # they were ended with who waits still there
            pass
        return [(name, None) for name in names]

    def _gave_up(self, cause: str) -> None:
        if not self._broken:
            self._broken = True
            log.warning("store-reader-died", cause=cause)

    def _started(self) -> ProcessPoolExecutor:
        with self._starting:  # threads that rebuild different accounts share it
            if self._closed:  # with who waits still there: nobody would end what is started now
                raise BrokenExecutor("they were ended")
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self.processes, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(self._nice,)
                )
            return self._pool

    def close(self) -> None:
        with self._starting:
            self._closed, pool, self._pool = True, self._pool, None
        try:
            if pool is not None:
                _end(pool, 0 if self._broken else ENDING)
        finally:
            self._when_ended()


def _end(pool: ProcessPoolExecutor, patience: float) -> None:
    """One that was stopped would be waited for without end: SIGKILL ends it, too. (Which processes they are Python 3.11
    tells nobody; a private look is taken here only.)"""
    processes = list((vars(pool)["_processes"] or {}).values())

    def kill() -> None:
        for process in processes:
            process.kill()

    late = threading.Timer(patience, kill)
    late.start()
    try:
        pool.shutdown(cancel_futures=True)
    finally:
        late.cancel()


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """A process that is started here inherits it (signal(7)): Ctrl-C, which a terminal sends to all of its job, must
    not meet it before `_begin`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _seen(ended: asyncio.Future[list[Answer]]) -> None:
    if not ended.cancelled():
        ended.exception()


def _begin(later: int) -> None:
    """In a process of its own: it must not outlive us, who may be killed, and waits in a queue that it keeps open
    itself. Ctrl-C, which the terminal sends to it too, is for us to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(later)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def read_some(directory: str, names: Sequence[str], limits: Limits) -> list[Answer]:
    """In a process of its own. A directory that has another name by now holds none of them."""
    fs = FileSystem()
    try:
        root = fs.open_root(directory)
    except OSError:
        return [(name, None) for name in names]
    try:
        return [(name, _read(fs, root, name, limits)) for name in names]
    finally:
        fs.close(root)


def _read(fs: FileSystem, root: int, name: str, limits: Limits) -> Prepared | None:
    try:
        fd = fs.open_to_read(root, name)
    except OSError:
        return None
    try:
        status = fs.status(fd)
        content = in_memory(file_content(fs, fd, status.st_size))
        return Prepared(
            status.st_size, email_id(digest_of(content)), int(status.st_mtime), facts.gather(content, limits)
        )
    except Exception:  # whatever it is: who asked meets it himself, and judges it
        return None
    finally:
        fs.close(fd)
