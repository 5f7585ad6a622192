"""Two sessions at one mailbox, here and in Dovecot: the same commands in the same order, the same answers to each.

What one session does and when the other is told: withheld EXPUNGE, numbers, flags, COPY, MOVE, APPEND, removals by
both. A seeded walk. When a change is told is the server's choice, so what each session believes is compared, not lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pytest

from store.service import MaildirStore, initialise
from tests.fakes.imap_world import Client, World
from tests.peers.dovecot import DovecotImap, another_session, dovecot_imap
from tests.torture.believer import Believer

pytestmark = pytest.mark.interop

STEPS = 120
SEEDS = (1, 2, 3, 4)
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "$Work"]
MAIL = "Subject: {}\r\n\r\nbody\r\n"


class Ours:
    """Two clients of one server on the real store."""

    def __init__(self, run: asyncio.Runner, clients: list[Client]) -> None:
        self._run, self._clients = run, clients

    def ask(self, who: int, command: str) -> bytes:
        return b"".join(line + b"\r\n" for line in self._run.run(self._clients[who].ask(command.encode())))


class Theirs:
    def __init__(self, sessions: list[DovecotImap]) -> None:
        self._sessions = sessions

    def ask(self, who: int, command: str) -> bytes:
        return self._sessions[who].ask(command.encode())


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[tuple[Ours, Theirs]]:
    async def begin(stack: contextlib.AsyncExitStack) -> list[Client]:
        initialise(tmp_path / "data")
        store = MaildirStore(tmp_path / "data")
        await store.open()
        stack.push_async_callback(store.close)
        world = await stack.enter_async_context(World(store=store))
        return [await world.login(), await world.login()]

    stack = contextlib.AsyncExitStack()
    with dovecot_imap() as dovecot, another_session(dovecot) as second, asyncio.Runner() as run:
        try:
            yield Ours(run, run.run(begin(stack))), Theirs([dovecot, second])
        finally:
            run.run(stack.aclose())


def step(dice: random.Random, count: int) -> str:
    """One command on a mailbox of at least `count` messages."""
    uid = dice.choice(("", "UID "))
    low = dice.randint(1, count)
    wanted = dice.choice((f"{low}", f"{low}:*", "1:*", "*")) if not uid else f"{low}:{low + dice.randint(0, 4)}"
    change = f"{dice.choice('+-')}FLAGS ({' '.join(dice.sample(FLAGS, 2))})"
    return dice.choice(
        [
            "NOOP", "NOOP", "CHECK", f"{uid}FETCH {wanted} (UID FLAGS)", f"{uid}FETCH {wanted} (UID BODY[TEXT])",
            f"{uid}STORE {wanted} {change}", f"{uid}STORE {wanted} {change}", f"{uid}SEARCH UNSEEN",
            f"{uid}SEARCH {wanted}", f"{uid}COPY {wanted} Other", f"UID STORE {low} +FLAGS (\\Deleted)", "EXPUNGE",
            f"UID EXPUNGE {low}:{low + 3}", f"UID MOVE {low} Other",
            f"APPEND INBOX (\\Seen) {{{len(MAIL.format(1))}+}}\r\n{MAIL.format(1)}",
            f"APPEND INBOX {{{len(MAIL.format(2))}+}}\r\n{MAIL.format(2)}", "UNSELECT", "CLOSE",
        ]
    )  # fmt: skip


class Told:
    """What one session of one side was told, as a client keeps it."""

    def __init__(self, side: Ours | Theirs, who: int) -> None:
        self._side, self._who = side, who
        self.believer = Believer(f"{type(side).__name__} {who}")

    def do(self, command: str) -> bytes:
        """The status of the tagged answer."""
        if command.startswith("SELECT"):
            self.believer.begin_select(back=False)
        answer = self._side.ask(self._who, command)
        verb = command.replace("UID ", "UID-").split()[0]
        for line in _lines(answer):
            self.believer.hear(line, verb)
        if command.startswith("SELECT"):
            self.believer.finish_select()
        if command in ("UNSELECT", "CLOSE"):
            self.believer.leave()
        return _status(answer)

    def known(self) -> list[tuple[int, frozenset[bytes] | None]]:
        """What is recent for one session is so for no other, here and there (RFC 3501 2.3.2)."""
        recent = frozenset({b"\\Recent"})
        return [
            (each.uid, each.flags | recent if each.flags is not None and each.recent else each.flags)
            for each in self.believer.messages
        ]


def _lines(answer: bytes) -> list[bytes]:
    """Untagged responses, those with literals cut after the announcement: flags are not told behind it."""
    lines = [line for line in answer.split(b"\r\n") if line.startswith(b"* ")]
    return [line + b")" if line.endswith(b"}") else line for line in lines]


def _status(answer: bytes) -> bytes:
    return answer.rstrip(b"\r\n").rpartition(b"\r\n")[2].split(b" ")[1]


def walk(sides: tuple[Ours, Theirs], seed: int) -> list[str]:
    """Differences, the first few."""
    dice, found, trail = random.Random(seed), list[str](), list[str]()
    told = [[Told(side, who) for side in sides] for who in (0, 1)]

    def both(who: int, command: str) -> None:
        trail.append(f"{who} {command}")
        ours, theirs = (each.do(command) for each in told[who])
        if ours != theirs and not excused(command, ours, theirs):
            found.append(f"{who} {command}: {ours!r} there {theirs!r}, after {trail[-8:-1]}")

    def compare(who: int) -> None:
        both(who, "NOOP")
        if any(flags is None for each in told[who] for _, flags in each.known()):
            both(who, "FETCH 1:* (UID FLAGS)")
        ours, theirs = (each.known() for each in told[who])
        if len(ours) == len(theirs):  # Dovecot tells new flags without the UID
            theirs = [(their or our, flags) for (our, _), (their, flags) in zip(ours, theirs, strict=True)]
        if ours != theirs:
            different = [pair for pair in zip_longest(ours, theirs) if pair[0] != pair[1]]
            found.append(f"{who} believes, here and there: {different}, after {trail[-12:]}")
        found.extend(fault for fault in told[who][0].believer.faults)

    for side in sides:
        side.ask(0, "CREATE Other")
        for number in range(12):
            side.ask(0, f"APPEND INBOX {{{len(MAIL.format(number))}+}}\r\n{MAIL.format(number)}")
    for who in (0, 1):
        both(who, "SELECT INBOX")
        compare(who)
    for _ in range(STEPS):
        who, command = dice.randint(0, 1), step(dice, 5)
        if command in ("EXPUNGE", "CLOSE") or command.startswith("UID EXPUNGE"):
            both(who, "NOOP")  # Dovecot removes what this session knows to be deleted
        both(who, command)
        if command in ("UNSELECT", "CLOSE"):
            both(who, "SELECT INBOX")
        if dice.random() < 0.5:
            compare(who)
        if found:
            break
    return found


def excused(command: str, ours: bytes, theirs: bytes) -> bool:
    """RFC 2180 4 lets a server choose: what names messages that are gone ends with NO or with OK. Dovecot then copies
    nothing, here the others are copied."""
    verbs = {"FETCH", "STORE", "COPY", "MOVE"}
    return {ours, theirs} == {b"OK", b"NO"} and bool(verbs & set(command.split()[:2]))


@pytest.mark.parametrize("seed", SEEDS)
def test_two_sessions_are_told_what_dovecot_tells_them(sides: tuple[Ours, Theirs], seed: int) -> None:
    assert not walk(sides, seed)
