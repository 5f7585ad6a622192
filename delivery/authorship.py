"""In whose name is a submitted message? Exactly one readable From, and every name in it the sender's to use (row 51).

RFC 6409 6.1, RFC 5322 3.6.2. The rules are checked before anything is kept; the envelope sender has its own check.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.address import Address, AddressError
from core.config import Limits
from core.status import Status, refused
from directory.directory import Directory
from directory.types import Account
from message.address_list import FromDefect, Kind, from_domains, parse_fields, to_address
from message.header import Head

NOT_YOURS = refused("you may not send as this address", "sender-not-owned", "5.7.1", code=553)


@dataclass(frozen=True, slots=True)
class Authors:
    """`domain`: that of the first author, in whose name the message is signed. `names`: everyone it speaks for."""

    domain: str
    names: tuple[Address, ...]


def read_authors(head: Head, limits: Limits) -> Authors | Status:
    """From, and Sender when it is there; a `Status` when they cannot be read without doubt."""
    author = from_domains(head, limits)
    if author.defects or not author.addresses:
        defect = min((item.value for item in author.defects), default=FromDefect.SYNTAX.value)
        return refused("message must have exactly one From field with plain addresses", defect, "5.7.1")
    senders = _sender(head, limits)
    if senders is None:
        return refused("message must have at most one Sender field with one plain address", "bad-sender", "5.7.1")
    return Authors(author.addresses[0].domain, (*author.addresses, *senders))


def _sender(head: Head, limits: Limits) -> list[Address] | None:
    """RFC 5322 3.6.2: one mailbox, in one field. None: it cannot be read."""
    fields = list(head.all(b"sender"))
    if not fields:
        return []
    entries = parse_fields(head, b"sender", limits)
    if len(fields) != 1 or len(entries) != 1 or entries[0].kind is not Kind.ADDRESS or not entries[0].sound:
        return None
    try:
        return [to_address(entries[0])]
    except AddressError:
        return None


async def not_owned(directory: Directory, account: Account, names: Iterable[Address]) -> Address | None:
    """The first name that is not the account's to use; None when all are."""
    for name in names:
        if not await directory.may_send_as(account, name):
            return name
    return None
