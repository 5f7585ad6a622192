"""`beffroi serve`: bind, drop privileges, start workers, say "ready", restart, reload, drain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from beffroi import metrics
from beffroi.installation import warnings
from beffroi.supervisor import privileges
from beffroi.supervisor.instance import Instance, running_pid
from beffroi.supervisor.process import Role, Worker
from beffroi.supervisor.sockets import FRONT_DOORS, WEB_DOORS, Door, open_doors
from core import log
from core.config import Config, ConfigError
from core.errors import TemporaryError

DRAIN = 35.0  # seconds; workers give their sessions 30 (fault 148)
HELD = ("hostname", "data", "workers", "user", "listen", "database", "dns", "log_level")  # what only a restart changes

_log = log.get(__name__)


def serve(config: Config, reload: Callable[[], Config]) -> int:
    """Run until SIGTERM or SIGINT; the exit code. `reload` reads the configuration again. Raises `ConfigError`,
    `MailError` or `OSError` before anything is served."""
    privileges.check(config)
    if pid := running_pid(config.pid_file):  # before the doors, which it has
        raise ConfigError(f"another instance (pid {pid}) already serves this data")
    doors = open_doors(config)
    try:
        privileges.become(config)
        with Instance(config):
            return asyncio.run(_Supervisor(config, doors, reload).run())
    finally:
        for door in doors:
            door.close()


class _Supervisor:
    def __init__(self, config: Config, doors: list[Door], reload: Callable[[], Config]) -> None:
        self._config = config
        self._reload = reload
        self._settings = config.run_dir / "config.json"
        self._stop = asyncio.Event()
        fronts = [door for door in doors if door.role in FRONT_DOORS]
        web = [door for door in doors if door.role in WEB_DOORS]
        self._workers = [Worker(Role("front", i), fronts, self._settings) for i in range(config.workers)]
        self._workers.append(Worker(Role("delivery", 0), [], self._settings))
        if web:
            self._workers.append(Worker(Role("web", 0), web, self._settings))

    async def run(self) -> int:
        _write_settings(self._settings, self._config)
        metrics.clear(self._config.run_dir / "metrics")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        # Workers hold the reading end: when the supervisor is killed, they see the end of file and stop by themselves.
        lifeline, held = os.pipe()
        os.set_inheritable(lifeline, True)
        try:
            async with asyncio.TaskGroup() as group:
                for worker in self._workers:
                    group.create_task(worker.run(lifeline))
                group.create_task(self._announce())
                await self._stop.wait()
                await self._drain()
        finally:
            os.close(lifeline)
            os.close(held)
            self._settings.unlink(missing_ok=True)
        if refusal := self._refusal():
            raise refusal
        return 1 if any(worker.failed_start for worker in self._workers) else 0

    def _refusal(self) -> TemporaryError | None:
        """Of a start: workers that open the same rooms fail alike, and one sentence is told."""
        return next((worker.refusal for worker in self._workers if worker.failed_start and worker.refusal), None)

    async def _announce(self) -> None:
        waits = [asyncio.ensure_future(worker.ready.wait()) for worker in self._workers]
        stop = asyncio.ensure_future(self._stop.wait())
        pending = set(waits)
        while pending and not stop.done():
            _, pending = await asyncio.wait({*pending, stop}, return_when=asyncio.FIRST_COMPLETED)
            pending.discard(stop)
        stop.cancel()
        for wait in waits:
            wait.cancel()
        if any(worker.failed_start for worker in self._workers):
            if self._refusal() is None:  # what a worker could say itself is the one line of a refused start
                _log.error("start-failed", workers=[w.role.name for w in self._workers if w.failed_start])
            self._stop.set()
        elif not self._stop.is_set():
            for note in warnings(self._config):
                _log.warning("configuration-warning", note=note)
            _log.info("ready", pid=os.getpid(), workers=[w.role.name for w in self._workers])
            with contextlib.suppress(OSError, ValueError):  # nobody listens: no reason to stop the mail (fault 169)
                sys.stdout.write("ready\n")
                sys.stdout.flush()

    async def _drain(self) -> None:
        if not any(worker.failed_start for worker in self._workers):
            _log.info("draining")
        for worker in self._workers:
            worker.stop()
        deadline = asyncio.get_running_loop().time() + DRAIN
        while any(worker.pid for worker in self._workers):
            if asyncio.get_running_loop().time() > deadline:
                for worker in self._workers:
                    worker.kill()
            await asyncio.sleep(0.05)

    def _on_reload(self) -> None:
        """A faulty file changes nothing: what runs goes on with what it had."""
        try:
            config = self._reload()
        except ConfigError as error:
            _log.error("reload-refused", error=str(error))
            return
        config, held = hold(config, self._config)
        if held:
            _log.warning("reload-needs-restart", keys=held)
        _write_settings(self._settings, config)
        for worker in self._workers:
            worker.signal(signal.SIGHUP)
        for note in warnings(config):
            _log.warning("configuration-warning", note=note)
        _log.info("reloaded")


def hold(config: Config, running: Config) -> tuple[Config, list[str]]:
    """`config` with the keys of `HELD` as they are in `running`, and which of them differed. A worker that dies later
    starts from these settings: on another data directory it would part from its neighbours."""
    held = {key: getattr(running, key) for key in HELD if getattr(running, key) != getattr(config, key)}
    return config.model_copy(update=held), list(held)


def _write_settings(path: Path, config: Config) -> None:
    """The checked configuration for the workers; it may hold passwords, so 0600 and gone at the end (promise P10)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(config.model_dump_json())
    temporary.rename(path)
