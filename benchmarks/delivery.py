"""Mail until visible over IMAP: ours with SPF, DKIM and DMARC checks, theirs without. For each row the rate, the p99 of
the final reply, and the CPU that all processes of a side use per message.

Both run beside each other and are measured by turns, for the machine swings by half within minutes: one after the other
the same two programs had 2.3 and 3.4 within an hour.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.beffroi import PARTNER, beffroi
from benchmarks.figures import Figure, cpu_seconds, settle
from benchmarks.imap import Client
from benchmarks.load import jobs, send
from benchmarks.pair import PASSWORD, pair

USERS = 20
WARM = 200
TURNS = 4  # of each side in each row
STILL = 0.5  # seconds of a disk at rest before each
SENDER = f"alice@{PARTNER}"


@dataclass(frozen=True)
class Row:
    """`target`: how many times the pair's rate is asked for; `each`: messages in one connection."""

    name: str
    octets: int
    connections: int
    messages: int
    target: float
    each: int = 1


ROWS = (
    Row("4 KB mail until visible, 20 connections", 4096, 20, 3000, 3.0),
    Row("4 KB mail until visible, 1 connection after the other", 4096, 1, 800, 1.5),
    Row("4 KB mail until visible, 1 connection for all", 4096, 1, 800, 1.5, each=800),
    Row("4 KB mail until visible, 50 connections", 4096, 50, 2000, 3.0),
    Row("50 KB mail until visible, 20 connections", 50 * 1024, 20, 1000, 2.0),
    Row("5 MB mail until visible, 5 connections", 5 * 1024 * 1024, 5, 60, 1.3),
)


@dataclass
class Measured:
    """What the turns of one side in one row add up to: messages, seconds until the last of each turn was visible,
    seconds of CPU, and the latencies of the final replies."""

    messages: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def p99(self) -> float:
        """In milliseconds, as is the next."""
        return sorted(self.latencies)[int(len(self.latencies) * 0.99)] * 1000

    @property
    def cpu_each(self) -> float:
        return self.cpu / self.messages * 1000


class Side:
    """One of the two, with what it was sent so far."""

    def __init__(self, smtp: int, imaps: int, users: list[str], pids: Callable[[], list[int]]) -> None:
        self._smtp, self._imaps, self._users, self._pids = smtp, imaps, users, pids
        self._sent = 0
        self.turn(Row("warm", 4096, 20, WARM * TURNS, 0), Measured())

    def turn(self, row: Row, measured: Measured) -> None:
        """Its share of the row's messages, added to what was `measured`."""
        work = jobs(SENDER, self._users, row.octets, row.messages // TURNS)
        looking = [Client(self._imaps, user, PASSWORD) for user in self._users]  # logged in before the clock runs
        settle(STILL)
        before = cpu_seconds(self._pids())
        start = time.perf_counter()
        sent = send(self._smtp, work, connections=row.connections, per_connection=row.each)
        self._sent += len(work)
        self._wait(looking)
        measured.seconds += time.perf_counter() - start
        measured.cpu += cpu_seconds(self._pids()) - before
        measured.messages += len(work)
        measured.latencies += sent.latencies
        for client in looking:
            client.close()

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
    with pair(USERS) as peer, beffroi(USERS) as ours:  # files of both stay: a disk discards removed ones for seconds
        ports = ours.suite.ports
        theirs = Side(peer.smtp, peer.imaps, peer.users, peer.pids)
        mine = Side(ports["mx"], ports["imaps"], ours.users, ours.pids)
        for row in ROWS:
            yield from _compared(row, mine, theirs)


def _compared(row: Row, mine: Side, theirs: Side) -> Iterable[Figure]:
    ours, peers = Measured(), Measured()
    for number in range(TURNS):
        pairs = [(mine, ours), (theirs, peers)]
        for side, measured in pairs if number % 2 else reversed(pairs):
            side.turn(row, measured)
    target = f">= {row.target}"
    yield Figure(row.name, ours.rate, "msg/s", peers.rate, target, ours.rate >= row.target * peers.rate)
    yield Figure("  p99 of the final 250", ours.p99, "ms", peers.p99, "<= 1.0", ours.p99 <= peers.p99)
    yield Figure("  CPU per message", ours.cpu_each, "ms", peers.cpu_each)
