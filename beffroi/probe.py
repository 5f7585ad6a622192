"""One door asked from outside whether it answers: the greeting of SMTP and IMAP, any answer of HTTP, in a bounded time.

A connection alone says little: the kernel accepts in the name of a worker that hangs until its backlog is full. The
probe says nothing before the greeting (row 10), and comes from an address on loopback that nobody else has, so that
its connections count in nobody's limits. Refuses to know whether the suite runs.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network

from core.config import parse_endpoint
from core.networks import within

CONNECT_TIMEOUT = 2.0  # seconds
ANSWER_TIMEOUT = 5.0  # seconds from the connection to the greeting, with TLS
_LONGEST = 1024  # octets of a greeting: RFC 5321 4.5.3.1.5 has 512, IMAP's tells capabilities
_UNKNOWN = b"PROXY UNKNOWN\r\n"  # as a balancer speaks for itself


class Answer(Enum):
    ANSWERS = "answers"
    HANGS = "accepts, but does not answer"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Tongue:
    """How a door speaks: `first` is what we say, nothing where the server speaks first; `greetings` how its answer may
    begin (who turns us away answers, too); `last` is our farewell."""

    greetings: tuple[bytes, ...]
    tls: bool = False
    first: bytes = b""
    last: bytes = b""


_SMTP = (b"220 ", b"220-", b"421 ")
_IMAP = (b"* OK", b"* BYE")
_HEAD = b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
TONGUES = {
    "mx": Tongue(_SMTP, last=b"QUIT\r\n"),
    "submission": Tongue(_SMTP, last=b"QUIT\r\n"),
    "submissions": Tongue(_SMTP, tls=True, last=b"QUIT\r\n"),
    "lmtp": Tongue(_SMTP, last=b"QUIT\r\n"),
    "imap": Tongue(_IMAP, last=b"x LOGOUT\r\n"),
    "imaps": Tongue(_IMAP, tls=True, last=b"x LOGOUT\r\n"),
    "api": Tongue((b"HTTP/1.",), first=_HEAD),
    "https": Tongue((b"HTTP/1.",), tls=True, first=_HEAD),
    "metrics": Tongue((b"HTTP/1.",), first=_HEAD),
}


def probe(role: str, endpoint: str, balancers: tuple[IPv4Network | IPv6Network, ...] = ()) -> Answer:
    """`balancers`: whose connections begin with a PROXY header."""
    try:
        connection = _connected(endpoint)
    except OSError:
        return Answer.SILENT
    tongue = TONGUES[role]
    until = time.monotonic() + ANSWER_TIMEOUT
    try:
        with connection:
            if not tongue.first and within(connection.getsockname()[0], balancers):
                connection.sendall(_UNKNOWN)
            return _asked(connection, tongue, until)
    except OSError:  # TimeoutError and SSLError among them
        return Answer.HANGS


def _connected(endpoint: str) -> socket.socket:
    host, port = parse_endpoint(endpoint)
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    source = None
    if target.startswith("127."):  # IPv6 has one address there
        source = (f"127.{128 + secrets.randbelow(127)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}", 0)
    return socket.create_connection((target, port), CONNECT_TIMEOUT, source)


def _asked(plain: socket.socket, tongue: Tongue, until: float) -> Answer:
    plain.settimeout(_left(until))
    connection = _context().wrap_socket(plain) if tongue.tls else plain
    with connection:
        connection.sendall(tongue.first)
        if not _greeted(connection, tongue, until):
            return Answer.HANGS
        try:
            connection.sendall(tongue.last)
            while tongue.last and connection.recv(_LONGEST):  # until the server has closed: no session is cut off
                connection.settimeout(_left(until))
        except OSError:
            pass  # the greeting was there
    return Answer.ANSWERS


def _greeted(connection: socket.socket, tongue: Tongue, until: float) -> bool:
    """A whole line that begins as it should."""
    found = b""
    while b"\n" not in found and len(found) <= _LONGEST:
        connection.settimeout(_left(until))
        octets = connection.recv(_LONGEST)
        if not octets:
            return False
        found += octets
    return b"\n" in found and found.startswith(tongue.greetings)


def _left(until: float) -> float:
    """Raises `TimeoutError` when nothing is."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _context() -> ssl.SSLContext:
    """Whoever answers at an address of ours is asked for no name: the certificate is `check-config`'s."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
