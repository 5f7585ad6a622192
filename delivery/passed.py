"""The mark that a forward leaves with, so that it is known when it comes back, whatever became of its Received fields.

Servers that take Received out (many do, for privacy) turn a forward that leads back here into a circle without end.
`Delivered-To` (RFC 9228) would tell it, too, but names an address: one message goes to all whom aliases name, and each
would read the others'; and strangers write it: what an old server of the commune delivered once and hands on while it
moves here would be refused. So a mark is a keyed digest of the recipient, which says nothing and which nobody forges.
It is salted by the message's queue id: else who reads the mark of an alias in one message would know it again in
another that went there as a blind copy.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from core.address import Address
from core.ids import base32
from message.header import Head
from message.trace import PASSED

_MARK = 16  # characters, 80 bits
MOST = 1000  # marks in one field
FIELDS = 20  # that are looked at, the newest: each is compared with each recipient


@dataclass(frozen=True, slots=True, repr=False)
class Marks:
    """`key`: 16 octets or more, the same in every process and for good."""

    key: bytes

    def of(self, recipient: Address, salt: str) -> str:
        """The same for all spellings of an address that lead to one place."""
        digest = hmac.digest(self.key, f"passed:{salt}:{recipient.key}".encode(), hashlib.sha256)
        return base32(int.from_bytes(digest[:10], "big"), _MARK)

    def field(self, recipients: Iterable[Address], queue_id: str) -> bytes:
        """To stand on top; earlier ones stay below it. One mark a line (RFC 5322 2.1.1)."""
        marks = sorted({self.of(item, queue_id.lower()) for item in recipients})[:MOST]
        words = "\r\n\t".join((queue_id, *marks))
        return PASSED.title() + b": " + words.encode("ascii") + b"\r\n" if marks else b""

    def found(self, head: Head, recipients: Iterable[Address]) -> frozenset[str]:
        """The keys of those it left for before."""
        wanted = {item.key: item for item in recipients}
        came: set[str] = set()
        for field in head.all(PASSED)[:FIELDS] if wanted else ():
            salt, *marks = field.value.decode("ascii", "replace").lower().split(None, MOST) or ("",)
            came |= {key for key, item in wanted.items() if marks and self.of(item, salt) in marks}
        return frozenset(came)
