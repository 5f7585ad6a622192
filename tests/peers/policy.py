"""A policy server for Postfix (its SMTPD_POLICY_README): what a greylister, or an administrator in trouble, answers."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.peers.threads import serving


class Policy:
    """`script(domain, actions)`: what the next recipients of a domain get, one action each; "dunno" afterwards.
    `asked` counts questions by recipient's domain."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: Counter[str] = Counter()
        self._actions: dict[str, list[str]] = defaultdict(list)
        self._lock = threading.Lock()

    def script(self, domain: str, actions: Sequence[str]) -> None:
        with self._lock:
            self._actions[domain] = list(actions)
            self.asked[domain] = 0

    def answer(self, question: dict[str, str]) -> str:
        domain = question.get("recipient", "").rpartition("@")[2]
        with self._lock:
            self.asked[domain] += 1
            waiting = self._actions[domain]
            return waiting.pop(0) if waiting else "dunno"


@contextlib.contextmanager
def policy() -> Iterator[Policy]:
    state = Policy()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            question: dict[str, str] = {}
            for raw in self.rfile:
                name, _, value = raw.decode("utf-8", "replace").strip().partition("=")
                if name:
                    question[name] = value
                    continue
                self.wfile.write(f"action={state.answer(question)}\n\n".encode())
                question = {}

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    server = Server(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    with serving(server):
        yield state
