"""A way between two mail servers that breaks at the worst moment: around the final dot.

Passes octets on in both directions, without TLS (the servers must be told so, or the dot is not seen). For the next
`cuts` messages it ends both connections: "before" the dot reaches the receiver, or "after" the receiver's answer to it
has come, which the sender never sees.
"""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Literal

from tests.peers.threads import serving

DOT = b"\r\n.\r\n"
WAIT = 30.0  # seconds without an octet


class Cutter:
    """`cuts`: how many messages are still to be cut; `done`: how many were; `passed`: dots that went through whole;
    `answers`: what the receiver said to the cut ones; `heard`: what the sender sent, as it came."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.where: Literal["before", "after"] = "after"
        self.cuts = self.done = self.passed = 0
        self.answers: list[bytes] = []
        self.heard: list[bytes] = []
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            if not self.cuts:
                self.passed += 1
                return False
            self.cuts -= 1
            self.done += 1
            return True


def _carry(state: Cutter, client: socket.socket, server: socket.socket) -> None:
    """Octets in both directions until one side ends, or a cut."""
    tail = b""
    while True:
        for source in select.select((client, server), (), (), WAIT)[0]:
            data = source.recv(65536)
            if not data:
                return
            if source is server:
                client.sendall(data)
                continue
            state.heard.append(data)
            seen = tail + data
            tail = seen[-len(DOT) + 1 :]
            if DOT not in seen or not state.take():
                server.sendall(data)
                continue
            if state.where == "after":
                server.sendall(data)
                state.answers.append(server.recv(65536))
            return


@contextlib.contextmanager
def cutter(listen: tuple[str, int], target: tuple[str, int]) -> Iterator[Cutter]:
    state = Cutter(target)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError), socket.create_connection(state.target, WAIT) as server:
                server.settimeout(WAIT)
                _carry(state, self.request, server)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with serving(Server(listen, Handler)):
        yield state
