"""ENVELOPE: the summary IMAP clients list a mailbox from, in its wire form (RFC 9051 7.5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from core.config import Limits
from message.address_list import KNOWN, SHORT, Entry, Kind, parse, parse_fields
from message.header import LIMITS, Head
from message.wire import nstring, string

_NO_ADDRESS = b"NIL"


def envelope(head: Head, limits: Limits = LIMITS) -> bytes:
    """(date subject from sender reply-to to cc bcc in-reply-to message-id).

    Several fields of one name: addresses are joined, of the others the last counts. Sender and Reply-To stand in for
    themselves with From when they are absent or empty, as RFC 9051 7.5.2 demands.
    """
    author, there = _addresses(head, b"from", limits), head.named
    return b"(%b)" % b" ".join(
        (
            nstring(_last(head, b"date")),
            nstring(_folded(_last(head, b"subject"))),
            author,
            _or(_addresses(head, b"sender", limits), author) if b"sender" in there else author,
            _or(_addresses(head, b"reply-to", limits), author) if b"reply-to" in there else author,
            _addresses(head, b"to", limits),
            _addresses(head, b"cc", limits) if b"cc" in there else _NO_ADDRESS,
            _addresses(head, b"bcc", limits) if b"bcc" in there else _NO_ADDRESS,
            nstring(_last(head, b"in-reply-to")) if b"in-reply-to" in there else b"NIL",
            nstring(_last(head, b"message-id")),
        )
    )


def _last(head: Head, name: bytes) -> bytes | None:
    values = head.values(name)
    return values[-1] if values else None


def _folded(value: bytes | None) -> bytes | None:
    return None if value is None else b" ".join(value.split())


def _or(addresses: bytes, otherwise: bytes) -> bytes:
    return otherwise if addresses == _NO_ADDRESS else addresses


def _addresses(head: Head, name: bytes, limits: Limits) -> bytes:
    values = head.values(name)
    if not values:
        return _NO_ADDRESS
    if len(values) == 1 and len(values[0]) <= SHORT:
        return _known(values[0], limits.addresses_per_field)
    return _list(parse_fields(head, name, limits))


@lru_cache(KNOWN)
def _known(value: bytes, most: int) -> bytes:
    return _list(parse(value, room=most))


def _list(entries: Sequence[Entry]) -> bytes:
    return b"(%b)" % b"".join(map(_address, entries)) if entries else _NO_ADDRESS


def _address(entry: Entry) -> bytes:
    """(name adl mailbox host). A group starts with a NIL host and ends with a NIL mailbox as well; the words for what
    is missing are those that clients know from Dovecot."""
    if entry.kind is Kind.END:
        return b"(NIL NIL NIL NIL)"
    if entry.kind is Kind.GROUP:
        return b"(NIL NIL %b NIL)" % string(entry.local or b"")
    local = b"MISSING_MAILBOX" if entry.local is None else entry.local
    domain = b"MISSING_DOMAIN" if entry.domain is None else entry.domain
    return b"(%b %b %b %b)" % (nstring(entry.name), nstring(entry.route), string(local), string(domain))
