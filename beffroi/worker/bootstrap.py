"""What every worker does alike: take its assignment, start its services, say "ready", obey signals, stop in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import uvloop

from beffroi import metrics
from core import heap, log
from core.config import Config, ConfigError
from core.errors import MailError

DRAIN = 30.0  # seconds that running sessions and deliveries get after SIGTERM (fault 148)

SWITCH_INTERVAL = 0.001  # seconds
# The second look is at all that survived since the last one, in one go: 100,000 objects take 10 ms (promise P7).
GC_THRESHOLDS = (10_000, 3, 600)

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who this process is. `sockets` are (role, listening socket) pairs; `ready` and `lifeline` are pipe ends."""

    kind: str
    index: int
    settings: Path
    sockets: tuple[tuple[str, socket.socket], ...]
    ready: int
    lifeline: int

    @staticmethod
    def from_json(value: dict[str, Any]) -> Assignment:
        sockets = tuple((role, socket.socket(fileno=fd)) for role, fd in value["sockets"])
        for _, sock in sockets:
            sock.setblocking(False)
        return Assignment(
            value["kind"], value["index"], Path(value["settings"]), sockets, value["ready"], value["lifeline"]
        )

    def config(self) -> Config:
        """The configuration the supervisor checked; read again at each reload."""
        return Config.model_validate_json(self.settings.read_bytes())


class Running(Protocol):
    """A started worker."""

    async def reload(self, config: Config) -> None:
        """New sessions use `config` and freshly read certificates; running ones go on."""

    async def drain(self) -> None:
        """Accept nothing new and wait for what runs; bounded by the caller."""

    async def close(self) -> None:
        """Stop everything, in the reverse order of its start."""


Start = Callable[[Assignment, Config], Awaitable[Running]]


def run(assignment: Assignment, start: Start) -> None:
    config = assignment.config()
    # A store thread gives the interpreter's lock away at each system call and waits this long to get it back while the
    # loop computes; the default of 5 ms made 20 connections half as fast as 1 ms does (`make bench`).
    sys.setswitchinterval(SWITCH_INTERVAL)
    _raise_descriptors()
    figures = config.run_dir / "metrics"
    metrics.prepare(figures)
    counted = metrics.reserve(figures)
    log.configure(config.log_level, stream=sys.stderr, observer=metrics.counter() if counted else None)
    with log.context(worker=f"{assignment.kind}-{assignment.index}"):
        if not counted:
            _log.warning("metrics-off", folder=str(figures))
        uvloop.run(_live(assignment, config, start))


def _raise_descriptors() -> None:
    """Thousands of idle connections and open accounts need more than the usual soft limit (fault 154)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _live(assignment: Assignment, config: Config, start: Start) -> None:
    stop = asyncio.Event()
    reload = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C reaches the supervisor, which sends SIGTERM
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # the supervisor had it wait for this handler
    loop.add_reader(assignment.lifeline, stop.set)  # end of file: the supervisor is gone
    try:
        running = await start(assignment, config)
    except (MailError, ConfigError, OSError) as error:
        # A room that cannot open says why in one sentence: the supervisor tells it, once.
        os.write(assignment.ready, refusal(error).encode("ascii", "backslashreplace"))
        raise SystemExit(1) from None
    try:
        # What lives until the end is not worth looking at in every collection (pauses; design.md section 6).
        gc.collect()
        gc.freeze()
        heap.gather()  # nobody is served yet: it may wait
        # A message makes some thousand objects and leaves few cycles: the default of 700 looks several times a message.
        gc.set_threshold(*GC_THRESHOLDS)
        with contextlib.suppress(BrokenPipeError):  # a supervisor that died meanwhile: the lifeline ends us, too
            os.write(assignment.ready, b"ready\n")
        os.close(assignment.ready)
        reloader = asyncio.create_task(_obey_reloads(assignment, running, reload))
        await stop.wait()
        loop.remove_reader(assignment.lifeline)
        reloader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reloader
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(running.drain(), DRAIN)
    finally:
        await running.close()


def refusal(error: Exception) -> str:
    """A code and a sentence on one line. Certificates are read by OpenSSL, whose error names no file."""
    if isinstance(error, MailError):
        code, told = error.code, error.public
    elif isinstance(error, OSError) and error.strerror:
        code, told = "disk", f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        code, told = "configuration", str(error)
    return f"refused {code} {' '.join(told.split())}\n"


async def _obey_reloads(assignment: Assignment, running: Running, reload: asyncio.Event) -> None:
    while True:
        await reload.wait()
        reload.clear()
        try:
            await running.reload(assignment.config())
            _log.info("worker-reloaded")
        except Exception:  # a failed reload leaves the worker as it was, and says so
            _log.exception("worker-reload-failed")
