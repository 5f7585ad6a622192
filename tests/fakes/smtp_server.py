"""What an SMTP session needs around it: an acceptor that remembers, logins, certificates, a server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import trustme

from core.address import Address, AddressError, parse
from core.clock import SystemClock
from core.config import Auth, Limits
from core.envelope import Dsn, Listener, Peer
from core.ids import RandomIds
from core.log import Secret
from core.status import Status, accepted, refused
from delivery.types import MailParameters, Reception, Transaction
from directory.types import Account, LoggedIn, LoginRefused, LoginResult, State
from smtp.conversation import Service
from smtp.gate import TallyGate
from smtp.listeners import Server, serve

PASSWORD = "mot de passe de test"


@dataclass
class FakeReception:
    """Keeps what it is fed; `ended` is "finished", "aborted" or ""."""

    owner: FakeAcceptor
    transaction: Transaction
    data: bytearray = field(default_factory=bytearray)
    blocks: int = 0
    ended: str = ""

    async def feed(self, block: bytes) -> None:
        self.blocks += 1
        if self.owner.keep:
            self.data += block
        if self.owner.on_feed is not None:
            await self.owner.on_feed()

    async def finish(self) -> Status:
        assert not self.ended
        if self.owner.on_finish is not None:
            await self.owner.on_finish()
        self.ended = "finished"
        return self.owner.verdict

    async def abort(self) -> None:
        if self.ended != "finished":
            self.ended = "aborted"


@dataclass
class FakeAcceptor:
    """Accepts everybody but `unknown@…`, foreign domains other than `local`, and what `verdict` refuses."""

    verdict: Status = field(default_factory=lambda: accepted("Queued", "queued"))
    local: str = "mairie.test"
    receptions: list[FakeReception] = field(default_factory=list)
    senders: list[Address | None] = field(default_factory=list)
    keep: bool = True
    fault: Exception | None = None
    on_feed: Callable[[], Awaitable[None]] | None = None
    on_finish: Callable[[], Awaitable[object]] | None = None

    async def sender(self, peer: Peer, address: Address | None, parameters: MailParameters) -> Status:
        if self.fault is not None:
            raise self.fault
        self.senders.append(address)
        if address is not None and address.local == "banned":
            return refused("Sender refused", "banned", "5.7.1")
        return accepted()

    async def recipient(self, transaction: Transaction, address: Address, dsn: Dsn) -> Status:
        if address.local.startswith("unknown"):
            return refused("No such user", "unknown-user", "5.1.1")
        if address.domain != self.local and not address.domain.endswith(".mairie.test"):
            return refused("Relay access denied", "relay", "5.7.1")
        return accepted()

    def begin(self, transaction: Transaction) -> Reception:
        reception = FakeReception(self, transaction)
        self.receptions.append(reception)
        return reception

    @property
    def messages(self) -> list[bytes]:
        return [bytes(each.data) for each in self.receptions if each.ended == "finished"]


@dataclass
class FakeLogins:
    attempts: list[str] = field(default_factory=list)
    over: bool = False  # the password was changed since

    def mechanisms(self, *, certificate: bool) -> tuple[str, ...]:
        return ("PLAIN", "LOGIN", "EXTERNAL") if certificate else ("PLAIN", "LOGIN")

    async def login(self, identity: str, secret: Secret, *, protocol: str, remote: str) -> LoginResult:
        self.attempts.append(identity)
        try:
            address = parse(identity)
        except AddressError:
            return LoginRefused("bad-credentials")
        if secret.reveal() != PASSWORD:
            return LoginRefused("bad-credentials")
        return LoggedIn(Account("a1", address, "o1", "", 0, State.ACTIVE))

    async def still_open(self, login: LoggedIn) -> bool:
        return not self.over


def certificate(directory: Path, *names: str) -> tuple[trustme.CA, Path, Path]:
    """An authority, and a chain and key for `names` as files."""
    authority = trustme.CA()
    issued = authority.issue_cert(*(names or ("mx.mairie.test", "127.0.0.1")))
    chain, key = directory / "chain.pem", directory / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return authority, chain, key


def service(role: Listener = Listener.MX, **changes: Any) -> Service:
    """A service with fakes behind it; `limits` may be a dict."""
    given = changes.pop("limits", {})
    limits = given if isinstance(given, Limits) else Limits(**given)
    values: dict[str, object] = {
        "hostname": "mx.mairie.test",
        "role": role,
        "limits": limits,
        "auth": Auth(),
        "acceptor": FakeAcceptor(),
        "ids": RandomIds(),
        "clock": SystemClock(),
        "gate": TallyGate(limits),
        "logins": FakeLogins(),
    }
    return Service(**{**values, **changes})


@contextlib.asynccontextmanager
async def running(what: Service) -> AsyncIterator[Server]:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = await serve(sock, what)
    try:
        yield server
    finally:
        await server.close(grace=1.0)
        await Wire.close_all()


class Wire:
    """A client that says exactly what it is told; `say` returns one whole reply as text. `running` closes them all."""

    opened: ClassVar[list[Wire]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.opened.append(self)

    @classmethod
    async def close_all(cls) -> None:
        while cls.opened:
            wire = cls.opened.pop()
            wire.writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await wire.writer.wait_closed()

    @classmethod
    async def connect(cls, server: Server, *, greeting: bool = True) -> Wire:
        wire = cls(*await asyncio.open_connection(*server.addresses[0]))
        if greeting:
            assert (await wire.reply()).startswith("220 ")
        return wire

    async def reply(self) -> str:
        lines: list[str] = []
        async with asyncio.timeout(10):
            while True:
                line = await self.reader.readline()
                if not line:
                    return "".join(lines) + "<closed>"
                lines.append(line.decode())
                if line[3:4] != b"-":
                    return "".join(lines).rstrip("\r\n")

    async def say(self, line: str | bytes) -> str:
        self.send(line)
        return await self.reply()

    def send(self, line: str | bytes) -> None:
        self.writer.write(line.encode() + b"\r\n" if isinstance(line, str) else line)

    async def closed(self) -> bool:
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read() == b""
            return True

    async def ehlo(self) -> str:
        return await self.say("EHLO client.test")

    async def envelope(self, recipient: str = "agent@mairie.test", sender: str = "a@client.test") -> None:
        """EHLO to 354."""
        await self.ehlo()
        assert (await self.say(f"MAIL FROM:<{sender}>")).startswith("250 2.1.0")
        assert (await self.say(f"RCPT TO:<{recipient}>")).startswith("250 2.1.5")
        assert (await self.say("DATA")).startswith("354")

    def close(self) -> None:
        self.writer.close()
