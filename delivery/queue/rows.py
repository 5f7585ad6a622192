"""What goes into the queue and what comes out, as values; the mapping of rows to the words of `delivery.types`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from sqlalchemy import RowMapping

from core import address as addresses
from core.address import Address
from core.envelope import AT_ONCE, Dsn, Schedule
from core.frozen import dataclass
from delivery.queue.schema import Owed
from delivery.types import JobRecipient
from message.content import Content

Row = RowMapping | Mapping[str, Any]  # what the database gives: a seam


@dataclass(frozen=True, slots=True)
class NewRecipient:
    """`organisation_id`: whose administrators handle it. `local`: its mailbox is here. `leased`: the caller delivers it
    itself and then tells the result; should it die, the runner takes over when the lease is over. `via`: the domain of
    the alias that leads there, and `passed`: the recipient that led to it, both for `delivery.forward`. `forwarded`:
    its address is not the one that the sender wrote, which `dsn` then names. `expanded`: it is a list whose members
    stand beside it, and is only owed a notice."""

    address: Address
    organisation_id: str = ""
    dsn: Dsn = field(default_factory=Dsn)
    local: bool = False
    forwarded: bool = False
    folder: str = ""
    leased: bool = False
    wait: float = 0.0  # seconds until its first attempt
    via: str = ""
    passed: Address | None = None
    expanded: bool = False


@dataclass(frozen=True, slots=True)
class NewMessage:
    """`content` is kept as it is; `local_prefix` is put before it by a final delivery here only."""

    queue_id: str
    sender: Address | None
    content: Content
    recipients: tuple[NewRecipient, ...]
    account_id: str = ""
    smtputf8: bool = False
    body: str = "7BIT"
    ret: str = ""
    envid: str = ""
    require_tls: bool = False
    local_prefix: bytes = b""
    schedule: Schedule = AT_ONCE
    submitter: str = ""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message row. `created` in Unix seconds; `head_size` octets of its header block."""

    queue_id: str
    sender: Address | None
    account_id: str
    size: int
    head_size: int
    created: float
    smtputf8: bool
    body: str
    ret: str
    envid: str
    require_tls: bool
    local_prefix: bytes
    schedule: Schedule = AT_ONCE
    submitter: str = ""

    @property
    def begins(self) -> float:
        """When its time in the queue begins to count: not while its sender wants it held (RFC 4865 4.2)."""
        return max(self.created, self.schedule.release_at)


@dataclass(frozen=True, slots=True)
class StoredRecipient:
    """A recipient row, as the rules for results and reports need it."""

    id: int
    queue_id: str
    address: Address
    domain: str
    organisation_id: str
    dsn: Dsn
    forwarded: bool
    folder: str
    attempts: int
    last_attempt: float
    last_status: str
    remote: str
    diagnostic: str
    owed: Owed
    delay_told: bool

    def for_job(self) -> JobRecipient:
        return JobRecipient(self.id, self.address, self.dsn, self.attempts, self.folder)


def message_of(row: Row) -> StoredMessage:
    sender = str(row["sender"])
    return StoredMessage(
        queue_id=row["queue_id"],
        sender=addresses.parse(sender) if sender else None,
        account_id=row["account_id"],
        size=row["size"],
        head_size=row["head_size"],
        created=row["created"],
        smtputf8=row["smtputf8"],
        body=row["body"],
        ret=row["ret"],
        envid=row["envid"],
        require_tls=row["require_tls"],
        local_prefix=bytes(row["local_prefix"]),
        schedule=schedule_of(row),
        submitter=row["submitter"],
    )


def schedule_of(row: Row) -> Schedule:
    """Most messages have none, and share one value."""
    if not (row["release_at"] or row["deliver_by"] or row["priority"]):
        return AT_ONCE
    return Schedule(
        release_at=row["release_at"],
        hold=row["hold"],
        deliver_by=row["deliver_by"],
        by_mode=row["by_mode"],
        by_trace=row["by_trace"],
        priority=row["priority"],
    )


def recipient_of(row: Row) -> StoredRecipient:
    notify = frozenset(word for word in str(row["notify"]).split(",") if word)
    return StoredRecipient(
        id=row["id"],
        queue_id=row["queue_id"],
        address=addresses.parse(row["address"]),
        domain=row["domain"],
        organisation_id=row["organisation_id"],
        dsn=Dsn(notify, row["orcpt"]),
        forwarded=row["forwarded"],
        folder=row["folder"],
        attempts=row["attempts"],
        last_attempt=row["last_attempt"],
        last_status=row["last_status"],
        remote=row["remote"],
        diagnostic=row["diagnostic"],
        owed=Owed(row["owed"]),
        delay_told=row["delay_told"],
    )


def sender_text(sender: Address | None) -> str:
    return "" if sender is None else str(sender)
