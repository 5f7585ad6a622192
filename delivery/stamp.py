"""The new header block of a message: what strangers forged goes, what we know is put on top.

No field names a single recipient (but "for" in Received when there is only one), so that one file serves several
mailboxes. Return-Path is of the final delivery alone (RFC 5321 4.4): it stands on top, where it is left out easily.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from antispam.authentication import results
from antispam.types import Result, Unscanned, Verdict
from core.address import Address
from core.envelope import Envelope, Peer
from core.frozen import dataclass
from delivery import hygiene
from delivery.evidence import Evidence
from delivery.policy import Decision, Disposition
from message import compose, trace
from message.header import Field, Head

MAX_SYMBOLS = 40
KEPT = 256  # spam fields that are remembered, of some 50 octets: few differ, and each message has three


def _made(name: str, value: str) -> Field:
    return _field(name.lower().encode(), compose.raw_field(name, value))


def _field(name: bytes, raw: bytes) -> Field:
    """One of ours: it is sound."""
    return Field(name, raw, len(name) + 1)


_kept = lru_cache(maxsize=KEPT)(_made)


@dataclass(frozen=True, slots=True)
class Hop:
    """This server and this moment. `when` in Unix seconds."""

    hostname: str
    envelope: Envelope
    peer: Peer
    when: float

    def received(self, hostname: str = "") -> bytes:
        """`hostname`: the confirmed reverse name of the peer, "" when there is none."""
        return trace.received(
            self.peer.named(hostname) if hostname else self.peer,
            self.hostname,
            self.envelope.queue_id,
            [item.address for item in self.envelope.recipients],
            self.when,
            smtputf8=self.envelope.smtputf8,
            priority=self.envelope.schedule.priority,
        )


def inbound(head: Head, return_path: bytes, hop: Hop, evidence: Evidence, decision: Decision) -> Head:
    """Return-Path, Received, Authentication-Results, X-Spam-*, X-Beffroi-Reason and -Repeated, then the rest without
    forgeries (row 84)."""
    vouched = evidence.authentication
    confirmed = vouched.iprev.hostname if vouched.iprev.result is Result.PASS else ""
    clean = trace.without_forgeries(head, hop.hostname)
    fields = (
        _field(b"return-path", return_path),
        _field(b"received", hop.received(confirmed)),
        _field(b"authentication-results", results.compose(hop.hostname, vouched, hop.peer.address)),
        *_spam_fields(evidence.scan, decision),
        *_contradictions(head),
        *clean.fields,
    )
    return Head(fields, clean.rest, clean.defects)


def _contradictions(head: Head) -> list[Field]:
    """RFC 5322 3.6: two Subjects are two messages, as one or the other is shown. Delivered as it came, and told."""
    names = hygiene.contradicted(head)
    return [_made("X-Beffroi-Repeated", ", ".join(names))] if names else []


def _spam_fields(scan: Verdict | Unscanned, decision: Decision) -> Sequence[Field]:
    """What mail clients and users' filters read. Unscanned mail says so (promise P6)."""
    answer = "Yes" if decision.disposition is Disposition.JUNK else "No"
    if isinstance(scan, Unscanned):
        return _unscanned(answer, scan.reason, decision.reason)
    symbols = ",".join(scan.symbols[:MAX_SYMBOLS]) or "none"
    status = f"{answer}, score={scan.score:.2f} required={scan.required:.2f} tests={symbols.replace(',', ', ')}"
    return (
        _kept("X-Spam-Flag", answer.upper()),
        _made("X-Spam-Status", status),
        _kept("X-Spam-Score", f"{scan.score:.2f}"),
        _kept("X-Beffroi-Reason", decision.reason),
    )


@lru_cache(maxsize=KEPT)
def _unscanned(answer: str, why: str, reason: str) -> Sequence[Field]:
    return (
        _made("X-Spam-Flag", answer.upper()),
        _made("X-Spam-Status", f"{answer}, unscanned={why}"),
        _made("X-Beffroi-Reason", reason),
    )


def submitted(head: Head, hop: Hop, *, message_id: str) -> bytes:
    """What the mail client left out is added (RFC 6409 8.2, 8.3), Bcc and claims of ours are removed, Received on top.
    `message_id` without brackets."""
    clean = trace.without_bcc(trace.without_forgeries(head, hop.hostname))
    added = b""
    if clean.first(b"message-id") is None:
        added += compose.raw_field("Message-ID", f"<{message_id}>")
    if clean.first(b"date") is None:
        added += compose.date(hop.when)
    return hop.received() + added + closed(bytes(clean))


def closed(head: bytes) -> bytes:
    """A header block ends with its empty line, and a message without a body has a header block all the same."""
    if head.endswith(b"\r\n\r\n") or head == b"\r\n":
        return head
    return head.removesuffix(b"\r\n") + b"\r\n\r\n"


def logged_in(sender: Address | None, hostname: str) -> bytes:
    """What a mailbox here gets on top of a colleague's mail: Return-Path, and that its author had logged in."""
    return trace.return_path(sender) + results.compose_login(hostname, "")
