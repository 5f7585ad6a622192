"""The account lock: one writer at a time among all threads and processes, and what the last writer left behind.

Knows two things: `flock` on `beffroi.lock` (freed by the kernel when its holder dies; one that is stopped keeps it, so
everybody waits for so long and no longer), and the word in that file: boot id, generation of the index, state, and the
folders being written. The word is what tells a crash in the middle of a write ("busy"), a power loss (another boot and
not "clean"), and an index that is not the one we left (another generation): an older copy, or another account's (faults
157, 159). It is written without sync: after a kill the page cache still holds it, after a power loss the boot id
differs.

A wait that has an end can only look again and again, and who works without a pause would be met at it nearly every
time. So who waits says so, by the lock of the account's directory, and who had the lock last lets him go first: without
that, two crowded processes kept each other waiting for up to a second, and somebody's flags for 0.2 s each (measured).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from enum import StrEnum

from core.errors import StorageError
from core.frozen import dataclass
from store.fsops import FileSystem

LOCK_FILE = "beffroi.lock"
WORD_SIZE = 256
WIDTH = 24  # of what is published behind it
ALL = "*"
WAIT = 30.0  # seconds for whoever keeps it
LOOK = 0.001  # seconds between looks
COURTESY = 0.01  # seconds that who had it last leaves it to who waits; one that is stopped costs no more than that


class State(StrEnum):
    IDLE = "idle"
    BUSY = "busy"
    CLEAN = "clean"  # synced, with exact floors


@dataclass(frozen=True, slots=True)
class Word:
    """`folders`: numbers of the folders a busy writer had touched, or `("*",)` for the structure itself."""

    boot: str
    generation: int
    state: State
    folders: tuple[str, ...] = ()

    def pack(self) -> bytes:
        text = f"1 {self.boot} {self.generation} {self.state} {','.join(self.folders)}"
        if len(text) > WORD_SIZE - 2:
            return Word(self.boot, self.generation, self.state, (ALL,)).pack()
        return f"{text:<{WORD_SIZE - 1}}\n".encode("ascii")

    @staticmethod
    def unpack(data: bytes) -> Word | None:
        """None for an empty or damaged word: nothing is known then."""
        try:
            version, boot, generation, state, *folders = data.decode("ascii").split()
            if version != "1":
                return None
            touched = tuple(folders[0].split(",")) if folders else ()
            return Word(boot, int(generation), State(state), touched)
        except ValueError:
            return None


class LockKeptError(StorageError):
    """Somebody else kept the lock all the time; nothing was begun."""

    def __init__(self) -> None:
        super().__init__("the mailbox is busy", code="storage-busy")


class AccountLock:
    """The lock of one account as one holder sees it. `held()` blocks: call it in a worker thread. One instance excludes
    other instances, not other threads that use the same one."""

    def __init__(self, fs: FileSystem, root: int, *, reading: bool = False) -> None:
        """`reading`: on a disk that is read-only, where the file must be there already; its lock is the same
        (flock(2)). Raises OSError."""
        self._fs = fs
        self._root = root
        self._open = fs.open_to_read if reading else fs.open_to_update
        self._fd = self._open(root, LOCK_FILE)
        self._released = 0.0
        self._ours: tuple[bytes, Word | None] = b"", None  # the last word of a writer who had ended that was ours

    @contextlib.contextmanager
    def held(self, wait: float = WAIT) -> Iterator[None]:
        """Raises LockKeptError after `wait` seconds."""
        self._acquire(wait)
        try:
            yield
        finally:
            self.release()

    def try_acquire(self, *, waited: bool = False) -> bool:
        """Without waiting; False also where somebody else is to go first (`waited`: it is our turn, who said so by
        `waiting`), and where the lock file was deleted by hand (`held` mends that)."""
        if (not waited and self.leaves_it()) or not self._fs.try_lock(self._fd):
            return False
        if self._fs.status(self._fd).st_nlink == 0:
            self.release()
            return False
        return True

    def release(self) -> None:
        self._released = time.monotonic()
        self._fs.unlock(self._fd)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[Callable[[], None]]:
        """Around looks at a lock that somebody keeps; what is given says, before each, that we wait, where nobody says
        so already. Never raises: who cannot say it waits all the same."""
        try:
            gate = self._fs.open_directory(self._root, ".")
        except OSError:
            yield lambda: None
            return
        try:
            yield lambda: self._say(gate)
        finally:
            self._fs.close(gate)

    def _acquire(self, wait: float) -> None:
        since = time.monotonic()
        while self.leaves_it():
            time.sleep(LOOK)
        if self._taken():
            return
        with self.waiting() as say:
            while time.monotonic() < since + wait:
                say()
                time.sleep(LOOK)
                if self._taken():
                    return
        raise LockKeptError

    def _taken(self) -> bool:
        while self._fs.try_lock(self._fd):
            if self._fs.status(self._fd).st_nlink:
                return True
            fd = self._open(self._root, LOCK_FILE)  # deleted by hand: lock the file that others see now
            self._fs.close(self._fd)
            self._fd = fd
        return False

    def leaves_it(self) -> bool:
        """We had it just now, and somebody waits for it: that may be us, who said so."""
        if time.monotonic() - self._released >= COURTESY:
            return False
        try:
            if not self._fs.try_lock(self._root):
                return True
            self._fs.unlock(self._root)
        except OSError:  # a file system whose directories have no locks
            pass
        return False

    def _say(self, gate: int) -> None:
        with contextlib.suppress(OSError):
            self._fs.try_lock(gate)

    def read(self) -> Word | None:
        """Mostly nobody was here since we were."""
        found = self._fs.read(self._fd, 0, WORD_SIZE)
        written, ours = self._ours
        return ours if found == written else Word.unpack(found)

    def write(self, word: Word, *, sync: bool = False, published: bytes = b"") -> None:
        """`published`: with it, as by `publish`."""
        before = self._fs.read(self._fd, 0, WORD_SIZE) if sync else b""
        packed = word.pack()
        self._fs.write(self._fd, packed + (published.ljust(WIDTH) if published else b""), 0)
        if word.state is not State.BUSY:
            self._ours = packed, word
        if not sync:
            return
        try:
            self._fs.sync(self._fd)
        except OSError:  # the disk may tell the old word for good: so must we, or nobody would write it again
            with contextlib.suppress(OSError):
                self._fs.write(self._fd, before, 0)
            raise

    def publish(self, data: bytes) -> None:
        """What others may read without the lock (`store.sums`), behind the word."""
        self._fs.write(self._fd, data.ljust(WIDTH), WORD_SIZE)

    def close(self) -> None:
        self._fs.close(self._fd)
