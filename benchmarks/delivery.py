"""4 KB mail until visible over IMAP, 20 connections: ours with SPF, DKIM and DMARC checks, theirs without."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from benchmarks.beffroi import PARTNER, beffroi
from benchmarks.figures import Figure, cpu_seconds
from benchmarks.load import count, send
from benchmarks.pair import PASSWORD, pair

USERS = 20
MESSAGES = 3000
WARM = 200
SENDER = f"alice@{PARTNER}"


def until_visible(
    smtp: int, imaps: int, users: list[str], connections: int, pids: Callable[[], list[int]]
) -> tuple[float, float, float]:
    """(messages a second until the last is visible, p99 of the final reply in ms, CPU ms per message)."""
    send(smtp, SENDER, users, size=4096, count=WARM, connections=connections)
    _wait(imaps, users, WARM)
    before = cpu_seconds(pids())
    start = time.perf_counter()
    sent = send(smtp, SENDER, users, size=4096, count=MESSAGES, connections=connections)
    _wait(imaps, users, WARM + MESSAGES)
    seconds = time.perf_counter() - start
    return MESSAGES / seconds, sent.p99 * 1000, (cpu_seconds(pids()) - before) / MESSAGES * 1000


def _wait(imaps: int, users: list[str], wanted: int) -> None:
    deadline = time.monotonic() + 120
    while count(imaps, users, PASSWORD) < wanted:
        if time.monotonic() > deadline:
            raise AssertionError(f"not all of {wanted} messages became visible")
        time.sleep(0.02)


def run() -> Iterable[Figure]:
    with pair(USERS) as peer:
        theirs = until_visible(peer.smtp, peer.imaps, peer.users, 20, peer.pids)
    with beffroi(USERS) as ours:
        ports = ours.suite.ports
        mine = until_visible(ports["mx"], ports["imaps"], ours.users, 20, ours.pids)
    rate, p99, cpu = mine
    yield Figure("4 KB mail until visible, 20 connections", rate, "msg/s", theirs[0], ">= 1.0", rate >= theirs[0])
    yield Figure("p99 of the final 250, 20 connections", p99, "ms", theirs[1])
    yield Figure("CPU per message", cpu, "ms", theirs[2])
