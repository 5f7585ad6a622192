"""The supervisor's parts: one instance, workers that come up, die, reload and stop whatever the moment."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import io
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from beffroi.supervisor import process
from beffroi.supervisor.instance import Instance, running_pid
from beffroi.supervisor.process import Role, Worker
from beffroi.supervisor.supervisor import hold
from core.config import Config, ConfigError
from tests.beffroi.commands import beffroi, initialise
from tests.peers.suite import Settings, Suite

PATIENCE = 20.0  # seconds

# A worker in a few lines: says "ready", writes what it hears into a file, ends at SIGTERM.
CHILD = """
import json, os, signal, sys, time
told = json.loads(os.environ["BEFFROI_WORKER"])
out = open(told["settings"], "a", buffering=1)
{before}
signal.signal(signal.SIGHUP, lambda *_: out.write("reload\\n"))
signal.signal(signal.SIGTERM, lambda *_: (out.write("stop\\n"), sys.exit(0)))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGHUP}})
out.write("up\\n")
os.write(told["ready"], b"ready\\n")
while True: time.sleep(0.05)
"""


def config(data: Path, **changes: object) -> Config:
    return Config.model_validate({"hostname": "mx.dept.test", "data": str(data), **changes})


@asynccontextmanager
async def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str = "") -> AsyncIterator[Worker]:
    program = tmp_path / "child"
    program.write_text(f"#!{sys.executable}\n" + CHILD.format(before=before))
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    made = Worker(Role("front", 0), [], tmp_path / "told")
    lifeline, held = os.pipe()
    task = asyncio.create_task(made.run(lifeline))
    try:
        yield made
    finally:
        made.stop()
        async with asyncio.timeout(PATIENCE):
            await task
            while made.pid is not None:
                await asyncio.sleep(0.02)
        os.close(lifeline)
        os.close(held)


async def told(tmp_path: Path, word: str, times: int = 1) -> None:
    path = tmp_path / "told"
    async with asyncio.timeout(PATIENCE):
        while not path.exists() or path.read_text().split().count(word) < times:
            await asyncio.sleep(0.02)


async def test_a_worker_that_dies_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with worker(tmp_path, monkeypatch) as made:
        await told(tmp_path, "up")
        made.kill()
        await told(tmp_path, "up", 2)


async def test_f154_a_machine_out_of_processes_costs_an_attempt_and_not_the_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = asyncio.create_subprocess_exec, 0

    async def execute(*arguments: object, **options: object) -> object:
        nonlocal failures
        if made.ready.is_set() or failures:
            failures += 1
            if failures < 3:
                raise BlockingIOError(11, "Resource temporarily unavailable")
        return await real(*arguments, **options)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(process, "RESTART_DELAYS", (0.05,))
    descriptors = len(os.listdir("/proc/self/fd"))
    async with worker(tmp_path, monkeypatch) as made:
        await told(tmp_path, "up")
        async with asyncio.timeout(PATIENCE):
            await made.ready.wait()
        monkeypatch.setattr(asyncio, "create_subprocess_exec", execute)
        failures = 1
        made.kill()
        await told(tmp_path, "up", 2)
        monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) <= descriptors


async def test_a_stop_in_the_moment_of_a_start_reaches_the_new_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There was nobody to signal: the process then lived until it was killed."""
    real = asyncio.create_subprocess_exec

    async def execute(*arguments: object, **options: object) -> object:
        made.stop()
        return await real(*arguments, **options)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(asyncio, "create_subprocess_exec", execute)
    async with worker(tmp_path, monkeypatch) as made:
        pass
    assert not made.failed_start


