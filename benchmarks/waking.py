"""From a delivery to the untagged EXISTS of a client that idles: in one process, and across two.

A message is sent by SMTP (Dovecot's by LMTP, straight to it) and both ends are timed by one clock, from the final dot
to the client's EXISTS; what each server needs to take the message is told beside. Pauses between messages are random,
longer than the gathering of changes. Connections are opened until one lies in the front that is wanted.
"""

from __future__ import annotations

import contextlib
import os
import queue
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.beffroi import PARTNER, Ours, beffroi
from benchmarks.figures import Figure
from benchmarks.pair import PASSWORD, pair
from benchmarks.prober import quantile

MESSAGES = 400
MESSAGES_OF_PEER = 60  # it takes half a second for each
WARM = 5
SIZE = 4000
TIMEOUT = 10.0
TRIES = 100  # connections until one lies in the front that is wanted
P50, P99 = 0.010, 0.050  # seconds
LINE = b"Les mots du conseil municipal, ligne apres ligne, jusqu'a la fin du registre.\r\n"

Times = list[float]
C = TypeVar("C", "Idler", "Sender")


class Idler(threading.Thread):
    """Logged in, INBOX selected, IDLE; `told` gets the time of each EXISTS."""

    def __init__(self, port: int, user: str) -> None:
        super().__init__(daemon=True)
        raw = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self.local: int = raw.getsockname()[1]
        self._socket = ssl._create_unverified_context().wrap_socket(raw)
        self.told: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._until(b"OK")
        for line, mark in (
            (f'a LOGIN "{user}" {PASSWORD}', b"a OK"),
            ("b SELECT INBOX", b"b OK"),
            ("c IDLE", b"+ "),
        ):
            self._socket.sendall(line.encode() + b"\r\n")
            self._until(mark)
        self._socket.settimeout(None)
        self.start()

    def _until(self, mark: bytes) -> None:
        seen = b""
        while mark not in seen:
            data = self._socket.recv(1 << 16)
            if not data:
                raise AssertionError(f"the connection ended before {mark!r}: {seen!r}")
            seen += data

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(1 << 16):
                if b" EXISTS\r\n" in data:
                    self.told.put(time.perf_counter())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class Sender:
    """One connection of SMTP or LMTP."""

    def __init__(self, sock: socket.socket, greeting: str) -> None:
        self._socket = sock
        self.local = sock.getsockname()[1] if sock.family is socket.AF_INET else 0
        sock.settimeout(TIMEOUT)
        self._replied()
        self._ask(greeting)

    def _replied(self) -> None:
        seen = b""
        while not seen.endswith(b"\r\n") or seen.splitlines()[-1][3:4] == b"-":
            data = self._socket.recv(4096)
            if not data:
                raise AssertionError("the connection ended")
            seen += data
        if seen[:1] not in b"23":
            raise AssertionError(seen)

    def _ask(self, line: str) -> None:
        self._socket.sendall(line.encode() + b"\r\n")
        self._replied()

    def send(self, user: str, number: int) -> tuple[float, float]:
        """When the final dot was sent, when it was answered."""
        for line in (f"MAIL FROM:<a@{PARTNER}>", f"RCPT TO:<{user}>", "DATA"):
            self._ask(line)
        head = f"From: a@{PARTNER}\r\nTo: {user}\r\nSubject: {number}\r\nMessage-ID: <{number}.{time.time_ns()}@b>\r\n"
        self._socket.sendall(head.encode() + b"\r\n" + LINE * (SIZE // len(LINE)))
        start = time.perf_counter()
        self._socket.sendall(b".\r\n")
        self._replied()
        return start, time.perf_counter()

    def close(self) -> None:
        self._socket.close()


def measured(sender: Sender, idler: Idler, user: str, count: int) -> tuple[Times, Times]:
    """(seconds from the final dot to EXISTS, to the answer), ascending."""
    source = random.Random(7)
    told: Times = []
    taken: Times = []
    for number in range(count + WARM):
        time.sleep(source.uniform(0.06, 0.12))
        start, answered = sender.send(user, number)
        told.append(idler.told.get(timeout=TIMEOUT) - start)
        taken.append(answered - start)
    return sorted(told[WARM:]), sorted(taken[WARM:])


def held_by(pids: Iterable[int], server: int, client: int) -> int:
    """The process that holds the connection between these two ports of ours."""
    wanted = f":{server:04X} ", f":{client:04X} "
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if f"{fields[1]} ".endswith(wanted[0]) and f"{fields[2]} ".endswith(wanted[1]):
            for pid in pids:
                for entry in Path(f"/proc/{pid}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        if os.readlink(entry) == f"socket:[{fields[9]}]":
                            return pid
    raise AssertionError("nobody holds the connection")


def placed(fronts: Sequence[int], wanted: int, port: int, make: Callable[[], C]) -> C:
    """A connection to `port` that lies in the front `wanted`."""
    for _ in range(TRIES):
        made = make()
        if held_by(fronts, port, made.local) == wanted:
            return made
        made.close()
    raise AssertionError("no connection came into the front that was wanted")


def _theirs() -> tuple[Times, Times]:
    with pair(1) as peer:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(peer.base / "dovecot/run/lmtp-postfix"))
        sender = Sender(sock, "LHLO mx.partner.test")
        sender.send(peer.users[0], 0)  # its mailbox is made
        return measured(sender, Idler(peer.imaps, peer.users[0]), peer.users[0], MESSAGES_OF_PEER)


def _ours(ours: Ours, *, across: bool) -> tuple[Times, Times]:
    fronts, ports, user = ours.suite.workers("front"), ours.suite.ports, ours.users[0]

    def sender() -> Sender:
        return Sender(socket.create_connection(("127.0.0.1", ports["mx"])), "EHLO mx.partner.test")

    delivering = placed(fronts, fronts[0], ports["mx"], sender)
    idling = placed(fronts, fronts[across], ports["imaps"], lambda: Idler(ports["imaps"], user))
    try:
        return measured(delivering, idling, user, MESSAGES)
    finally:
        delivering.close()
        idling.close()


def _figures(where: str, mine: tuple[Times, Times], theirs: tuple[Times, Times]) -> Iterator[Figure]:
    for share, bound in ((0.5, P50), (0.99, P99)):
        (told, taken), (other, _) = ([quantile(times, share) for times in both] for both in (mine, theirs))
        name = f"final dot to EXISTS, {where}, p{share * 100:.0f}"
        words = f"<= {bound * 1000:.0f} ms"
        yield Figure(name, told * 1000, "ms", other * 1000, words, told <= bound)
        yield Figure(f"final dot to 250, {where}, p{share * 100:.0f}", taken * 1000, "ms")


def run() -> Iterable[Figure]:
    theirs = _theirs()
    with beffroi(1) as ours:
        yield from _figures("one process", _ours(ours, across=False), theirs)
        yield from _figures("across two", _ours(ours, across=True), theirs)
