"""The SMTP envelope and who brought it. (IMAP's ENVELOPE is a `message.summary`, never this.)"""

from __future__ import annotations

from dataclasses import field
from enum import Enum
from typing import Literal

from core.address import Address
from core.frozen import dataclass


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

    def greeted(self, helo: str, *, extended: bool) -> Peer:
        """`dataclasses.replace` takes eight times as long, and every session asks for this."""
        return Peer(
            self.address,
            self.port,
            self.listener,
            self.connection,
            helo,
            self.hostname,
            self.tls,
            self.account_id,
            extended,
        )

    def named(self, hostname: str) -> Peer:
        """With its confirmed reverse name; likewise."""
        return Peer(
            self.address,
            self.port,
            self.listener,
            self.connection,
            self.helo,
            hostname,
            self.tls,
            self.account_id,
            self.extended,
        )


@dataclass(frozen=True, slots=True)
class Dsn:
    """What RFC 3461 lets a sender ask for one recipient: `notify` empty means the default; `original` is ORCPT."""

    notify: frozenset[str] = frozenset()
    original: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When and how urgently a message is to go. `release_at`: not before (RFC 4865), `hold` what was asked for, as a
    report tells it; `deliver_by` with `by_mode` "R" (return it then) or "N" (tell that it is late) and `by_trace`
    (RFC 2852); `priority` from -9 to 9 (RFC 6710). Times in Unix seconds, 0 when not asked for."""

    release_at: float = 0.0
    hold: str = ""
    deliver_by: float = 0.0
    by_mode: Literal["", "R", "N"] = ""
    by_trace: bool = False
    priority: int = 0


AT_ONCE = Schedule()


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
    schedule: Schedule = AT_ONCE
