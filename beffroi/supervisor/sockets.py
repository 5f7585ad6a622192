"""Listening sockets: bound once by the supervisor, one SO_REUSEPORT socket per worker, kept open across restarts."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from core.config import Config, ConfigError, Listen, parse_endpoint

BACKLOG = 1024

# Which kind of worker serves which keys of section `listen`; the one table of doors.
FRONT_DOORS = ("mx", "submission", "submissions", "lmtp", "imap", "imaps")
WEB_DOORS = ("api", "https", "metrics")


_HINTS = {
    errno.EACCES: " (ports below 1024 are root's: start it by deploy/beffroi.service, or as root with `user` set)",
    errno.EADDRINUSE: " (by which program: ss -tlnp)",
    errno.EADDRNOTAVAIL: " (no address of this machine: ip address)",
}


@dataclass(frozen=True, slots=True)
class Door:
    """One address of one role, with one socket per worker that serves it."""

    role: str
    endpoint: str
    sockets: tuple[socket.socket, ...]

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


def open_doors(config: Config) -> list[Door]:
    """Bind everything the configuration names. Raises `ConfigError` naming the address that is taken or forbidden."""
    doors: list[Door] = []
    try:
        for role, endpoints in _endpoints(config.listen):
            copies = config.workers if role in FRONT_DOORS else 1
            doors.extend(Door(role, text, _bind(text, copies)) for text in endpoints)
    except ConfigError:
        for door in doors:
            door.close()
        raise
    return doors


def _endpoints(listen: Listen) -> list[tuple[str, list[str]]]:
    values = listen.model_dump()
    return [(role, values[role]) for role in (*FRONT_DOORS, *WEB_DOORS)]


def _bind(text: str, copies: int) -> tuple[socket.socket, ...]:
    host, port = parse_endpoint(text)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # SO_REUSEPORT would silently share the port with another daemon of the same user: a plain bind notices it.
        _listening(family, host, port, shared=False).close()
        return tuple(_listening(family, host, port, shared=True) for _ in range(copies))
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "")
        raise ConfigError(f"cannot listen on {text}: {error.strerror}{hint}") from error


def _listening(family: socket.AddressFamily, host: str, port: int, *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG if shared else 1)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
