"""Starting real peers: a free loopback port, a folder other users may enter, a process that is ended with the test.

A service that is not installed fails the test with the name of its Debian package (deploy/packages.sh installs it).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

START = 30.0  # seconds a peer has until it answers on a loaded machine
SIZED = "stty rows 24 cols 80; "  # before what script(1) runs: ncurses of Debian 13 opens no terminal without a size


class MissingPackage(AssertionError):
    """A peer is not installed; the test fails, it is not skipped."""


def program(name: str, package: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/lib/postfix/sbin")
    if not found:
        raise MissingPackage(f"{name} is not installed: apt-get install {package}")
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def free_ports(count: int) -> list[int]:
    """Distinct ports: all are held until all are chosen."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in socks]


@contextlib.contextmanager
def peer_directory(name: str) -> Iterator[Path]:
    """A folder whose whole path other users may enter: most daemons give up root. Kept when BEFFROI_KEEP is set."""
    path = Path(tempfile.mkdtemp(prefix=f"beffroi-{name}-", dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        if "BEFFROI_KEEP" not in os.environ:
            shutil.rmtree(path, ignore_errors=True)


def copy_tree(source: Path, target: Path) -> None:
    """With owners, and times to the nanosecond: a mail server reads a whole folder again for another time."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def answers(port: int, host: str = "127.0.0.1") -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False


def children(parent: int) -> list[int]:
    """The pids of the living children of a process (zombies do not count)."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, owner = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(owner) == parent and state != "Z":
                found.append(int(entry.name))
    return found


def running(pid: int) -> bool:
    """Neither gone nor a zombie that nobody has fetched."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until(condition: Callable[[], object], *, timeout: float = START, what: str = "condition") -> None:
    """Poll until true; the failure names what was waited for."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(0.02)


class Process:
    """A daemon in the foreground with its output in a file."""

    def __init__(self, command: Sequence[str], output: Path, **options: object) -> None:
        self.output = output
        self._file = output.open("ab")
        self._process = subprocess.Popen(  # type: ignore[call-overload]  # the keywords depend on being root
            list(command), stdout=self._file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True, **options,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_port(self, port: int) -> None:
        def up() -> bool:
            if not self.running:
                raise AssertionError(f"ended while starting:\n{self.output.read_text(errors='replace')[-3000:]}")
            return answers(port)

        wait_until(up, what=f"port {port} of {self.output.parent.name}")

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 45.0) -> int:
        if self.running:
            self._process.send_signal(number)
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            code = self._process.wait()
        self._file.close()
        return int(code)
