"""A hundred messages of 50 MiB at once (security.md row 41): what the fronts hold in memory while they arrive.

All connections send in step, so that none is done before all are well under way; most of what arrives lies in the
spool. PSS counts each page once however many processes share it; the page cache is not theirs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable

import uvloop

from benchmarks.beffroi import PARTNER, beffroi
from benchmarks.figures import Figure, pss_kib

CONNECTIONS = 100
OCTETS = 50 * 1024 * 1024
BLOCK = 1024 * 1024
LIMIT_KIB = 256 * 1024  # of growth, over all processes: 2.5 MiB a connection


async def _begin(port: int, user: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    lines = ("EHLO flood.test", f"MAIL FROM:<a@{PARTNER}>", f"RCPT TO:<{user}>", "DATA")
    for line in lines:
        writer.write(line.encode() + b"\r\n")
        while (await reader.readline())[3:4] == b"-":
            pass
    writer.write(f"From: a@{PARTNER}\r\nTo: {user}\r\nSubject: flood\r\n\r\n".encode())
    return reader, writer


async def _flood(port: int, users: list[str], pids: Callable[[], list[int]]) -> tuple[float, int]:
    """KiB of growth at most, and messages answered 250 of those that were sent to their end."""
    before = peak = pss_kib(pids())
    peers = [await _begin(port, users[number % len(users)]) for number in range(CONNECTIONS)]
    line = os.urandom(37).hex().encode() + b"\r\n"
    block = line * (BLOCK // len(line))
    for sent in range(0, OCTETS, len(block)):
        for _, writer in peers:
            writer.write(block)
            await writer.drain()
        if sent // len(block) % 5 == 0:
            peak = max(peak, pss_kib(pids()))
    accepted = 0
    for reader, writer in peers:
        writer.write(b".\r\n")
        accepted += (await reader.readline()).startswith(b"250")
        peak = max(peak, pss_kib(pids()))
        writer.close()
    return peak - before, accepted


def run() -> Iterable[Figure]:
    with beffroi(20) as ours:
        growth, accepted = uvloop.run(_flood(ours.suite.ports["mx"], ours.users, ours.pids))
    yield Figure(
        "memory for 100 messages of 50 MiB at once", growth / 1024, "MiB", None, "<= 256 MiB", growth <= LIMIT_KIB
    )
    yield Figure("of them accepted", accepted, "messages", None, "100", accepted == CONNECTIONS)
