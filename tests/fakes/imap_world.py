"""An IMAP server on a loopback port and clients that speak the wire: `C:` is `send`, `S:` is `expect`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import cast

import trustme

from core.address import Address
from core.clock import SystemClock
from core.config import Imap, Limits
from core.log import Secret
from directory.directory import Directory
from directory.types import Account, LoggedIn, LoginRefused, LoginResult, LoginUnavailable, State
from imap.doors import Teacher
from imap.listeners import Mode, Server
from imap.seats import TallySeats
from imap.session import Services
from store.store import Store
from store.types import AccountRef
from tests.fakes.memory_store import MemoryAccount, MemoryStore
from tests.fakes.sharing import MemoryAnnotations, MemorySharing
from tests.imap.syntax import responses as syntax

PATIENCE = 30.0  # seconds a test waits for what must come; a loaded machine needs its time
PASSWORD = "correct horse battery"
_CA = trustme.CA()


class MemoryDirectory:
    """Accounts by address; `refuse` switches the answer for all."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.credentials: dict[str, int] = {}
        self.asked = 0
        self.unavailable = False
        self.sharing = MemorySharing(self.accounts)
        self.annotations = MemoryAnnotations()
        self.seen: list[tuple[str, str, str]] = []
        self.rung = 0
        self.listeners: list[Callable[[], None]] = []

    def changes(self) -> int:
        return self.rung

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.listeners.append(callback)
        return lambda: self.listeners.remove(callback)

    def ring(self) -> None:
        """Tell that something changed; by itself this one tells of nothing."""
        self.rung += 1
        for callback in tuple(self.listeners):
            callback()

    def add(self, local: str, *, quota: int = 0, organisation: str = "org", shared: bool = False) -> Account:
        address = Address(local, "mairie.test" if organisation == "org" else f"{organisation}.test")
        account = Account(f"id-{local}", address, organisation, "", quota, State.ACTIVE, shared)
        self.accounts[account.address.key] = account
        return account

    def suspend(self, account: Account) -> None:
        self.accounts[account.address.key] = replace(account, state=State.SUSPENDED)

    def change_password(self, account: Account) -> None:
        self.credentials[account.id] = self.credentials.get(account.id, 0) + 1

    def _credential(self, account: Account) -> str:
        return str(self.credentials.get(account.id, 0))

    def mechanisms(self, *, certificate: bool) -> tuple[str, ...]:
        return ("PLAIN", "LOGIN", *(("EXTERNAL",) if certificate else ()))

    async def version(self) -> int:
        return sum(self.credentials.values()) + sum(a.state is State.SUSPENDED for a in self.accounts.values())

    async def still_open(self, login: LoggedIn) -> bool:
        self.asked += 1
        account = self.accounts.get(login.account.address.key)
        return account is not None and account.state is State.ACTIVE and self._credential(account) == login.credential

    async def account_by_id(self, account_id: str) -> Account | None:
        return next((account for account in self.accounts.values() if account.id == account_id), None)

    async def login(self, identity: str, secret: Secret, *, protocol: str, remote: str) -> LoginResult:
        self.seen.append((identity, protocol, remote))
        if self.unavailable:
            return LoginUnavailable()
        account = self.accounts.get(identity.casefold())
        if account is None or secret.reveal() != PASSWORD or account.state is not State.ACTIVE:
            return LoginRefused("bad-credentials")
        return LoggedIn(account, self._credential(account))


def server_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _CA.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    _CA.configure_trust(context)
    return context


