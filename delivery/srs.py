"""The Sender Rewriting Scheme: a forwarded message leaves under an envelope sender of ours that leads its bounces back.

    SRS0=<proof>=<day>=<their domain>=<their local part>@ours       a sender seen first here
    SRS1=<proof>=<first forwarder>=<the rest of its SRS0>@ours      a sender that was rewritten before

Keyed and expiring, so that nobody can make us relay by writing such an address (RFC 5321 has no word on it; the scheme
is the one of libsrs2). Pure: key and time are arguments. Everything is compared without case, since some servers
lower-case local parts.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

from core.address import MAX_REWRITTEN, Address
from core.domain import DomainError, to_ascii
from core.ids import ALPHABET, base32

VALID_DAYS = 21
DAY = 86400
_CYCLE = 1024  # days until a date repeats: two characters
_PROOF = 8  # characters, 40 bits
# ASCII: without case a "\u017f" (long s) is an "s" to Unicode, and not to the address that comes back.
_ANY_CASE = re.IGNORECASE | re.ASCII | re.DOTALL
_SRS = re.compile(r"srs[01]", _ANY_CASE)  # how both begin
_SRS0 = re.compile(r"srs0[=+-](?P<rest>.+)", _ANY_CASE)
_SRS1 = re.compile(r"srs1[=+-](?P<proof>[^=]+)=(?P<host>[^=]+)=(?P<rest>[=+-].+)", _ANY_CASE)
_OURS = re.compile(r"(?P<proof>[^=]+)=(?P<day>[^=]{2})=(?P<host>[^=]+)=(?P<user>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True, repr=False)
class Srs:
    """`key`: 16 octets or more, the same in every process and for good."""

    key: bytes

    def wrap(self, sender: Address, domain: str, now: float) -> Address | None:
        """The address at `domain` (hosted here) that stands for a foreign sender; None when it would be too long."""
        again = _SRS1.fullmatch(sender.local)
        first = _SRS0.fullmatch(sender.local)
        if again and _address("", again["host"]):  # else it only looks so, and no bounce would find its way there
            text = f"{again['host']}={again['rest']}"
            local = f"SRS1={self._proof('1', text)}={text}"
        elif first:
            # The separator after "SRS0" is the first forwarder's own choice: it is kept, to be given back exactly.
            text = f"{sender.domain}={sender.local[4:]}"
            local = f"SRS1={self._proof('1', text)}={text}"
        else:
            day = base32(int(now // DAY) % _CYCLE, 2)
            text = f"{day}={sender.domain}={sender.local}"
            local = f"SRS0={self._proof('0', text)}={text}"
        return Address(local, domain) if len(local.encode("utf-8")) <= MAX_REWRITTEN else None

    def unwrap(self, local: str, now: float) -> Address | None:
        """Whom a bounce to this local part at one of our domains is for; None: not ours, forged, or too old."""
        again = _SRS1.fullmatch(local)
        if again:
            text = f"{again['host']}={again['rest']}"
            return _address(f"SRS0{again['rest']}", again["host"]) if self._proves("1", text, again["proof"]) else None
        first = _SRS0.fullmatch(local)
        ours = _OURS.fullmatch(first["rest"]) if first else None
        if ours is None or not _fresh(ours["day"].lower(), now):
            return None
        text = f"{ours['day']}={ours['host']}={ours['user']}"
        return _address(ours["user"], ours["host"]) if self._proves("0", text, ours["proof"]) else None

    def _proof(self, kind: str, text: str) -> str:
        digest = hmac.digest(self.key, f"srs{kind}:{text.lower()}".encode(), hashlib.sha256)
        return base32(int.from_bytes(digest[:5], "big"), _PROOF)

    def _proves(self, kind: str, text: str, proof: str) -> bool:
        return hmac.compare_digest(self._proof(kind, text).encode(), proof.lower().encode())


def is_rewritten(address: Address) -> bool:
    """Whether it has the shape, whoever made it."""
    local = address.local
    return bool(local[:1] in "sS" and _SRS.match(local) and (_SRS0.fullmatch(local) or _SRS1.fullmatch(local)))


def _fresh(day: str, now: float) -> bool:
    if any(letter not in ALPHABET for letter in day):
        return False
    written = ALPHABET.index(day[0]) * 32 + ALPHABET.index(day[1])
    age = (int(now // DAY) - written) % _CYCLE
    return age <= VALID_DAYS or age == _CYCLE - 1  # a neighbour's clock may be a day ahead


def _address(local: str, host: str) -> Address | None:
    try:
        return Address(local, to_ascii(host))
    except DomainError:
        return None
