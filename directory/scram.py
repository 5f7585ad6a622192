"""SCRAM-SHA-256 (RFC 5802, RFC 7677) for generated app passwords: the only place that touches scramp.

An account may have several app passwords, and the client's first message does not say which one is meant. So all share
one salt, and the proof is held against each. The salt is derived from the address, for unknown users as well: nobody
learns from it who exists, and 130 random bits need no secret salt. Channel binding is not offered: Python's ssl cannot
export keys under TLS 1.3 (security.md, Decided).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from scramp import ScramMechanism

MECHANISM = "SCRAM-SHA-256"
ITERATIONS = 4096  # RFC 7677 4; more would protect weak passwords, and there are none here
MAX_NONCE = 256
_FIRST = re.compile(
    r"(?P<header>[ny],(?:a=(?P<authorization>[^,\0]+))?,)(?P<bare>n=(?P<user>[^,\0]+),r=(?P<nonce>[!-+\--~]+)"
    r"(?:,[A-Za-ln-z]=[^,\0]+)*)"
)
# The proof has 32 octets. Attributes that nobody defined may stand before it (RFC 5802 5.1); "m" is never ignored.
_FINAL = re.compile(
    rb"(?P<bare>c=(?P<binding>[A-Za-z0-9+/=]+),r=(?P<nonce>[!-+\--~]+)(?:,[A-Za-ln-z]=[^,\0]+)*)"
    rb",p=(?P<proof>[A-Za-z0-9+/]{43}=)"
)
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
    """The client's first message, in two parts as they stand: `header` (GS2) and `bare`. `user` as the client meant it;
    `authorization` "" or a name to act as."""

    header: str
    bare: str
    user: str
    authorization: str
    nonce: str


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
    return First(match["header"], match["bare"], names[0], names[1], match["nonce"])


class Exchange:
    """One exchange against all candidates. `nonce`: ours, random, printable without comma. The server's side is ours:
    scramp's knows no authorization identity, which mutt and whatever else uses GNU SASL sends, its own name."""

    def __init__(self, first: First, key: str, candidates: Mapping[str, Keys], nonce: str) -> None:
        """`candidates` by the id of their app password; none at all is answered like one that does not match."""
        self._candidates = candidates or {"": Keys(bytes(32), bytes(32))}
        salt = base64.b64encode(salt_of(key)).decode("ascii")
        self._first = first
        self._nonce = first.nonce + nonce
        self.challenge: bytes = f"r={self._nonce},s={salt},i={ITERATIONS}".encode("ascii")

    def finish(self, message: bytes) -> tuple[str, bytes] | None:
        """The app password that was proved and our own proof; None when none was (RFC 5802 3, 5.1)."""
        match = _FINAL.fullmatch(message)
        if match is None or match["nonce"] != self._nonce.encode("ascii"):
            return None
        if match["binding"] != base64.b64encode(self._first.header.encode("utf-8")):
            return None  # 6: what was said of channel binding and of the identity was changed on the way
        said = b",".join((self._first.bare.encode("utf-8"), self.challenge, match["bare"]))
        for name, keys in self._candidates.items():
            if _proves(keys.stored, said, base64.b64decode(match["proof"])) and name:
                return name, b"v=" + base64.b64encode(hmac.digest(keys.server, said, "sha256"))
        return None


def _proves(stored: bytes, said: bytes, proof: bytes) -> bool:
    signature = hmac.digest(stored, said, "sha256")
    client = bytes(one ^ other for one, other in zip(signature, proof, strict=True))
    return hmac.compare_digest(hashlib.sha256(client).digest(), stored)


__all__ = ["MECHANISM", "Exchange", "First", "Keys", "make_keys", "read_first", "salt_of"]