class Client:
    """One connection. Every wait has a deadline, and every response is read as a strict client would."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.greeting = b""
        self.mode = syntax.Mode()

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def line(self) -> bytes:
        """The next line with its literals, without CRLF; b"" at the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            line = await self.reader.readline()
            while line.endswith(b"}\r\n"):
                size = int(line[line.rindex(b"{") + 1 : -3])
                line += await self.reader.readexactly(size) + await self.reader.readline()
        if line:
            syntax.check(line, self.mode)
            self.mode = syntax.after(line, self.mode)
        return line.removesuffix(b"\r\n")

    async def until(self, tag: bytes) -> list[bytes]:
        """All lines up to the one that starts with `tag`."""
        lines = [await self.line()]
        while not lines[-1].startswith(tag + b" "):
            if not lines[-1]:
                raise AssertionError(f"the connection ended; before it: {lines}")
            lines.append(await self.line())
        return lines

    async def ask(self, command: bytes, tag: bytes = b"a") -> list[bytes]:
        await self.raw(tag + b" " + command + b"\r\n")
        lines = await self.until(tag)
        if command.upper() == b"UNAUTHENTICATE" and lines[-1].startswith(tag + b" OK"):
            self.mode = syntax.Mode()  # RFC 8437 3
        return lines

    async def ok(self, command: bytes) -> list[bytes]:
        """`ask`, and it must be OK."""
        lines = await self.ask(command)
        assert lines[-1].startswith(b"a OK"), lines
        return lines

    async def append(self, folder: bytes, message: bytes, extra: bytes = b"") -> list[bytes]:
        await self.raw(b"a APPEND %b %b{%d+}\r\n%b\r\n" % (folder, extra, len(message), message))
        return await self.until(b"a")

    async def ended(self) -> bytes:
        """What still comes until the server closes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def login(self, local: str = "alice") -> Client:
        await self.ok(f'LOGIN {local}@mairie.test "{PASSWORD}"'.encode())
        return self

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class World:
    """`async with World() as world:` one server with a plain and a TLS door, one account "alice", an empty store in
    memory, or the one given."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        plaintext: bool = True,
        quota: int = 0,
        store: Store | None = None,
        settings: Imap | None = None,
        teacher: Teacher | None = None,
        exact_collation: bool = False,
    ) -> None:
        self.directory = MemoryDirectory()
        self.alice = self.directory.add("alice", quota=quota)
        self.store = MemoryStore()
        self.limits = limits or Limits()
        self.services = Services(
            directory=cast(Directory, self.directory),
            store=store or cast(Store, self.store),
            limits=self.limits,
            clock=SystemClock(),
            seats=TallySeats(self.limits),
            hostname="imap.mairie.test",
            version="1",
            plaintext_on_loopback=plaintext,
            settings=settings or Imap(),
            teacher=teacher,
            exact_collation=exact_collation,
        )
        self._clients: list[Client] = []

    async def __aenter__(self) -> World:
        self.server = Server(self.services)
        self.context = context = server_context()
        self.plain, self.tls = self._socket(), self._socket()
        self.server.serve(self.plain, Mode.STARTTLS, lambda: context)
        self.server.serve(self.tls, Mode.IMPLICIT, lambda: context)
        self.plain_port, self.tls_port = self.plain.getsockname()[1], self.tls.getsockname()[1]
        return self

    @staticmethod
    def _socket() -> socket.socket:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        return sock

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.close()
        await self.server.close(grace=2.0)

    async def account(self, local: str = "alice") -> MemoryAccount:
        return await self.store.account(AccountRef.of(self.directory.accounts[f"{local}@mairie.test"]))

    async def connect(self, *, tls: bool = False) -> Client:
        port = self.tls_port if tls else self.plain_port
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context() if tls else None, limit=2**20
        )
        client = Client(reader, writer)
        self._clients.append(client)
        client.greeting = await client.line()
        return client

    async def login(self, local: str = "alice") -> Client:
        return await (await self.connect()).login(local)


@contextlib.asynccontextmanager
async def selected(world: World, *messages: bytes) -> AsyncIterator[Client]:
    """Alice with INBOX selected, `messages` in it."""
    account = await world.account()
    for message in messages:
        account.deliver(message)
    client = await world.login()
    await client.ok(b"SELECT INBOX")
    yield client
