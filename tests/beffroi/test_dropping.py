"""`queue drop` of many messages: nothing brings them back, so somebody is asked, or says before that he is sure."""

from __future__ import annotations

import asyncio
import os
import pty
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from core.address import parse
from core.clock import SystemClock
from core.config import Config, load
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from message.content import BytesContent
from tests.beffroi.commands import Done, forked, initialise
from tests.peers.suite import BEFFROI

MAIL = BytesContent(b"Subject: x\r\n\r\n")


async def _waiting(config: Config, new: tuple[str, ...] = ()) -> list[str]:
    queue = Queue(config.queue_file, config.run_dir, clock=SystemClock())
    await queue.open()
    for queue_id in new:
        to = (NewRecipient(parse(f"a@{queue_id}.test"), wait=3600.0),)
        await queue.enqueue(NewMessage(queue_id, parse("maire@ville.test"), MAIL, to))
    found = [item.queue_id for item in await queue.administration.list(None)]
    await queue.close()
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = initialise(tmp_path / "data")
    assert len(asyncio.run(_waiting(load(path), ("q1", "q2", "q3")))) == 3
    return path


def left(place: Path) -> list[str]:
    return asyncio.run(_waiting(load(place)))


def test_nobody_at_a_terminal_has_to_say_that_he_is_sure(place: Path) -> None:
    def drop(*words: str) -> Done:
        return forked("--config", str(place), "queue", "drop", *words)

    for words in (("--all",), ("--domain", "q1.test"), ("--sender", "maire@ville.test"), ("--not-held",)):
        assert "--yes" in drop(*words).refusal, words
    assert left(place) == ["q1", "q2", "q3"]
    assert drop("q1").out == "q1: dropped\n"  # who names a message means it
    assert drop("--domain", "q2.test", "--yes").out == "1 messages: dropped\n"
    assert drop("--all", "--yes").out == "1 messages: dropped\n"
    assert left(place) == []


def test_a_message_that_left_meanwhile_keeps_nothing_from_being_done_to_the_others(place: Path) -> None:
    done = forked("--config", str(place), "queue", "drop", "q1", "gone1", "q3", "gone2")
    assert (done.code, done.out) == (1, "q1: dropped\nq3: dropped\n")
    assert "no such message in the queue: gone1, gone2" in done.err
    assert left(place) == ["q2"]


def test_at_a_terminal_one_is_asked_with_the_number_and_no_is_the_answer_to_anything_but_yes(place: Path) -> None:
    def ask(answer: bytes) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        done = subprocess.run(
            [BEFFROI, "--config", str(place), "queue", "drop", "--all"],
            stdin=theirs, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        os.close(theirs)
        os.close(ours)
        assert done.stderr.startswith("Supprimer définitivement de la file 3 messages (all), sans prévenir personne ? ")
        return done.returncode, done.stdout

    assert ask(b"\n") == (1, "")
    assert left(place) == ["q1", "q2", "q3"]
    assert ask(b"oui\n") == (0, "3 messages: dropped\n")
    assert left(place) == []


def test_nothing_is_done_that_the_audit_cannot_be_told(place: Path) -> None:
    """The line came behind what was done; `mailbox unlock` and `adopt` had none, `dkim rotate` none that named who
    asked."""

    def run(*words: str) -> Done:
        return forked("--config", str(place), *words)

    assert run("organisation", "add", "Ville").code == 0
    assert run("domain", "add", "ville.test", "--organisation", "Ville").code == 0
    assert run("mailbox", "add", "maire@ville.test").code == 0
    for folder in ("cur", "new", "tmp"):
        (place.parent / "dovecot" / folder).mkdir(parents=True)
    others = (
        ("mailbox", "unlock", "maire@ville.test"),
        ("mailbox", "adopt", "maire@ville.test", str(place.parent / "dovecot")),
        ("dkim", "rotate", "ville.test"),
    )
    away = ("mailbox", "vacation", "maire@ville.test", "Absent", "--until", "2099-01-01")
    with closing(sqlite3.connect(place.parent / "directory.db")) as directory:
        directory.execute("ALTER TABLE audit RENAME TO gone")
        changing = [("queue", action, "q1") for action in ("retry", "hold", "release", "drop")]
        for words in (*changing, away, *others):
            assert run(*words).code == 1, words
        directory.execute("ALTER TABLE gone RENAME TO audit")
        assert left(place) == ["q1", "q2", "q3"]
        assert run("mailbox", "vacation", "maire@ville.test").out == "maire@ville.test: no absence is set\n"
        for words in (*changing, away, *others):
            assert run(*words).code == 0, words
        told = directory.execute("SELECT action FROM audit WHERE action LIKE '%.%' ORDER BY id").fetchall()
    actions = ["queue.due-now", "queue.held", "queue.released", "queue.dropped", "vacation.set", "mailbox.unlock"]
    assert [action for (action,) in told] == [*actions, "mailbox.adopt", "dkim.rotate"]
