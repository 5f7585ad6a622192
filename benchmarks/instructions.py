"""What a delivered message costs a front in instructions of its own, the kernel's apart: counted by callgrind, which
light load on the machine changes little. What the front does by the clock is counted while it rests, and taken off.

For comparing two programs, by some hundredths; how long an instruction takes it does not tell.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from unittest.mock import patch

from benchmarks import beffroi as ours
from benchmarks.figures import Figure
from benchmarks.load import jobs, send
from tests.peers.process import program

MESSAGES, CONNECTIONS, USERS = 200, 4, 20
SIZES = (4096, 50 * 1024)
PATIENCE = 900.0  # seconds until all is ready
COUNTED = Path(__file__).with_name("counted")


class Counter:
    """callgrind's, of one process."""

    def __init__(self, pid: int, output: Path) -> None:
        self._pid, self._output, self._dumps = pid, output, 0
        self._control("--instr=on")

    def zero(self) -> None:
        self._control("--zero")

    def told(self) -> int:
        """Instructions since `zero`."""
        self._control("--dump")
        self._dumps += 1
        told = (self._output / f"out.{self._pid}.{self._dumps}").read_text()
        found = re.search(r"^totals: (\d+)$", told, re.MULTILINE)
        assert found
        return int(found[1])

    def _control(self, wish: str) -> None:
        command = [program("callgrind_control", "valgrind"), wish, str(self._pid)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def run() -> Iterable[Figure]:
    with tempfile.TemporaryDirectory() as output, _counted(output), ours.beffroi(USERS, workers=1) as installation:
        port = installation.suite.ports["mx"]

        def deliver(size: int, count: int) -> None:
            work = jobs(f"alice@{ours.PARTNER}", installation.users, size, count)
            send(port, work, connections=CONNECTIONS)

        _warm(deliver)
        (front,) = installation.suite.workers("front")
        counter = Counter(front, Path(output))
        for size in SIZES:
            counter.zero()
            started = time.monotonic()
            deliver(size, MESSAGES)
            taken, counted = time.monotonic() - started, counter.told()
            counter.zero()
            time.sleep(taken)
            value = (counted - counter.told()) / MESSAGES / 1000
            yield Figure(f"{size // 1024} KB mail, instructions of a front", value, "thousand")


def _counted(output: str) -> AbstractContextManager[object]:
    """Processes that begin meanwhile are counted (`benchmarks.counted`), and waited for."""
    path = os.pathsep.join(filter(None, (str(COUNTED), os.environ.get("PYTHONPATH"))))
    stack = ExitStack()
    stack.enter_context(patch.dict(os.environ, {"BEFFROI_BENCH_COUNTED": output, "PYTHONPATH": path}))
    stack.enter_context(patch("tests.peers.suite.READY", PATIENCE))
    return stack


def _warm(deliver: Callable[[int, int], None]) -> None:
    for _ in range(10):  # the first ones are put off while their sender's records are not known
        try:
            deliver(SIZES[0], 40)
        except AssertionError:
            continue
    deliver(SIZES[0], 100)
