"""Installations on one queue on PostgreSQL: those with one directory serve, one with another directory is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from beffroi.wiring import open_rooms
from core.config import Config, load
from core.errors import RefusedError
from directory.types import Actor
from tests.beffroi.commands import Done, beffroi, forked, initialise
from tests.fakes.postgres import running
from tests.peers.suite import Settings, Suite

SENTENCE = (
    "beffroi: database.queue is the queue of another directory: give all its instances the same database.url, or this "
    "installation a queue of its own; if its directory was made anew: beffroi queue assign\n"
)


def prepared(base: Path, queue: str) -> Path:
    """An installation of its own that listens on free ports of loopback."""
    base.mkdir()
    config = initialise(base / "data")
    installation = Suite(base, Settings("127.0.0.1:53"))
    text = installation.settings.toml(installation.ports)
    config.write_text(f'{text}\n[database]\nqueue = "{queue}"\n')
    return config


async def served(config: Config) -> list[str]:
    """What a worker opens before it serves, here."""
    async with open_rooms(config) as rooms:
        return [entry.action for entry in await rooms.directory.audit(Actor.console())]


async def test_an_installation_with_another_directory_is_refused_a_queue(tmp_path: Path) -> None:
    with running() as server:
        queue = server.create("queue")
        first, second = (prepared(tmp_path / name, queue) for name in ("first", "second"))
        assert await served(load(first)) == []

        def serve(config: Path) -> Done:
            return beffroi("serve", "--config", str(config))

        refused = serve(second)
        assert (refused.code, refused.out, refused.err) == (1, "", SENTENCE)
        both = load(second).model_copy(update={"database": load(first).database.model_copy(
            update={"url": load(first).database_url}
        )})  # fmt: skip
        assert await served(both) == []  # several instances, as docs/operations.md tells
        moved = tmp_path / "moved"
        shutil.copytree(first.parent, moved)
        assert await served(load(moved / first.name)) == []  # on another machine, or out of a backup
        assert await served(load(first)) == []

        assigned = beffroi("queue", "assign", "--config", str(second))
        assert (assigned.code, assigned.out) == (0, "the queue is this directory's\n")
        assert await served(load(second)) == ["queue.assign"]
        with pytest.raises(RefusedError, match="another directory"):
            await served(load(first))


# What looks into the queue, or changes what waits there, each in its own way.
COMMANDS = (
    ("queue", "list"), ("queue", "shape"), ("queue", "show", "m8qvpsm1z286y10n"), ("queue", "trace", "maire@x.test"),
    ("queue", "hold", "--all"), ("queue", "release", "m8qvpsm1z286y10n"), ("queue", "drop", "--all"),
    ("mailbox", "unlock", "maire@x.test"), ("mailbox", "suspend", "maire@x.test"),
    ("mailbox", "vacation", "maire@x.test"),
)  # fmt: skip


async def test_commands_of_a_host_with_another_directory_are_refused_the_queue_too(tmp_path: Path) -> None:
    """And nothing of it is done or written down; to look into a queue that is nobody's makes it nobody's."""
    with running() as server:
        queue = server.create("queue")
        first, second = (prepared(tmp_path / name, queue) for name in ("first", "second"))
        for config in (first, second):
            assert forked("queue", "list", "--config", str(config)).code == 0
        assert await served(load(first)) == []
        for command in COMMANDS:
            refused = forked(*command, "--config", str(second))
            assert (refused.code, refused.out, refused.err) == (1, "", SENTENCE), command
        assert forked("queue", "hold", "--all", "--config", str(first)).out == "0 messages: held\n"
        assert forked("queue", "assign", "--config", str(second)).code == 0
        assert forked("queue", "list", "--config", str(second)).code == 0
        assert await served(load(second)) == ["queue.assign"]  # what was refused left no line in the audit


async def test_a_queue_in_a_file_is_its_installations_whatever_directory_it_has(tmp_path: Path) -> None:
    """Restored beside a directory that was made anew, as ever."""
    first, second = (prepared(tmp_path / name, "") for name in ("first", "second"))
    assert await served(load(first)) == []
    shutil.copy2(second.parent / "directory.db", first.parent / "directory.db")
    assert await served(load(first)) == []
    refusal = beffroi("queue", "assign", "--config", str(first)).refusal
    assert refusal == "database.queue is empty: the queue is a file of this installation, and nobody else's"
