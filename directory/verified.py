"""What a process remembers of passwords it has just checked: proofs, never passwords.

A proof is a keyed hash (BLAKE2b, RFC 7693; the key is random and lives as long as the process) over account, protocol,
stored hash and password: a changed password, another account or another protocol can never match (security.md rows
117, 118). Right ones make a client's tenth connection cheap; wrong ones count once however often a telephone repeats
them (row 114).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque

from core.clock import Clock

TTL = 600.0  # seconds a verified password stays known
MAX_RIGHT = 20_000
MAX_WRONG = 10_000  # pairs of remote and account
WRONG_EACH = 8  # different wrong passwords remembered for one pair


class Proofs:
    """Bounded: the oldest go. A right proof is known for `TTL` seconds, a wrong one as long as there is room."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        """`key`: 32 random octets."""
        self._key = key
        self._clock = clock
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._wrong: OrderedDict[tuple[str, str], deque[bytes]] = OrderedDict()

    def of(self, account: str, protocol: str, stored: str, password: str) -> bytes:
        """32 octets; the parts are length-prefixed, so that none can flow into the next."""
        digest = hashlib.blake2b(key=self._key, digest_size=32)
        for part in (account, protocol, stored, password):
            octets = part.encode("utf-8")
            digest.update(len(octets).to_bytes(4, "big") + octets)
        return digest.digest()

    def is_right(self, proof: bytes) -> bool:
        until = self._right.get(proof)
        return until is not None and self._clock.monotonic() < until

    def keep_right(self, proof: bytes) -> None:
        self._right[proof] = self._clock.monotonic() + TTL
        self._right.move_to_end(proof)
        if len(self._right) > MAX_RIGHT:
            self._right.popitem(last=False)

    def is_wrong(self, remote: str, account: str, proof: bytes) -> bool:
        return proof in self._wrong.get((remote, account), ())

    def keep_wrong(self, remote: str, account: str, proof: bytes) -> None:
        self._wrong.setdefault((remote, account), deque(maxlen=WRONG_EACH)).append(proof)
        self._wrong.move_to_end((remote, account))
        if len(self._wrong) > MAX_WRONG:
            self._wrong.popitem(last=False)
