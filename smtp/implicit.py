"""The door of implicit TLS (RFC 8314 3.3): accept, count, shake hands, then a session.

Not `create_server(ssl=...)`, which counts a peer only after its handshake (row 31) and keeps one context for ever; and
not `start_tls` on a fresh connection, because uvloop reads its first octets before anybody can stop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

from core.log import get
from core.networks import plain_address
from smtp.conversation import Service

log = get(__name__)

RETRY = 0.5  # seconds to wait when the process is out of descriptors (fault 154)
BACKLOG = 1024


class ImplicitTls:
    """`service` is asked for each connection, since it may be replaced; `session` makes the protocol of one that
    the gate has counted already."""

    def __init__(
        self, sock: socket.socket, service: Callable[[], Service], session: Callable[[], asyncio.Protocol]
    ) -> None:
        self.sock = sock
        self._service = service
        self._session = session
        self._handshakes: set[asyncio.Task[None]] = set()
        sock.listen(BACKLOG)
        sock.setblocking(False)
        self._task = asyncio.get_running_loop().create_task(self._accept())

    async def close(self) -> None:
        tasks = [self._task, *self._handshakes]
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
            task = loop.create_task(self._admit(connection, plain_address(peer[0])))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _admit(self, connection: socket.socket, address: str) -> None:
        service = self._service()
        if refusal := service.gate.enter(address):
            log.warning("smtp-turned-away", peer=address, listener=service.role.value, reason=refusal.value)
            connection.close()
            return
        if not await self._handshake(connection, service, address):
            service.gate.leave(address)

    async def _handshake(self, connection: socket.socket, service: Service, address: str) -> bool:
        assert service.tls is not None
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._session,
                connection,
                ssl=service.tls.context,
                ssl_handshake_timeout=service.limits.tls_handshake,
            )
        except (OSError, ssl.SSLError) as error:
            connection.close()
            log.info("smtp-tls-failed", peer=address, error=type(error).__name__)
            return False
        except asyncio.CancelledError:
            connection.close()
            service.gate.leave(address)
            raise
        return True
