"""Doors: listening sockets, admission, and the set of living connections with its orderly end.

Accepts by itself (no `create_server`), so that admission happens before TLS costs anything and certificates can change
between two connections. One `Server` per process serves all IMAP sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import ssl
from collections.abc import Callable
from enum import Enum

from core.errors import MailError
from core.log import get
from core.networks import plain_address, within
from core.proxy import ProxyError, client_of
from directory.types import LoggedIn
from imap.channel import Channel
from imap.commands.table import TABLE
from imap.connection import Connection, Door
from imap.errors import Bye, Code
from imap.seats import Admission
from imap.session import Services

log = get(__name__)

WATCH = 2.0  # seconds between two looks at the logins of living sessions (security.md row 117: at most 5 s)
GRACE = 20.0  # seconds for running commands at a clean stop
CUT = 2.0  # seconds that the running command of a login that is over gets
ACCEPT_PAUSE = 0.2  # after an error of accept(), out of descriptors mostly


class Mode(Enum):
    """IMPLICIT: port 993 (RFC 8314). STARTTLS: port 143."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"


class Server:
    """`serve` as often as there are sockets, `close` once. Must be made and used on a running loop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tasks: set[asyncio.Task[None]] = set()
        self._doors: list[tuple[asyncio.Task[None], socket.socket]] = []
        self._connections: set[Connection] = set()
        self._watch: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        return len(self._connections)

    def use(self, services: Services) -> None:
        """What sessions that come from now on share: a reload's."""
        self._services = services

    def serve(self, sock: socket.socket, mode: Mode, contexts: Callable[[], ssl.SSLContext] | None) -> None:
        """Accept on a bound, listening (or not yet listening) TCP socket; the server owns it from now on. `contexts`
        is asked once per TLS handshake; None means no TLS at all (STARTTLS is then not offered)."""
        if mode is Mode.IMPLICIT and contexts is None:
            raise ValueError("implicit TLS needs a certificate")
        sock.setblocking(False)
        sock.listen(1024)
        door = Door(contexts, implicit=mode is Mode.IMPLICIT)
        self._doors.append((asyncio.create_task(self._accept(sock, door)), sock))
        if self._watch is None:
            self._watch = asyncio.create_task(self._look_after_logins())

    async def close(self, grace: float = GRACE) -> None:
        """Accept nothing more, let running commands finish within `grace` seconds, then cut. Idempotent."""
        doors, self._doors = self._doors, []
        for task, sock in doors:
            task.cancel()
            sock.close()
        if self._watch is not None:
            self._watch.cancel()
        for connection in list(self._connections):
            connection.finish(Bye("the server is going down", Code.UNAVAILABLE))
        await self._gather(grace)
        for connection in list(self._connections):
            connection.cut()
        for waiting in self._tasks:
            waiting.cancel()
        await self._gather(5.0)
        await asyncio.gather(*(task for task, _ in doors), *filter(None, [self._watch]), return_exceptions=True)
        self._watch = None

    async def _gather(self, seconds: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    # --- accepting -------------------------------------------------------------------------------------------------

    async def _accept(self, sock: socket.socket, door: Door) -> None:
        loop, over = asyncio.get_running_loop(), self._tasks.discard
        while True:
            try:
                peer, address = await loop.sock_accept(sock)
            except OSError as error:
                log.warning("imap-accept-failed", reason=str(error))
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            task = asyncio.create_task(self._live(peer, plain_address(str(address[0])), door))
            self._tasks.add(task)
            task.add_done_callback(over)

    async def _live(self, peer: socket.socket, remote: str, door: Door) -> None:
        """One connection from accept to end. Raises only `CancelledError`."""
        behind = await self._behind(peer, remote)
        if behind is None:
            return
        remote = behind
        admission = Admission(self._services.seats, remote)
        try:
            if not admission.granted:
                self._turn_away(peer, door)
            elif channel := await self._open(peer, door):
                connection = Connection(self._services, door, TABLE, channel, admission)
                self._connections.add(connection)
                try:
                    await connection.run(secrets.token_hex(4))
                finally:
                    self._connections.discard(connection)
        except Exception:  # a bug in one connection stays in it
            log.exception("imap-connection-failed", peer=remote)
        finally:
            admission.leave()

    async def _behind(self, peer: socket.socket, remote: str) -> str | None:
        """Who is behind a listed balancer; None when that cannot be told, and the connection is closed."""
        if not within(remote, self._services.proxy_from):
            return remote
        try:
            claim = await client_of(peer)
        except ProxyError as error:
            log.warning("proxy-header-refused", peer=remote, error=str(error))
            peer.close()
            return None
        except asyncio.CancelledError:
            peer.close()
            raise
        return plain_address(claim[0]) if claim is not None else remote

    @staticmethod
    def _turn_away(peer: socket.socket, door: Door) -> None:
        """Too many connections: one line where the peer can read it, and no TLS handshake."""
        with contextlib.suppress(OSError), peer:
            if not door.implicit:
                peer.send(b"* BYE [LIMIT] too many connections from your address\r\n")

    async def _open(self, peer: socket.socket, door: Door) -> Channel | None:
        limits = self._services.limits
        channel = Channel(limits.imap_stall)
        loop = asyncio.get_running_loop()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            if door.implicit and door.contexts is not None:
                await loop.connect_accepted_socket(
                    lambda: channel,
                    peer,
                    ssl=door.contexts(),
                    ssl_handshake_timeout=limits.tls_handshake,
                    ssl_shutdown_timeout=5.0,
                )
            else:
                await loop.connect_accepted_socket(lambda: channel, peer)
        except OSError as error:  # SSLError, timeouts and resets; clear text on 993 ends here without banner (row 25)
            log.debug("imap-handshake-failed", reason=type(error).__name__)
            peer.close()
            return None
        return channel

    # --- logins that are over --------------------------------------------------------------------------------------

    async def _look_after_logins(self) -> None:
        """End the sessions of accounts that are gone, suspended or have a new password (row 117)."""
        while True:
            await asyncio.sleep(WATCH)
            try:
                await self._end_stale_logins()
            except MailError as error:  # the directory is away: nobody is thrown out for that (promise P6)
                log.warning("imap-watch-put-off", reason=error.code)
            except Exception:  # this watch must not end before the server
                log.exception("imap-watch-failed")

    async def _end_stale_logins(self) -> None:
        """While the directory has not changed, ten thousand quiet sessions cost one question."""
        directory = self._services.directory
        version = await directory.version()
        now = self._services.clock.now()
        waiting = [
            c for c in self._connections if (login := c.session.login) and (c.checked != version or _over(login, now))
        ]
        for login in {c.session.login for c in waiting if c.session.login is not None}:
            if not await directory.still_open(login):
                self._end_sessions(login)
        for connection in waiting:
            connection.checked = version

    def _end_sessions(self, login: LoggedIn) -> None:
        ended = [c for c in self._connections if c.session.login == login]
        log.info("imap-login-ended", account=login.account.id, sessions=len(ended))
        for connection in ended:
            connection.finish(Bye("this account is not available", Code.UNAVAILABLE))
            asyncio.get_running_loop().call_later(CUT, connection.cut)


def _over(login: LoggedIn, now: float) -> bool:
    """An app password or a token that has ended changes nothing in the directory."""
    return login.expires_at is not None and now >= login.expires_at
