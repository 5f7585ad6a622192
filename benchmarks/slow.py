"""1,750 clients that waste time (h036, promise P7), and how long who is new waits for the banner and for the
250 of a whole message: before them, among them, after them, so that what the machine itself adds can be told apart.

They come all at once. A third says nothing, a third sends an octet of a command each second, a third an octet of a
message; who is turned out comes again. They, and who is timed, are in processes of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator

import uvloop

from benchmarks.beffroi import PARTNER, beffroi
from benchmarks.figures import Figure, cpu_seconds
from benchmarks.prober import quantile

CLIENTS = 1750
SECONDS = 20.0  # of the look that begins as they come
LOOKS = 150
PATIENCE = 60.0
LIMIT = 2.0  # seconds (P7)


async def _slow(port: int, kind: int, user: str) -> None:
    while True:
        with contextlib.suppress(OSError, EOFError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await _waste(reader, writer, kind, user)
            finally:
                writer.close()
        await asyncio.sleep(0.5)


async def _waste(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: int, user: str) -> None:
    await reader.readline()
    if kind == 2:
        for line in ("EHLO slow.test", f"MAIL FROM:<a@{PARTNER}>", f"RCPT TO:<{user}>", "DATA"):
            writer.write(line.encode() + b"\r\n")
            while (await reader.readline())[3:4] == b"-":
                pass
    ends = asyncio.create_task(reader.read())
    while not ends.done():
        if kind:
            writer.write(b"x")
        await asyncio.wait([ends], timeout=1)


async def _all_slow(port: int, user: str) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(_slow(port, number % 3, user))


def _waste_time(port: int, user: str) -> None:
    uvloop.run(_all_slow(port, user))


@contextlib.contextmanager
def slow_clients(port: int, user: str) -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=_waste_time, args=(port, user), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def newcomer(port: int, user: str) -> tuple[float, float]:
    """Seconds to the banner, and from there to the last 250."""
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock, sock.makefile("rwb") as wire:
        assert wire.readline().startswith(b"220")
        greeted = time.perf_counter()
        data = f"From: a@{PARTNER}\r\nTo: {user}\r\nSubject: new\r\n\r\nNew.\r\n."
        for line in ("EHLO new.test", f"MAIL FROM:<a@{PARTNER}>", f"RCPT TO:<{user}>", "DATA", data):
            wire.write(line.encode() + b"\r\n")
            wire.flush()
            while (answer := wire.readline())[3:4] == b"-":
                pass
            assert answer[:1] in b"23", answer
        return greeted - begun, time.perf_counter() - greeted


def look(port: int, user: str, seconds: float = 0.0) -> tuple[list[float], list[float]]:
    """So many newcomers at least, and for so long."""
    pairs: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(pairs) < LOOKS or time.perf_counter() < end:
        pairs.append(newcomer(port, user))
    return sorted(first for first, _ in pairs), sorted(second for _, second in pairs)


def _figures(when: str, found: tuple[list[float], list[float]], limit: float | None) -> Iterable[Figure]:
    load = os.getloadavg()[0]
    for what, seconds in zip(("banner", "message"), found, strict=True):
        for name, share in (("p50", 0.5), ("p99", 0.99), ("worst", 1.0)):
            value = quantile(seconds, share)
            judged = limit is not None and name == "worst"
            yield Figure(
                f"{what} {when} (load {load:.1f}), {name}", value * 1000, "ms",
                target=f"<= {limit or 0:.0f} s" if judged else "", met=value <= LIMIT if judged else None,
            )  # fmt: skip


def run() -> Iterable[Figure]:
    with beffroi(2) as ours:
        port, (user, victim) = ours.suite.ports["mx"], ours.users
        yield from _figures("alone", look(port, user), None)
        with slow_clients(port, victim):
            yield from _measured(port, user, ours.pids)
        yield from _figures("after them", look(port, user), None)


def _measured(port: int, user: str, pids: Callable[[], list[int]]) -> Iterable[Figure]:
    begun, used = time.perf_counter(), cpu_seconds(pids())
    yield from _figures(f"as {CLIENTS} slow clients come", look(port, user, SECONDS), LIMIT)
    found = look(port, user, SECONDS)
    share = (cpu_seconds(pids()) - used) / (time.perf_counter() - begun)
    yield from _figures(f"among {CLIENTS} slow clients", found, LIMIT)
    yield Figure(f"CPU of all processes among {CLIENTS} slow clients", share * 100, "%")
