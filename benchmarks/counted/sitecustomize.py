"""On PYTHONPATH for `benchmarks.instructions` alone: Python imports it by its name, first of all, in each process.

A front begins anew under callgrind, where a second of ours is a minute of its: what fronts do by the clock is made rare
there, and the supervisor waits longer for them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

COUNTED, AGAIN = "BEFFROI_BENCH_COUNTED", "BEFFROI_BENCH_AGAIN"
RARELY = 3600.0  # seconds
PATIENCE = 900.0  # seconds until a front is ready


def _begin() -> None:
    command = Path("/proc/self/cmdline").read_text()
    if "beffroi.worker" in command and '"front"' in os.environ.get("BEFFROI_WORKER", ""):
        if AGAIN in os.environ:
            _rarely()
        else:
            os.environ[AGAIN] = "1"
            output = f"--callgrind-out-file={os.environ[COUNTED]}/out.%p"
            tool = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", output]
            os.execvp("valgrind", [*tool, sys.executable, "-m", "beffroi.worker"])
    elif "serve" in command.split("\0"):
        import beffroi.supervisor.process

        beffroi.supervisor.process.READY_TIMEOUT = PATIENCE


def _rarely() -> None:
    import store.flusher
    import store.search.filler

    store.flusher.FLUSH_EVERY = store.search.filler.LOOK_EVERY = RARELY


if COUNTED in os.environ:
    _begin()
