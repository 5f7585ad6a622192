"""Who answers Postfix's questions about passwords (Dovecot's authentication protocol 1.2): PLAIN alone."""

from __future__ import annotations

import base64
import contextlib
import socketserver
from collections.abc import Iterator, Mapping

from tests.peers.threads import serving

HELLO = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00112233445566778899aabbccddeeff\nDONE\n"


def _plain(fields: Mapping[str, str], passwords: Mapping[str, str]) -> str:
    """The user whose password was shown, or nobody."""
    _, user, password = base64.b64decode(fields.get("resp", "")).decode().split("\0")
    return user if passwords.get(user) == password else ""


@contextlib.contextmanager
def sasl(passwords: Mapping[str, str]) -> Iterator[int]:
    """The port it listens at."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(HELLO.encode())
            for raw in self.rfile:
                verb, *rest = raw.decode().rstrip("\n").split("\t")
                if verb != "AUTH":
                    continue
                fields = dict(item.split("=", 1) for item in rest[2:] if "=" in item)
                user = _plain(fields, passwords) if rest[1] == "PLAIN" else ""
                answer = f"OK\t{rest[0]}\tuser={user}\n" if user else f"FAIL\t{rest[0]}\treason=no\n"
                self.wfile.write(answer.encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    server = Server(("127.0.0.1", 0), Handler)
    with serving(server):
        yield int(server.server_address[1])
