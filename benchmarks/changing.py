"""Flags, COPY, MOVE and EXPUNGE of whole mailboxes over IMAP, ours against Dovecot's in the same run.

Both sides have the same mailboxes (`benchmarks.mailboxes`; `BENCH_SIZES`), on the same disk, fsync on; each step is one
command, timed from its first octet to its tagged answer. The best of `ROUNDS` counts on each side.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvloop

from benchmarks import mailboxes
from benchmarks.figures import Figure
from benchmarks.mailboxes import SIZES
from benchmarks.pair import PASSWORD

ROUNDS = 2
PATIENCE = 300

# What is timed > (command, the ratio to the peer that is wanted)
STEPS = {
    "STORE": (b"UID STORE 1:* +FLAGS.SILENT (\\Seen)", 0.5),
    "COPY": (b"UID COPY 1:* Copie", 0.7),
    "MOVE": (b"UID MOVE 1:* Ailleurs", 0.7),
    "EXPUNGE": (b"EXPUNGE", 1.0),
}


class Client:
    """One IMAP connection, a command at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._number = 0

    async def ask(self, command: bytes) -> float:
        """Seconds to the tagged OK."""
        self._number += 1
        tag = b"b%d " % self._number
        start = time.perf_counter()
        self._writer.write(tag + command + b"\r\n")
        while not (line := await asyncio.wait_for(self._reader.readline(), PATIENCE)).startswith(tag):
            if not line:
                raise AssertionError("the connection ended")
        if not line.startswith(tag + b"OK"):
            raise AssertionError(f"{command[:60]!r}: {line!r}")
        return time.perf_counter() - start


@asynccontextmanager
async def connected(port: int, user: str) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=ssl._create_unverified_context(), limit=1 << 20
    )
    await reader.readline()
    client = Client(reader, writer)
    await client.ask(f'LOGIN "{user}" "{PASSWORD}"'.encode())
    try:
        yield client
    finally:
        writer.close()


async def _measure(port: int, user: str) -> dict[str, float]:
    best = dict.fromkeys(STEPS, float(PATIENCE))
    async with connected(port, user) as client:
        for _ in range(ROUNDS):
            await client.ask(b"CREATE Copie")
            await client.ask(b"CREATE Ailleurs")
            await client.ask(b"SELECT INBOX")
            await client.ask(b"UID STORE 1:* -FLAGS.SILENT (\\Seen)")
            for name in ("STORE", "COPY"):
                best[name] = min(best[name], await client.ask(STEPS[name][0]))
            await client.ask(b"SELECT Copie")
            best["MOVE"] = min(best["MOVE"], await client.ask(STEPS["MOVE"][0]))
            await client.ask(b"SELECT Ailleurs")
            await client.ask(b"UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
            best["EXPUNGE"] = min(best["EXPUNGE"], await client.ask(STEPS["EXPUNGE"][0]))
            await client.ask(b"SELECT INBOX")
            await client.ask(b"DELETE Copie")
            await client.ask(b"DELETE Ailleurs")
    return best


def _all(port: int) -> dict[int, dict[str, float]]:
    return {size: uvloop.run(_measure(port, mailboxes.user(size))) for size in SIZES}


def run() -> Iterator[Figure]:
    with mailboxes.theirs() as peer:
        theirs = _all(peer.imaps)
    with mailboxes.ours() as ours:
        mine = _all(ours.ports["imaps"])
    for size in SIZES:
        for name, (_, target) in STEPS.items():
            seconds, other = mine[size][name], theirs[size][name]
            met = seconds <= target * other
            yield Figure(f"{name} of {size} messages", seconds * 1000, "ms", other * 1000, f"<= {target:g}", met)
