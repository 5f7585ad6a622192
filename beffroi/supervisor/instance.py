"""One instance per data directory: a lock held for life, and the pid for people and tests (fault 164)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from core.config import Config, ConfigError

PATIENCE = 0.5  # seconds; `beffroi status` holds the lock for an instant to see whether anybody does


class Instance:
    """The lock on DATA/run/beffroi.pid; the kernel drops it when the process ends, however it ends."""

    def __init__(self, config: Config) -> None:
        self._path = config.pid_file
        self._fd = -1

    def __enter__(self) -> Instance:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline = time.monotonic() + PATIENCE
        while not self._locked():
            if time.monotonic() > deadline:
                raise ConfigError(f"another instance (pid {running_pid(self._path)}) already serves this data")
            time.sleep(0.02)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        return self

    def _locked(self) -> bool:
        """A lock on a file that its last holder has removed meanwhile is worth nothing: the next one makes another."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), os.stat(self._path)):
                self._fd = fd
                return True
        os.close(fd)
        return False

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._fd)


def running_pid(path: Path) -> int | None:
    """The pid of the instance that holds the lock, None when nobody does (a left-over file does not count). Opened for
    reading alone: on a disk that became read-only the suite runs, too."""
    try:
        with path.open() as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return int(file.read().strip() or 0) or None
            return None
    except (OSError, ValueError):
        return None
