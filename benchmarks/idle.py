"""Memory of an idle TLS IMAP connection (logged in, INBOX selected, IDLE), server side, without and with COMPRESS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import uvloop

from benchmarks.beffroi import beffroi
from benchmarks.figures import Figure, pss_kib
from benchmarks.load import Idlers
from benchmarks.pair import PASSWORD, pair

CONNECTIONS = 500
USERS = 50
WARM = 6


async def _measure(port: int, users: list[str], pids: Callable[[], list[int]], *, compressed: bool = False) -> float:
    idlers = Idlers()
    # Several connections of each account first, so that every front has it open: an account's index is not the wire's.
    await idlers.open(port, users * WARM, PASSWORD, compressed=compressed)
    await asyncio.sleep(2)
    before = pss_kib(pids())
    await idlers.open(port, [users[i % len(users)] for i in range(CONNECTIONS)], PASSWORD, compressed=compressed)
    await asyncio.sleep(2)
    after = pss_kib(pids())
    idlers.close()
    return (after - before) / CONNECTIONS


def run() -> Iterable[Figure]:
    with pair(USERS) as peer:
        theirs = uvloop.run(_measure(peer.imaps, peer.users, peer.pids))
    with beffroi(USERS) as ours:
        mine = uvloop.run(_measure(ours.suite.ports["imaps"], ours.users, ours.pids))
    with beffroi(USERS) as ours:
        port = ours.suite.ports["imaps"]
        squeezed = uvloop.run(_measure(port, ours.users, ours.pids, compressed=True))
    yield Figure("idle TLS IMAP connection", mine, "KiB", theirs, "<= 48 KiB", mine <= 48)
    yield Figure("idle TLS IMAP connection with COMPRESS=DEFLATE", squeezed, "KiB", theirs)
