"""The wake-up between processes: "something became due", or "a sender is to be told something". It carries no more,
never blocks and may be lost.

The listener looks by itself at least every 2 s (design.md section 5, Changes).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

NAME = "queue.sock"
_OWED = b"owed"
_LONGEST_PATH = 100  # sun_path has 108 octets


class HintSender:
    """Tells the runner. An absent listener and a full buffer are alike: it will look by itself."""

    def __init__(self, run_dir: Path) -> None:
        self._path = _short(run_dir / NAME)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def send(self, *, owed: bool = False) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendto(_OWED if owed else b"", self._path)

    def close(self) -> None:
        self._socket.close()


class HintListener:
    """Calls `heard` on the running loop for each hint, with whether it spoke of a debt."""

    def __init__(self, run_dir: Path, heard: Callable[[bool], None]) -> None:
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = run_dir / NAME
        path.unlink(missing_ok=True)
        self._path, self._heard = path, heard
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._socket.bind(_short(path))
        os.chmod(path, 0o600)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._heard(self._socket.recv(16) == _OWED)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        with contextlib.suppress(OSError):  # a disk that became read-only keeps it; whoever listens next removes it
            self._path.unlink(missing_ok=True)


def _short(path: Path) -> str:
    """A socket's path is bounded by the kernel; a deep data directory is reached from where we stand."""
    text = str(path)
    if len(os.fsencode(text)) <= _LONGEST_PATH:
        return text
    return os.path.relpath(text)
