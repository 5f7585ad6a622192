"""5,000 accounts with a TLS connection each in IDLE: what one costs, and how soon after its 250 a delivery is told."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from statistics import median

import uvloop

from benchmarks.beffroi import PARTNER, beffroi
from benchmarks.figures import Figure, pss_kib
from benchmarks.load import Idlers, message, transaction
from benchmarks.pair import PASSWORD
from directory.passwords import hasher

CONNECTIONS = 5000
WARM = 100  # accounts that log in before the first look, so that what a front needs once is not the connections'
DELIVERIES = 400
SETTLED = 75  # seconds until accounts that nobody uses are closed (store/accounts.py, IDLE_AFTER) and their text filled
PAUSE = 0.02  # seconds between two deliveries: the wait in a line is not what is asked here


async def _told(port: int, idlers: Idlers, users: list[str]) -> list[float]:
    """Seconds from the final 250 to the untagged EXISTS, for each of `DELIVERIES` messages."""
    sender, waits = f"alice@{PARTNER}", []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b"EHLO mx.partner.test\r\n")
    while (await reader.readline())[3:4] == b"-":
        pass
    for number, user in enumerate(random.Random(1).sample(users, DELIVERIES)):
        exists = asyncio.create_task(idlers.wait_for(user, b"EXISTS"))
        await transaction(reader, writer, sender, user, message(4096, sender, user, number))
        acknowledged = time.perf_counter()
        waits.append(max(await asyncio.wait_for(exists, 30) - acknowledged, 0.0))
        await asyncio.sleep(PAUSE)
    writer.close()
    return waits


async def _measure(ports: dict[str, int], users: list[str], pids: Callable[[], list[int]]) -> tuple[float, list[float]]:
    idlers = Idlers()
    await idlers.open(ports["imaps"], users[:WARM], PASSWORD)
    await asyncio.sleep(2)
    before = pss_kib(pids())
    await idlers.open(ports["imaps"], users[WARM:], PASSWORD)
    await asyncio.sleep(SETTLED)
    each = (pss_kib(pids()) - before) / CONNECTIONS
    waits = await _told(ports["mx"], idlers, users[WARM:])
    idlers.close()
    return each, sorted(waits)


def run() -> Iterable[Figure]:
    with beffroi(CONNECTIONS + WARM, secret=hasher().hash(PASSWORD)) as ours:
        each, waits = uvloop.run(_measure(ours.suite.ports, ours.users, ours.pids))
    p99 = waits[int(len(waits) * 0.99)] * 1000
    yield Figure("idle TLS IMAP connection, 5,000 on 5,000 accounts", each, "KiB", None, "<= 48 KiB", each <= 48)
    p50 = median(waits) * 1000
    yield Figure("250 to EXISTS among 5,000 in IDLE, p50", p50, "ms", None, "<= 10 ms", p50 <= 10)
    yield Figure("250 to EXISTS among 5,000 in IDLE, p99", p99, "ms", None, "<= 50 ms", p99 <= 50)
