"""Commands that take long, on a terminal: how far they are, and Ctrl-C."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from beffroi.cli import lengthy
from beffroi.installation import initialise
from beffroi.rooms import open_directory, open_store
from core.address import parse
from core.config import load
from directory.types import Actor
from store.lockfile import WAIT
from store.types import AccountRef, Placement
from tests.beffroi.commands import beffroi
from tests.fakes.mail import content
from tests.peers.suite import BEFFROI

CONSOLE = Actor.console()
MANY = 600  # messages: enough for helper processes
LONG = 60.0  # seconds that a busy machine may take
SENTENCE = "beffroi: interrupted; what was done stays"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = initialise(tmp_path_factory.mktemp("lengthy") / "data", "mx.dept.test")
    asyncio.run(_furnish(path))
    return path


async def _furnish(path: Path) -> None:
    async with open_directory(load(path)) as directory, open_store(load(path)) as store:
        await directory.add_organisation(CONSOLE, "Mairie")
        await directory.add_domain(CONSOLE, "mairie.test", "Mairie")
        ref = AccountRef.of(await directory.add_account(CONSOLE, parse("maire@mairie.test"), password=None))
        await (await store.account(ref)).append([(content(number), Placement()) for number in range(MANY)])


class OnTerminal:
    """A command whose standard error is a terminal; `shown` is what it wrote there."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        self.process = subprocess.Popen(
            [BEFFROI, *arguments], stdout=subprocess.DEVNULL, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.shown = ""

    def look(self) -> str:
        with suppress(OSError):  # nothing yet, or nobody writes any more
            self.shown += os.read(self._ours, 65536).decode()
        return self.shown

    def interrupt(self) -> tuple[int, float]:
        """Its exit code, and how long it took."""
        began = time.monotonic()
        os.killpg(self.process.pid, signal.SIGINT)  # as a terminal does: to helpers, too
        code = self.process.wait(LONG)
        return code, time.monotonic() - began

    def others(self) -> bool:
        """Whether a process of its session is left."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(LONG)
        os.close(self._ours)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def on_terminal(*arguments: str) -> Iterator[OnTerminal]:
    command = OnTerminal(*arguments)
    try:
        yield command
    finally:
        command.close()


@pytest.mark.parametrize("name", ["verify", "rebuild"])
def test_ctrl_c_ends_a_command_whose_threads_wait_and_progress_is_shown_until_then(config: Path, name: str) -> None:
    lock = config.parent / "domains/mairie.test/maire/beffroi.lock"
    with lock.open("rb+") as file, on_terminal("--config", str(config), "store", name) as command:
        fcntl.flock(file, fcntl.LOCK_EX)
        until(lambda: "0 of 1 accounts, " in command.look())
        code, took = command.interrupt()
        assert code == 130
        assert took < WAIT / 2  # one second, on a machine that has time
        assert SENTENCE in command.look()
        assert "Traceback" not in command.shown
        until(lambda: not command.others())
    assert beffroi("--config", str(config), "store", "verify").out == "no fault found\n"


def test_f144_ctrl_c_in_the_middle_of_a_rebuild_leaves_the_account_sound_and_no_helper(config: Path) -> None:
    tmp = config.parent / "domains/mairie.test/maire/tmp"
    with on_terminal("--config", str(config), "store", "rebuild") as command:
        until(lambda: list(tmp.glob("index-*.db")) or command.process.poll() is not None)
        code, took = command.interrupt()
        assert code == 130
        assert took < WAIT / 2
        assert SENTENCE in command.look()
        assert "Traceback" not in command.shown
        until(lambda: not command.others())
    assert beffroi("--config", str(config), "store", "verify").out == "no fault found\n"
    assert beffroi("--config", str(config), "store", "rebuild").out == f"{MANY} messages indexed\n"


async def test_messages_are_told_where_they_are_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lengthy, "EVERY", 0.0)
    progress = lengthy.Progress()
    for figures, shown in (
        ((1, 7, 0), "1 of 7 accounts, 0 s"),
        ((1, 7, 12345), "1 of 7 accounts, 12,345 messages, 0 s"),
    ):
        progress.tell(*figures)
        showing = asyncio.create_task(progress.show())
        while not (err := capsys.readouterr().err):
            await asyncio.sleep(0)
        showing.cancel()
        assert err.split("\x1b[K")[1] == shown


def test_there_is_no_progress_in_a_pipe_nor_with_json(config: Path) -> None:
    done = beffroi("--config", str(config), "store", "verify")
    assert (done.code, done.err) == (0, "")
    with on_terminal("--config", str(config), "--json", "store", "rebuild") as command:
        assert command.process.wait(LONG) == 0
        assert command.look() == ""
