"""The PROXY protocol, versions 1 and 2: who is behind a balancer (the HAProxy specification, sections 2.1 and 2.2).

Believed only from balancers the operator listed (`listen.proxy_from`); anybody else who speaks it is a stranger with a
bad first line (security.md row 19). Reads exactly the header and nothing behind it, so that TLS may begin there.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"  # of version 2; version 1 begins with "PROXY " and is never shorter
MAX_V1 = 107  # octets of a version 1 line with its CRLF
MAX_V2 = 1024  # octets of addresses and extras that version 2 may announce
_PORT = re.compile(r"0|[1-9][0-9]{0,4}")
TIMEOUT = 10.0  # seconds for a balancer that has just connected

Read = Callable[[int], Awaitable[bytes]]
Claim = tuple[str, int] | None


class ProxyError(Exception):
    """A listed balancer sent no header that can be read."""


async def read_header(read: Read) -> Claim:
    """Address and port of the client; None when the balancer speaks for itself (LOCAL, UNKNOWN: its health checks).
    `read(n)` gives exactly n octets. Raises `ProxyError`."""
    start = await read(len(SIGNATURE))
    if start == SIGNATURE:
        return await _second(read)
    if not start.startswith(b"PROXY "):
        raise ProxyError("no PROXY header")
    line = start
    while not line.endswith(b"\r\n"):
        if len(line) >= MAX_V1:
            raise ProxyError("header too long")
        line += await read(1)
    return _first(line)


def _first(line: bytes) -> Claim:
    try:
        words = line[:-2].decode("ascii").split(" ")
    except UnicodeDecodeError as error:
        raise ProxyError("malformed header") from error
    if words[1] == "UNKNOWN":
        return None
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6") or not all(_is_port(word) for word in words[4:]):
        raise ProxyError("malformed header")
    try:
        source, target = ip_address(words[2]), ip_address(words[3])
    except ValueError as error:
        raise ProxyError("malformed header") from error
    version = 4 if words[1] == "TCP4" else 6
    scoped = "%" in words[2] + words[3]  # a scope is no part of an address on the wire
    if source.version != version or target.version != version or scoped:
        raise ProxyError("malformed header")
    return str(source), int(words[4])


def _is_port(text: str) -> bool:
    """2.1: without heading zeroes, which some would read as octal."""
    return _PORT.fullmatch(text) is not None and int(text) <= 65535


async def _second(read: Read) -> Claim:
    command, family, length = struct.unpack("!BBH", await read(4))
    if command not in (0x20, 0x21) or length > MAX_V2:
        raise ProxyError("malformed header")
    data = await read(length) if length else b""
    if command == 0x20 or family >> 4 == 0:  # LOCAL, or a family it cannot tell
        return None
    if family == 0x11 and length >= 12:
        return str(IPv4Address(data[:4])), struct.unpack("!H", data[8:10])[0]
    if family == 0x21 and length >= 36:
        return str(IPv6Address(data[:16])), struct.unpack("!H", data[32:34])[0]
    raise ProxyError("malformed header")


async def client_of(sock: socket.socket) -> Claim:
    """The header on a socket that was just accepted (non-blocking). Raises `ProxyError`."""
    loop = asyncio.get_running_loop()

    async def read(count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await loop.sock_recv(sock, count - len(data))
            if not more:
                raise ProxyError("connection closed")
            data += more
        return data

    try:
        async with asyncio.timeout(TIMEOUT):
            return await read_header(read)
    except TimeoutError:
        raise ProxyError("no PROXY header in time") from None
    except OSError as error:
        raise ProxyError("connection lost") from error
