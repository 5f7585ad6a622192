"""The mark that a forward leaves with, so that it is known when it comes back, whatever became of its Received fields.

Servers that take Received out (many do, for privacy) turn a forward that leads back here into a circle without end.
`Delivered-To` (RFC 9228) would tell it, too, but names an address: one message goes to all whom aliases name, and each
would read the others'; and strangers write it: what an old server of the commune delivered once and hands on while it
moves here would be refused. So a mark is a keyed digest of the recipient, which says nothing and which nobody forges.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass

from core.address import Address
from core.ids import base32
from message.header import Head
from message.trace import PASSED

_MARK = 16  # characters, 80 bits
MOST = 1000  # marks in one field, and fields that are looked at


@dataclass(frozen=True, slots=True, repr=False)
class Marks:
    """`key`: 16 octets or more, the same in every process and for good."""

    key: bytes

    def of(self, recipient: Address) -> str:
        """The same for all spellings of an address that lead to one place."""
        digest = hmac.digest(self.key, f"passed:{recipient.key}".encode(), hashlib.sha256)
        return base32(int.from_bytes(digest[:10], "big"), _MARK)

    def field(self, recipients: Collection[Address]) -> bytes:
        """To stand on top; earlier ones stay below it. One mark a line (RFC 5322 2.1.1)."""
        marks = sorted({self.of(item) for item in recipients})[:MOST]
        return PASSED.title() + b": " + "\r\n\t".join(marks).encode("ascii") + b"\r\n" if marks else b""

    def found(self, head: Head, recipients: Collection[Address]) -> bool:
        """Whether it left for one of them before."""
        fields = head.all(PASSED)[:MOST] if recipients else ()
        if not fields:
            return False
        ours = {self.of(item).encode("ascii") for item in recipients}
        return any(not ours.isdisjoint(field.value.lower().split(None, MOST)) for field in fields)
