"""The envelope of a finished transaction, as the rest of delivery reads it."""

from __future__ import annotations

from core.envelope import Envelope, Recipient
from delivery.types import Transaction


def envelope_of(transaction: Transaction, *, eight_bit: bool) -> Envelope:
    """`eight_bit`: what the octets say; BODY= is only a promise, and a next hop must be asked for what is true
    (RFC 6152 3)."""
    asked = transaction.parameters
    return Envelope(
        queue_id=transaction.queue_id,
        sender=transaction.sender,
        recipients=tuple(Recipient(address, dsn) for address, dsn in transaction.recipients),
        smtputf8=asked.smtputf8,
        body="8BITMIME" if eight_bit else "7BIT",
        ret=asked.ret,
        envid=asked.envid,
        require_tls=asked.require_tls,
        schedule=asked.schedule,
    )
