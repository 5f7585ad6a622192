"""Listeners: sockets that somebody bound become SMTP servers with a clean stop."""

from __future__ import annotations

import asyncio
import socket

from core.envelope import Listener
from core.log import get
from core.waiting import Bounds
from smtp.accepting import BACKLOG, Accepting
from smtp.conversation import Service
from smtp.protocol import SmtpProtocol

log = get(__name__)

LINGER = 5.0  # seconds for a session's last reply to leave before its connection is cut
GRACE = 30.0  # seconds that open transactions get at a clean stop (fault 148)


class Server:
    """One listener and its open sessions. `close` is the owner's duty."""

    def __init__(self, service: Service) -> None:
        self.service = service  # replaced at a reload: new sessions get the new one
        self.lingering = Bounds(LINGER)
        self._listening: asyncio.Server | None = None
        self._accepting: Accepting | None = None
        self._sessions: set[SmtpProtocol] = set()

    @property
    def role(self) -> Listener:
        return self.service.role

    @property
    def addresses(self) -> list[tuple[str, int]]:
        sockets = self._listening.sockets if self._listening else ()
        return [entry.getsockname()[:2] for entry in (*sockets, *([self._accepting.sock] if self._accepting else []))]

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    async def listen(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if self.role is Listener.SUBMISSIONS or self.service.proxy_from:
            self._accepting = Accepting(
                sock,
                lambda: self.service,
                lambda peer: SmtpProtocol(self.service, self, loop, counted=peer),
                implicit=self.role is Listener.SUBMISSIONS,
            )
        else:
            self._listening = await loop.create_server(
                lambda: SmtpProtocol(self.service, self, loop), sock=sock, backlog=BACKLOG
            )

    def add(self, session: SmtpProtocol) -> None:
        self._sessions.add(session)

    def discard(self, session: SmtpProtocol) -> None:
        self._sessions.discard(session)

    async def close(self, grace: float = GRACE) -> None:
        """Accept nothing new, say 421 to the idle, let messages under way finish within `grace` seconds, then say it to
        the rest and wait for nothing. Idempotent."""
        if self._listening is not None:
            self._listening.close()
        if self._accepting is not None:
            await self._accepting.close()
        for session in list(self._sessions):
            session.stop()
        tasks = {session.task for session in self._sessions if session.task is not None}
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=grace)
        for session in list(self._sessions):
            session.dismiss()
        for task in late:
            task.cancel()
        if late:
            log.warning("smtp-sessions-cut", listener=self.role.value, sessions=len(late))
            await asyncio.wait(late, timeout=5.0)


async def serve(sock: socket.socket, service: Service) -> Server:
    """Serve on a bound socket; the role is the service's."""
    server = Server(service)
    await server.listen(sock)
    return server