async def test_f148_a_reload_during_a_start_waits_until_the_worker_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGHUP ends a process that has no handler yet: a reload right after a start once stopped the whole suite."""
    async with worker(tmp_path, monkeypatch, before='out.write("starting\\n"); time.sleep(0.3)') as made:
        await told(tmp_path, "starting")
        made.signal(signal.SIGHUP)
        await told(tmp_path, "reload")
        assert (tmp_path / "told").read_text().split().count("starting") == 1
    assert not made.failed_start


def test_f148_a_reload_keeps_what_only_a_restart_changes(tmp_path: Path) -> None:
    """A worker that died after such a reload once came back on another data directory than its neighbours."""
    running = config(tmp_path / "a", workers=2)
    wanted = config(tmp_path / "b", workers=5, database={"url": "sqlite:///x"}, antispam={"when_unavailable": "accept"})
    settled, held = hold(wanted, running)
    assert held == ["data", "workers", "database"]
    assert (settled.data, settled.workers, settled.database) == (running.data, running.workers, running.database)
    assert settled.antispam.when_unavailable == "accept"


def test_f164_a_second_instance_on_the_same_data_is_refused(tmp_path: Path) -> None:
    one = config(tmp_path)
    assert running_pid(one.pid_file) is None
    with Instance(one):
        assert running_pid(one.pid_file) == os.getpid()
        with pytest.raises(ConfigError, match=f"another instance .pid {os.getpid()}."), Instance(one):
            pass
        assert running_pid(one.pid_file) == os.getpid()
    with Instance(one):
        pass


def test_f170_an_instance_on_a_disk_that_became_read_only_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = config(tmp_path)
    with Instance(one):
        real = io.open

        def read_only(path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            if set(mode) & set("+wax"):
                raise OSError(30, "Read-only file system", str(path))
            return real(path, mode, *arguments, **named)

        monkeypatch.setattr(io, "open", read_only)
        assert running_pid(one.pid_file) == os.getpid()


def test_f164_a_lock_on_a_file_that_was_removed_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is removed at the end: whoever had just opened it held a lock that nobody else would ever see."""
    one = config(tmp_path)
    first = Instance(one).__enter__()
    real, opened = os.open, threading.Event()

    def open_then_lose(path: object, *arguments: int) -> int:
        descriptor = real(path, *arguments)  # type: ignore[arg-type]  # passed through
        if not opened.is_set():
            opened.set()
            first.__exit__()
        return descriptor

    monkeypatch.setattr(os, "open", open_then_lose)
    with Instance(one):
        assert running_pid(one.pid_file) == os.getpid()
        with pytest.raises(ConfigError), Instance(one):
            pass


def test_a_look_by_status_does_not_keep_an_instance_from_starting(tmp_path: Path) -> None:
    one = config(tmp_path)
    one.pid_file.parent.mkdir()
    with one.pid_file.open("w") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)

        def look_away() -> None:
            time.sleep(0.1)
            fcntl.flock(file.fileno(), fcntl.LOCK_UN)

        thread = threading.Thread(target=look_away)
        thread.start()
        with Instance(one):
            assert running_pid(one.pid_file) == os.getpid()
        thread.join()


async def test_f157_a_worker_that_cannot_start_passes_its_reason_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = 'os.write(told["ready"], b"refused queue-storage the queue is damaged\\n"); sys.exit(1)'
    async with worker(tmp_path, monkeypatch, before=refuse) as made:
        async with asyncio.timeout(PATIENCE):
            await made.ready.wait()
        assert made.failed_start
        assert made.refusal is not None
        assert (made.refusal.code, made.refusal.public) == ("queue-storage", "the queue is damaged")


def _from_the_future(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda data: (data / "store.beffroi").unlink(), "store.beffroi: No such file"),  # another disk, or none
        (lambda data: (data / "queue/queue.db").write_bytes(b"no database" * 1000), "queue.db is damaged"),
        (lambda data: (data / "keys/master.key").unlink(), "keys/master.key: No such file or directory"),
        (lambda data: (data / "directory.db").write_bytes(b"no database" * 1000), "directory's database is damaged"),
        (lambda data: _from_the_future(data / "directory.db"), "version 9999, made by a newer program than this one"),
    ],
    ids=["f170-no-store", "f157-queue", "no-master-key", "f157-directory", "f157-downgrade"],
)
def test_f157_f170_serve_refuses_with_one_clear_line(
    tmp_path: Path, harm: Callable[[Path], object], reason: str
) -> None:
    """Each worker once printed its traceback, and nothing said what to do."""
    path = initialise(tmp_path / "data")
    installation = Suite(tmp_path, Settings("127.0.0.1:53"))
    path.write_text(installation.settings.toml(installation.ports))
    harm(tmp_path / "data")
    before = sorted(tmp_path.rglob("domains/*"))
    done = beffroi("serve", "--config", str(path))  # a traceback fails in there
    assert done.code == 1
    assert "ready" not in done.out
    (line,) = done.err.splitlines()  # each of four workers told it, too
    assert line.startswith("beffroi: ")
    assert reason in line
    assert sorted(tmp_path.rglob("domains/*")) == before


async def test_h107_a_worker_never_has_a_fixed_hash_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    seed = 'out.write(os.environ.get("PYTHONHASHSEED", "random") + "\\n")'
    async with worker(tmp_path, monkeypatch, before=seed):
        await told(tmp_path, "up")
    assert "random" in (tmp_path / "told").read_text().split()
