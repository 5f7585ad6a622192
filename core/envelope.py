"""The SMTP envelope and who brought it. (IMAP's ENVELOPE is a `message.summary`, never this.)"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from core.address import Address


class Listener(Enum):
    """The door a connection came through; its role, not its port number."""

    MX = "mx"
    SUBMISSION = "submission"
    SUBMISSIONS = "submissions"
    LMTP = "lmtp"
    LOCAL = "local"  # mail the suite itself makes: bounces, the demonstration's first message


@dataclass(frozen=True, slots=True)
class Tls:
    """What was negotiated: `version` as "TLSv1.3", `cipher` as OpenSSL names it, `bits` of the cipher."""

    version: str
    cipher: str
    bits: int


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is connected. `helo` is as sent (checked for control characters), `hostname` the confirmed reverse name or
    "", `account_id` the login on submission."""

    address: str
    port: int
    listener: Listener
    connection: str
    helo: str = ""
    hostname: str = ""
    tls: Tls | None = None
    account_id: str | None = None
    extended: bool = True  # EHLO rather than HELO: the "with" clause of Received (RFC 3848)


@dataclass(frozen=True, slots=True)
class Dsn:
    """What RFC 3461 lets a sender ask for one recipient: `notify` empty means the default; `original` is ORCPT."""

    notify: frozenset[str] = frozenset()
    original: str = ""


@dataclass(frozen=True, slots=True)
class Recipient:
    address: Address
    dsn: Dsn = field(default_factory=Dsn)


@dataclass(frozen=True, slots=True)
class Envelope:
    """`sender` None is the null reverse-path. `ret` and `envid` are RFC 3461's; `body` is "7BIT" or "8BITMIME"."""

    queue_id: str
    sender: Address | None
    recipients: tuple[Recipient, ...]
    smtputf8: bool = False
    body: str = "7BIT"
    ret: str = ""
    envid: str = ""
    require_tls: bool = False
