"""Mail until visible over IMAP: ours with SPF, DKIM and DMARC checks, theirs without. For each row the rate, the p99 of
the final reply, and the CPU that all processes of a side use per message."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.beffroi import PARTNER, beffroi
from benchmarks.figures import Figure, cpu_seconds, settle
from benchmarks.imap import Client
from benchmarks.load import jobs, send
from benchmarks.pair import PASSWORD, pair

USERS = 20
WARM = 200
SENDER = f"alice@{PARTNER}"


@dataclass(frozen=True)
class Row:
    """`target`: how many times the pair's rate is asked for."""

    name: str
    octets: int
    connections: int
    messages: int
    target: float


ROWS = (
    Row("4 KB mail until visible, 20 connections", 4096, 20, 3000, 3.0),
    Row("4 KB mail until visible, 1 connection", 4096, 1, 800, 1.5),
    Row("4 KB mail until visible, 50 connections", 4096, 50, 2000, 3.0),
    Row("50 KB mail until visible, 20 connections", 50 * 1024, 20, 1000, 2.0),
    Row("5 MB mail until visible, 5 connections", 5 * 1024 * 1024, 5, 60, 1.3),
)
Measured = tuple[float, float, float]


class Side:
    """One of the two, with what it was sent so far."""

    def __init__(self, smtp: int, imaps: int, users: list[str], pids: Callable[[], list[int]]) -> None:
        self._smtp, self._imaps, self._users, self._pids = smtp, imaps, users, pids
        self._sent = 0

    def measured(self, rows: Sequence[Row]) -> list[Measured]:
        self._visible(Row("warm", 4096, 20, WARM, 0))
        return [self._visible(row) for row in rows]

    def _visible(self, row: Row) -> Measured:
        """(messages a second until the last is visible, p99 of the final reply in ms, CPU ms per message)."""
        work = jobs(SENDER, self._users, row.octets, row.messages)
        looking = [Client(self._imaps, user, PASSWORD) for user in self._users]  # logged in before the clock runs
        before = cpu_seconds(self._pids())
        start = time.perf_counter()
        sent = send(self._smtp, work, connections=row.connections)
        self._sent += row.messages
        self._wait(looking)
        seconds = time.perf_counter() - start
        cpu = cpu_seconds(self._pids()) - before
        for client in looking:
            client.close()
        return row.messages / seconds, sent.p99 * 1000, cpu / row.messages * 1000

    def _wait(self, looking: Sequence[Client]) -> None:
        deadline = time.monotonic() + 120
        while sum(map(_messages, looking)) < self._sent:
            if time.monotonic() > deadline:
                raise AssertionError(f"not all of {self._sent} messages became visible")
            time.sleep(0.02)


def _messages(client: Client) -> int:
    found = re.search(rb"MESSAGES (\d+)", client.ask("STATUS INBOX (MESSAGES)")[1])
    assert found
    return int(found[1])


def run() -> Iterable[Figure]:
    with ExitStack() as both:  # removed together: the disk still discards the one's blocks while the other is measured
        peer = both.enter_context(pair(USERS))
        settle()
        theirs = Side(peer.smtp, peer.imaps, peer.users, peer.pids).measured(ROWS)
        ours = both.enter_context(beffroi(USERS))
        settle()
        ports = ours.suite.ports
        mine = Side(ports["mx"], ports["imaps"], ours.users, ours.pids).measured(ROWS)
    for row, (rate, p99, cpu), (their_rate, their_p99, their_cpu) in zip(ROWS, mine, theirs, strict=True):
        yield Figure(row.name, rate, "msg/s", their_rate, f">= {row.target}", rate >= row.target * their_rate)
        yield Figure("  p99 of the final 250", p99, "ms", their_p99, "<= 1.0", p99 <= their_p99)
        yield Figure("  CPU per message", cpu, "ms", their_cpu)
