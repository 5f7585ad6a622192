"""Connections that served well wait a few seconds for the next message to the same server (RFC 5321 4.5.4.1)."""

from __future__ import annotations

import asyncio

from smtp.outbound.connection import Connection
from smtp.outbound.mx import Target

IDLE = 5.0  # seconds a connection waits
MAX_IDLE = 50  # connections in all
MAX_USES = 100  # messages per connection

Key = tuple[str, str, int, str, str]


class Pool:
    """Owns the connections that are idle; a connection in use belongs to who took it."""

    def __init__(self, *, idle: float = IDLE) -> None:
        self._idle_seconds = idle
        self._idle: dict[Key, list[tuple[Connection, asyncio.TimerHandle]]] = {}
        self._count = 0
        self._closed = False
        self._leaving: set[asyncio.Task[None]] = set()

    def take(self, target: Target, label: str, domain: str) -> Connection | None:
        """A connection that was good when it was given, the latest that takes a recipient of this domain; it may be
        gone (`dialogue.Gone`)."""
        key = _key(target, label)
        fitting = [entry for entry in self._idle.get(key, ()) if entry[0].takes(domain)]
        if not fitting:
            return None
        connection, timer = fitting[-1]
        self._idle[key].remove(fitting[-1])
        timer.cancel()
        self._forget(key)
        return connection

    def give(self, connection: Connection) -> None:
        """Back after a transaction that left it in good order."""
        if self._closed or self._count >= MAX_IDLE or spent(connection) or self._idle_seconds <= 0:
            self._quit(connection)
            return
        key = _key(connection.target, connection.policy.label)
        timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._expire, key, connection)
        self._idle.setdefault(key, []).append((connection, timer))
        self._count += 1

    async def close(self) -> None:
        self._closed = True
        for waiting in self._idle.values():
            for connection, timer in waiting:
                timer.cancel()
                self._quit(connection)
        self._idle.clear()
        self._count = 0
        if self._leaving:
            await asyncio.gather(*self._leaving)

    def _expire(self, key: Key, connection: Connection) -> None:
        self._idle[key] = [entry for entry in self._idle[key] if entry[0] is not connection]
        self._forget(key)
        self._quit(connection)

    def _forget(self, key: Key) -> None:
        self._count -= 1
        if not self._idle[key]:
            del self._idle[key]

    def _quit(self, connection: Connection) -> None:
        task = asyncio.get_running_loop().create_task(connection.quit())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


def spent(connection: Connection) -> bool:
    """Whether it has carried as many transactions as we, or the server (MAILMAX, RFC 9422), want on one connection."""
    return connection.uses >= min(connection.capabilities.limit("MAILMAX") or MAX_USES, MAX_USES)


def _key(target: Target, label: str) -> Key:
    return target.host, target.address, target.port, target.route.name if target.route else "", label
