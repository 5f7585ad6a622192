"""SCRAM-SHA-256 (RFC 5802, RFC 7677) for generated app passwords: the only place that touches scramp.

An account may have several app passwords, and the client's first message does not say which one is meant. So all share
one salt, and the proof is held against each. The salt is derived from the address, for unknown users as well: nobody
learns from it who exists, and 130 random bits need no secret salt. Channel binding is not offered: Python's ssl cannot
export keys under TLS 1.3 (security.md, Decided).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from scramp import ScramException, ScramMechanism
from scramp.core import ScramServer

MECHANISM = "SCRAM-SHA-256"
ITERATIONS = 4096  # RFC 7677 4; more would protect weak passwords, and there are none here
MAX_NONCE = 256
_FIRST = re.compile(r"[ny],(?:a=(?P<authorization>[^,\0]+))?,n=(?P<user>[^,\0]+),r=(?P<nonce>[!-+\--~]+)")
_SASLNAME = {"=2C": ",", "=3D": "="}


@dataclass(frozen=True, slots=True)
class Keys:
    """What is stored of one app password (RFC 5802 2.2): neither is the password nor opens anything by itself."""

    stored: bytes
    server: bytes

    def text(self) -> str:
        return f"{self.stored.hex()}:{self.server.hex()}"

    @staticmethod
    def of(text: str) -> Keys | None:
        stored, _, server = text.partition(":")
        return Keys(bytes.fromhex(stored), bytes.fromhex(server)) if stored and server else None


@dataclass(frozen=True, slots=True)
class First:
    """The client's first message: `user` as the client wrote it; `authorization` "" or another name to act as."""

    message: str
    user: str
    authorization: str


def salt_of(key: str) -> bytes:
    """Of an address key, known or not."""
    return hashlib.sha256(b"beffroi scram salt\0" + key.encode("utf-8")).digest()[:16]


def make_keys(password: str, key: str) -> Keys:
    """`password` as it is shown, `key` of the account's address."""
    _, stored, server, _ = ScramMechanism(MECHANISM).make_auth_info(password, ITERATIONS, salt_of(key))
    return Keys(stored, server)


def read_first(message: bytes) -> First | None:
    """None when it is malformed or asks for channel binding, which was not offered (RFC 5802 6)."""
    match = _FIRST.fullmatch(message.decode("utf-8", "replace"))
    if match is None or len(match["nonce"]) > MAX_NONCE:
        return None
    names = [match["user"], match["authorization"] or ""]
    for index, name in enumerate(names):
        if re.search("=(?!2C|3D)", name):
            return None
        for escape, char in _SASLNAME.items():
            name = name.replace(escape, char)
        names[index] = name
    return First(match[0], names[0], names[1])


class Exchange:
    """One exchange against all candidates. `nonce`: ours, random, printable without comma."""

    def __init__(self, first: First, key: str, candidates: Mapping[str, Keys], nonce: str) -> None:
        """`candidates` by the id of their app password; none at all is answered like one that does not match."""
        nobody = Keys(bytes(32), bytes(32))
        self._servers: dict[str, ScramServer] = {
            name: _server(first, key, keys, nonce) for name, keys in (candidates or {"": nobody}).items()
        }
        firsts = [server.get_server_first() for server in self._servers.values()]
        self.challenge: bytes = firsts[0].encode("ascii")

    def finish(self, message: bytes) -> tuple[str, bytes] | None:
        """The app password that was proved and our own proof; None when none was."""
        text = message.decode("utf-8", "replace")
        for name, server in self._servers.items():
            try:
                server.set_client_final(text)
                if name:
                    return name, str(server.get_server_final()).encode("ascii")
            except ScramException:
                continue
        return None


def _server(first: First, key: str, keys: Keys, nonce: str) -> ScramServer:
    server = ScramMechanism(MECHANISM).make_server(
        lambda _: (salt_of(key), keys.stored, keys.server, ITERATIONS), s_nonce=nonce
    )
    server.set_client_first(first.message)
    return server


__all__ = ["MECHANISM", "Exchange", "First", "Keys", "make_keys", "read_first", "salt_of"]
