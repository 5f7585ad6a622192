"""A neighbour in a process of its own: says NOOP again and again, and notes how long each answer took.

Its answers come from the same event loop as those to a client that asks for heavy things, so they tell how long that
loop was busy. One question is on its way at a time; a pause hides the questions that would have been asked during it,
so each long answer also stands for those (`corrected`).
"""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import cast

PAUSE = 0.002  # seconds between an answer and the next question

Sample = tuple[float, float]  # when it was asked (`time.perf_counter`), seconds to the answer


@dataclass
class Probes:
    samples: list[Sample] = field(default_factory=list)

    def during(self, start: float, end: float) -> list[float]:
        """Seconds of the answers to what was asked within."""
        return [seconds for asked, seconds in self.samples if asked + seconds >= start and asked <= end]


def corrected(latencies: Sequence[float]) -> list[float]:
    """With those that a steady questioner would have met during each pause, ascending."""
    found = []
    for seconds in latencies:
        while seconds > 0:
            found.append(seconds)
            seconds -= max(PAUSE, 0.001)
            if seconds < PAUSE:
                break
    return sorted(found)


def quantile(ascending: Sequence[float], share: float) -> float:
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]


@contextmanager
def probing(port: int, user: str, password: str) -> Iterator[Probes]:
    """`port` is a plain one. The samples are there once the block has ended."""
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_probe, args=(theirs, port, user, password))
    process.start()
    found = Probes()
    try:
        if mine.recv() != "ready":
            raise AssertionError("the prober did not start")
        yield found
        mine.send("stop")
        found.samples += cast(list[Sample], mine.recv())
    finally:
        process.join(30)
        process.kill()


def _probe(pipe: Connection, port: int, user: str, password: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.recv(4096)
        sock.sendall(f'a LOGIN "{user}" {password}\r\n'.encode())
        while b"a OK" not in sock.recv(65536):
            pass
        pipe.send("ready")
        samples: list[Sample] = []
        while not pipe.poll():
            asked = time.perf_counter()
            sock.sendall(b"n NOOP\r\n")
            if not sock.recv(65536).startswith(b"n OK"):
                raise AssertionError("NOOP was refused")
            samples.append((asked, time.perf_counter() - asked))
            time.sleep(PAUSE)
        pipe.recv()
        pipe.send(samples)
