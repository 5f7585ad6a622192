"""The words of the way of a message: transaction, acceptor, reception, job, result."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import field
from enum import Enum
from typing import Literal, Protocol

from core.address import Address
from core.envelope import AT_ONCE, Dsn, Peer, Schedule
from core.frozen import dataclass
from core.status import Status
from message.content import Content

HoldName = Literal["administrator", "lock", "suspension", "removal"]
BINARY = "BINARYMIME"  # RFC 3030 3; what is accepted so is kept as lines all the same


@dataclass(frozen=True, slots=True)
class MailParameters:
    """What MAIL FROM asked for besides the path (RFC 5321 4.1.1.2 and its extensions). `auth`: whom AUTH= names as the
    submitter (RFC 4954 5), "" for nobody, None where nothing was said."""

    size: int = 0
    body: str = "7BIT"
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    require_tls: bool = False
    schedule: Schedule = AT_ONCE
    auth: str | None = None


@dataclass
class Transaction:
    """One mail transaction as the session builds it. `recipients` are those that were accepted at RCPT."""

    queue_id: str
    peer: Peer
    sender: Address | None
    parameters: MailParameters
    recipients: list[tuple[Address, Dsn]] = field(default_factory=list)


class Reception(Protocol):
    """One message on its way in: fed block by block after 354, ended by exactly one of `finish` and `abort`."""

    async def feed(self, block: bytes) -> None:
        """Octets of the message, dots unstuffed, CRLF lines only. Never raises: a failure (no space, header block
        too large) is kept, further blocks are dropped, and `finish` answers it."""

    async def finish(self) -> Status:
        """The whole message arrived. 250: it is durable and visible, or durably queued (promise P1). Else nobody
        gets it (P2)."""

    async def abort(self) -> None:
        """The peer went away or broke the framing: forget everything. Idempotent."""


class Acceptor(Protocol):
    """What a session asks while a transaction grows: implemented by `delivery.inbound` and `delivery.submission`."""

    async def sender(self, peer: Peer, address: Address | None, parameters: MailParameters) -> Status: ...

    async def recipient(self, transaction: Transaction, address: Address, dsn: Dsn) -> Status:
        """550 5.1.1 unknown, 452 over quota, 550 5.7.1 relay; an accepted one is the session's to append."""

    def begin(self, transaction: Transaction) -> Reception: ...


# --- outgoing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Job:
    """What an agent delivers: one message to recipients of one domain (or one next hop). `submitter`: who handed it in
    and was logged in, for AUTH= (RFC 4954 5); "" where nobody can be named."""

    queue_id: str
    sender: Address | None
    recipients: tuple[JobRecipient, ...]
    content: Content
    next_hop: str  # the domain whose MX is asked, or "host:port" of a static route
    static: bool = False
    smtputf8: bool = False
    body: str = "7BIT"
    ret: str = ""
    envid: str = ""
    require_tls: bool = False
    account_id: str | None = None
    schedule: Schedule = AT_ONCE
    local_prefix: bytes = b""  # header lines that only a final delivery here puts before the content
    submitter: str = ""


@dataclass(frozen=True, slots=True)
class JobRecipient:
    """`folder`: where a local delivery was to go, "" is the inbox; outside agents have no use for it."""

    id: int
    address: Address
    dsn: Dsn = field(default_factory=Dsn)
    attempts: int = 0
    folder: str = ""


class ResultKind(Enum):
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one recipient. `status` is ours or the remote's; `remote` is the host that said so, "" if none;
    `diagnostic` its reply text, one line, printable ASCII (RFC 3464 2.3.6)."""

    recipient_id: int
    kind: ResultKind
    status: Status
    remote: str = ""
    diagnostic: str = ""
    relayed_dsn: bool = False  # the next hop supports DSN and took over its duties (RFC 3461 5.2.1)
    relayed_by: bool = False  # the next hop took over the time limit (RFC 2852 4.1.4.1)
    final: bool = False  # it lies in a mailbox here: "delivered" rather than "relayed" (RFC 3464 2.3.3)


class DeliveryAgent(Protocol):
    """Delivers a job outside: implemented by `smtp.outbound.agent`, joined by `beffroi.wiring`. Never raises for what
    is ordinary; one result per recipient; bounded in time by its own timeouts."""

    async def deliver(self, job: Job) -> list[Result]: ...


# --- the queue's face for administrators -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """`state`: "waiting", "active", "delivered", "failed". Times in Unix seconds, 0.0: never. `remote`: the server that
    was asked last, `diagnostic` its own words."""

    address: str
    state: str
    attempts: int
    next_attempt: float
    last_status: str
    organisation_id: str = ""
    held: bool = False
    last_attempt: float = 0.0
    remote: str = ""
    diagnostic: str = ""


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """`sender` "" is the null sender; `organisation_id` is that of the account that sent or forwards it, or "";
    `held_by`: an administrator, a lock of the account's sending, the suspension of the account or its organisation,
    the removal of an account whose lock or suspension held it."""

    queue_id: str
    sender: str
    size: int
    created: float
    held: bool
    organisation_id: str
    recipients: tuple[QueuedRecipient, ...]
    schedule: Schedule = AT_ONCE
    held_by: tuple[HoldName, ...] = ()


@dataclass(frozen=True, slots=True)
class Picked:
    """Which of what is queued: recipients for whom each word that is not None holds. `sender` as `QueuedMessage` has
    it; `domain` of the recipient's address, "" for a mailbox here."""

    sender: str | None = None
    domain: str | None = None
    held: bool | None = None

    @property
    def text(self) -> str:
        """For the audit."""
        words = (("sender", self.sender), ("domain", self.domain), ("held", self.held))
        return " ".join(f"{name}={value}" for name, value in words if value is not None) or "all"


