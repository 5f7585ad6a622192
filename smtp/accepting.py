"""Doors at which something happens before SMTP: implicit TLS (RFC 8314 3.3), a balancer's PROXY header, or both.

Accept, ask the balancer, count, shake hands, then a session. Not `create_server(ssl=...)`, which counts a peer only
after its handshake (row 31) and keeps one context for ever; and not `start_tls` on a fresh connection, because uvloop
reads its first octets before anybody can stop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

from core.log import get
from core.networks import plain_address, within
from core.proxy import ProxyError, client_of
from smtp import replies
from smtp.conversation import Service

log = get(__name__)

RETRY = 0.5  # seconds to wait when the process is out of descriptors (fault 154)
BACKLOG = 1024

Where = tuple[str, int]


class Accepting:
    """`service` is asked for each connection, since it may be replaced; `session` makes the protocol of one that
    the gate has counted already, for the peer at this address and port."""

    def __init__(
        self,
        sock: socket.socket,
        service: Callable[[], Service],
        session: Callable[[Where], asyncio.Protocol],
        *,
        implicit: bool,
    ) -> None:
        self.sock = sock
        self._service = service
        self._session = session
        self._implicit = implicit
        self._beginning: set[asyncio.Task[None]] = set()
        sock.listen(BACKLOG)
        sock.setblocking(False)
        self._task = asyncio.get_running_loop().create_task(self._accept())

    async def close(self) -> None:
        tasks = [self._task, *self._beginning]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.sock.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(self.sock)
            except OSError as error:
                log.warning("smtp-accept-failed", error=type(error).__name__)
                await asyncio.sleep(RETRY)
                continue
            task = loop.create_task(self._admit(connection, (plain_address(peer[0]), peer[1])))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _admit(self, connection: socket.socket, peer: Where) -> None:
        service = self._service()
        connection.setblocking(False)
        try:
            peer = await self._behind(connection, peer, service)
        except ProxyError as error:
            log.warning("proxy-header-refused", peer=peer[0], listener=service.role.value, error=str(error))
            connection.close()
            return
        except asyncio.CancelledError:
            connection.close()
            raise
        if refusal := service.gate.enter(peer[0]):
            log.warning("smtp-turned-away", peer=peer[0], listener=service.role.value, reason=refusal.value)
            with contextlib.suppress(OSError), connection:
                if not self._implicit:
                    connection.send(replies.TURNED_AWAY[refusal].encode())
            return
        if not await self._begin(connection, service, peer):
            service.gate.leave(peer[0])

    @staticmethod
    async def _behind(connection: socket.socket, peer: Where, service: Service) -> Where:
        """Who is behind a listed balancer. Raises `ProxyError`."""
        if not within(peer[0], service.proxy_from):
            return peer
        claim = await client_of(connection)
        return (plain_address(claim[0]), claim[1]) if claim is not None else peer

    async def _begin(self, connection: socket.socket, service: Service, peer: Where) -> bool:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = asyncio.get_running_loop()
        try:
            if self._implicit:
                assert service.tls is not None
                await loop.connect_accepted_socket(
                    lambda: self._session(peer),
                    connection,
                    ssl=service.tls.context,
                    ssl_handshake_timeout=service.limits.tls_handshake,
                )
            else:
                await loop.connect_accepted_socket(lambda: self._session(peer), connection)
        except (OSError, ssl.SSLError) as error:
            connection.close()
            log.info("smtp-tls-failed", peer=peer[0], error=type(error).__name__)
            return False
        except asyncio.CancelledError:
            connection.close()
            service.gate.leave(peer[0])
            raise
        return True
