"""A front process: SMTP sessions (MX, submission) and IMAP sessions on the sockets it was given."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

from antispam.learn import Learner
from beffroi.rooms import CLOCK, IDS
from beffroi.wiring import Rooms, make_acceptors, open_rooms
from beffroi.worker.bootstrap import Assignment
from beffroi.worker.rehearsal import rehearsed
from core import log
from core.config import Config
from core.envelope import Listener
from core.tls import ServerTls
from imap.listeners import Mode
from imap.listeners import Server as ImapServer
from imap.namespaces import Namespaces
from imap.seats import TallySeats
from imap.session import Services as ImapServices
from smtp.conversation import SUBMISSION_DOORS
from smtp.conversation import Service as SmtpService
from smtp.gate import OpenGate, TallyGate
from smtp.listeners import Server as SmtpServer
from smtp.listeners import serve as serve_smtp

_log = log.get(__name__)

SMTP_DOORS = {
    "mx": Listener.MX,
    "submission": Listener.SUBMISSION,
    "submissions": Listener.SUBMISSIONS,
    "lmtp": Listener.LMTP,
}
IMAP_DOORS = {"imap": Mode.STARTTLS, "imaps": Mode.IMPLICIT}


class Front:
    """Holds the sessions' services; `reload` replaces what new sessions get."""

    def __init__(self, config: Config, rooms: Rooms, stack: AsyncExitStack) -> None:
        self._rooms = rooms
        self._stack = stack
        self._tls = _certificates(config)
        self._acceptors = make_acceptors(config, rooms)
        self._gate = TallyGate(config.limits, rooms.tally)
        self._seats = TallySeats(config.limits, rooms.tally)
        self._config = config
        self._learner = Learner(self._acceptors.rspamd)
        self._servers: dict[str, list[SmtpServer]] = {name: [] for name in SMTP_DOORS}
        self._imap = ImapServer(self._imap_services())

    async def serve(self, sockets: tuple[tuple[str, socket.socket], ...]) -> None:
        for role, sock in sockets:
            if role in SMTP_DOORS:
                self._servers[role].append(await serve_smtp(sock, self._service(role)))
            elif role in IMAP_DOORS:
                self._imap.serve(sock, IMAP_DOORS[role], self._context_of(role))
            else:
                _log.warning("door-not-served", role=role)

    async def rehearse(self, path: Path) -> None:
        """Before anybody is let in."""
        await rehearsed(self._imap_services(), path)

    def _context_of(self, role: str) -> Callable[[], ssl.SSLContext]:
        return lambda: self._tls[role].context

    def _imap_services(self) -> ImapServices:
        return ImapServices(
            directory=self._rooms.directory,
            store=self._rooms.store,
            limits=self._config.limits,
            clock=CLOCK,
            seats=self._seats,
            hostname=self._config.hostname,
            version=version("beffroi"),
            plaintext_on_loopback=self._config.auth.plaintext_on_loopback,
            proxy_from=self._config.listen.proxy_networks,
            settings=self._config.imap,
            teacher=self._learner if self._config.antispam.rspamd_controller else None,
            namespaces=Namespaces(self._config.imap.other_users, self._config.imap.shared),
            exact_collation=not self._config.search.fold_accents,
        )

    def _service(self, name: str) -> SmtpService:
        role = SMTP_DOORS[name]
        submission = role in SUBMISSION_DOORS
        return SmtpService(
            hostname=self._config.hostname,
            role=role,
            limits=self._config.limits,
            auth=self._config.auth,
            acceptor=self._acceptors.submission if submission else self._acceptors.inbound,
            ids=IDS,
            clock=CLOCK,
            gate=OpenGate() if role is Listener.LMTP else self._gate,
            proxy_from=self._config.listen.proxy_networks,
            tls=self._tls[name],
            logins=self._rooms.directory if submission else None,
        )

    async def reload(self, config: Config) -> None:
        self._tls = _certificates(config)  # raises before anything has changed: the last good one stays (fault 166)
        old, self._config = self._acceptors, config
        self._acceptors = make_acceptors(config, self._rooms)
        self._learner.use(self._acceptors.rspamd)
        self._gate.use(config.limits)
        self._seats.use(config.limits)
        self._imap.use(self._imap_services())
        for name, servers in self._servers.items():
            for server in servers:
                server.service = self._service(name)
        # Messages under way keep the old scanner until they are done; its idle connections cost nothing.
        self._stack.push_async_callback(old.rspamd.close)

    async def drain(self) -> None:
        await asyncio.gather(
            *(server.close() for servers in self._servers.values() for server in servers), self._imap.close()
        )

    async def close(self) -> None:
        await self.drain()
        await self._learner.close()
        await self._acceptors.rspamd.close()
        await self._stack.aclose()


def _certificates(config: Config) -> dict[str, ServerTls]:
    """A context per service: a session ticket of one is worthless at another (security.md row 32)."""
    files = (config.certificate_file, config.key_file)
    asking = {name: None if role is Listener.MX else config.client_ca_file for name, role in SMTP_DOORS.items()}
    asking |= dict.fromkeys(IMAP_DOORS, config.client_ca_file)
    # SMTP has no name in ALPN's registry.
    return {
        name: ServerTls(*files, client_ca, alpn="imap" if name in IMAP_DOORS else "")
        for name, client_ca in asking.items()
    }


async def start(assignment: Assignment, config: Config) -> Front:
    stack = AsyncExitStack()
    try:
        rooms = await stack.enter_async_context(open_rooms(config))
        front = Front(config, rooms, stack)
        await front.rehearse(config.run_dir / f"rehearsal-{assignment.index}")
        await front.serve(assignment.sockets)
    except BaseException:
        await stack.aclose()
        raise
    return front
