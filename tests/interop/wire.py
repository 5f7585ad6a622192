"""Both protocols octet by octet: what a library would never send. And the look afterwards: is the suite still sound?"""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.interop.conftest import AUBIN, PARTNER, PASSWORD, World
from tests.interop.mail import Marked, await_mark, body, marked

SENDER, READER = f"alice@{PARTNER}", f"secretariat@{AUBIN}"
PATIENCE = 30.0  # seconds; the longest wait of ours before an answer is the suite's own tarpit of some seconds


class Wire:
    """A connection to a door of 127.0.0.1 with the octets it received and nobody has taken yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def line(self) -> bytes:
        """The next line with its end; b"" when the peer closed."""
        while b"\n" not in self._buffer:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                rest, self._buffer = self._buffer, b""
                return rest
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"

    def rest(self) -> bytes:
        """Everything until the peer closes; hanging fails the test by the socket's timeout."""
        found = b""
        while line := self.line():
            found += line
        return found

    def secure(self, context: ssl.SSLContext) -> None:
        self.sock = context.wrap_socket(self.sock, server_hostname="mx.dept.test")


class Smtp(Wire):
    def reply(self) -> str:
        """One reply as "code enhanced text" of its last line; "" when the peer closed."""
        while line := self.line():
            if line[3:4] != b"-":
                return line.decode("ascii").rstrip("\r\n")
        return ""

    def ask(self, command: str) -> str:
        self.send(command.encode() + b"\r\n")
        return self.reply()

    def envelope(self, sender: str = SENDER, *recipients: str) -> None:
        """MAIL, RCPT and DATA, all accepted."""
        assert self.ask(f"MAIL FROM:<{sender}>").startswith("250 ")
        for recipient in recipients or (READER,):
            assert self.ask(f"RCPT TO:<{recipient}>").startswith("250 ")
        assert self.ask("DATA").startswith("354 ")

    def log_in(self, user: str, password: str = PASSWORD) -> str:
        secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        return self.ask(f"AUTH PLAIN {secret}")


class Imap(Wire):
    def ask(self, command: bytes, tag: bytes = b"t") -> bytes:
        """The answers up to and with the tagged one (or the end)."""
        self.send(tag + b" " + command + b"\r\n")
        return self.until(tag)

    def until(self, tag: bytes) -> bytes:
        found = b""
        while line := self.line():
            found += line
            if line.startswith((tag + b" ", b"+ ")):
                break
        return found

    def log_in(self, user: str = READER, password: str = PASSWORD) -> bytes:
        return self.ask(f'LOGIN "{user}" "{password}"'.encode())


@contextmanager
def raw(world: World, door: str) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", world.ports[door]), PATIENCE) as sock:
        yield sock


@contextmanager
def smtp(world: World, door: str = "mx", *, helo: str | None = "mx.partner.test") -> Iterator[Smtp]:
    with raw(world, door) as sock:
        talk = Smtp(sock)
        assert talk.reply().startswith("220 ")
        if helo:
            assert talk.ask(f"EHLO {helo}").startswith("250 ")
        try:
            yield talk
        finally:
            talk.sock.close()


@contextmanager
def submission(world: World, user: str | None) -> Iterator[Smtp]:
    """A session on 587 under TLS, logged in when `user` is given."""
    with smtp(world, "submission") as talk:
        assert talk.ask("STARTTLS").startswith("220 ")
        talk.secure(world.suite.tls())
        assert talk.ask("EHLO poste.mairie.test").startswith("250 ")
        if user:
            assert talk.log_in(user).startswith("235 2.7.0 ")
        yield talk


@contextmanager
def imap_wire(world: World, user: str | None = READER, door: str = "imaps") -> Iterator[Imap]:
    with raw(world, door) as sock:
        talk = Imap(sock)
        if door == "imaps":
            talk.secure(world.suite.tls())
        assert talk.line().startswith(b"* OK ")
        if user:
            assert talk.log_in(user).splitlines()[-1].startswith(b"t OK ")
        try:
            yield talk
        finally:
            talk.sock.close()


def transmit(message: bytes) -> bytes:
    """DATA's octets: dots stuffed, the end added."""
    stuffed = message.replace(b"\r\n.", b"\r\n..")
    return (b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n"


def deliver(talk: Smtp, message: Marked, recipient: str = READER) -> None:
    """A good message through a session that may have seen worse."""
    talk.envelope(SENDER, recipient)
    talk.send(transmit(message.raw))
    answer = talk.reply()
    assert answer.startswith("250 2."), answer


def on_disk(world: World, mark: str) -> int:
    """How many message files anywhere in the store hold `mark`: the look that no protocol can embellish."""
    files = (path for path in (world.suite.data / "domains").rglob("*") if path.parent.name in ("cur", "new", "tmp"))
    return sum(mark.encode() in path.read_bytes() for path in files if path.is_file())


def sound(world: World, talk: Smtp | None = None) -> None:
    """Files and index agree, and a good message arrives byte for byte: through `talk` when it is given, to show that
    the very session stayed in step, else through a new one."""
    message = marked(SENDER, READER)
    if talk is not None:
        deliver(talk, message)
    else:
        with smtp(world) as fresh:
            deliver(fresh, message)
    assert body(await_mark(world, READER, message.mark)) == body(message.raw)
    assert world.suite.run("store", "verify").strip() == "no fault found"
    assert not world.suite.tracebacks()