EVERYTHING = Picked()


Action = Literal["retry", "hold", "release", "drop"]
SHAPE_AGES = (5, 10, 20, 40, 80, 160, 320, 640, 1280)  # minutes


@dataclass(frozen=True, slots=True)
class QueueShape:
    """Recipients that wait for a domain, or of a sender: in all, and of messages younger than each of `SHAPE_AGES` but
    older than the one before; the last number is of older ones."""

    name: str
    total: int
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """One fact about one recipient of a message. `event`: "accepted" (it is to leave or waits), "delivered",
    "deferred", "failed", "dropped". `at` in Unix seconds; addresses without case; `message_id` without brackets, where
    the message was accepted; `remote`: the server that said `status`."""

    at: float
    queue_id: str
    event: str
    sender: str = ""
    recipient: str = ""
    organisation_id: str = ""
    message_id: str = ""
    status: str = ""
    remote: str = ""


@dataclass(frozen=True, slots=True)
class Vacation:
    """`starts` and `ends` in Unix seconds; `subject` "" is made of the message's own."""

    text: str
    subject: str = ""
    starts: float = 0.0
    ends: float = 0.0

    def covers(self, now: float) -> bool:
        return self.starts <= now < self.ends


class QueueAdministration(Protocol):
    """What the command line and the REST API do with the queue. `organisation_id` None: all; otherwise what belongs
    to another organisation raises `NotFoundError`."""

    async def list(
        self, organisation_id: str | None, *, limit: int = 1000, picked: Picked = EVERYTHING, after: str = ""
    ) -> list[QueuedMessage]:
        """Oldest first, with all their recipients that may be seen. `after`: the last queue id of the page before."""

    async def shape(self, organisation_id: str | None, by: Literal["domain", "sender"]) -> Sequence[QueueShape]:
        """The most first, at most 1,000."""

    async def act(self, organisation_id: str | None, picked: Picked, action: Action) -> int:
        """To all who are meant what `retry`, `hold`, `release` or `drop` does to a message, in parts; how many messages
        that were."""

    async def show(self, organisation_id: str | None, queue_id: str) -> QueuedMessage: ...

    async def retry(self, organisation_id: str | None, queue_id: str) -> None: ...

    async def hold(self, organisation_id: str | None, queue_id: str) -> None: ...

    async def release(self, organisation_id: str | None, queue_id: str) -> None: ...

    async def drop(self, organisation_id: str | None, queue_id: str) -> None:
        """Remove without a bounce."""

    async def unlock(self, account_id: str) -> bool:
        """Let an account send again whose sending was locked; False when it was not. The caller bounds whose it is."""

    async def locked(self, account_id: str) -> bool: ...

    async def suspend(self, account_ids: Collection[str]) -> None:
        """Hold what the accounts have in the queue, and what still comes of them. `delivery.standing` asks for it."""

    async def resume(self, account_ids: Collection[str]) -> None:
        """Let go what `suspend` holds; what is held for another reason stays."""

    async def orphan(self, account_ids: Collection[str]) -> None:
        """These accounts are gone: what a lock or a suspension holds of them is held for that, too, and returned when
        that lasted for a message's lifetime. What nothing holds goes on."""

    async def reclaim(self, account_ids: Collection[str]) -> None:
        """They are there: undo `orphan`."""

    async def forget(self, account_id: str) -> None:
        """Of an account that is gone: its absence, whom it wrote to. Its mail stays."""

    async def remembered(self) -> Collection[str]:
        """Ids of the accounts of which `forget` would forget something."""

    async def concerned(self) -> Collection[str]:
        """Ids of the accounts that have something in the queue, or are suspended there."""

    async def vacation(self, account_id: str) -> Vacation | None: ...

    async def set_vacation(self, account_id: str, vacation: Vacation | None) -> None:
        """None: none any more. A new absence tells everybody anew."""

    async def trace(self, organisation_id: str | None, text: str) -> Sequence[TraceEntry]:
        """What is known of messages by address, Message-ID or queue id, in the order it happened; at most 1,000
        entries of the newest 100 messages."""
