"""The state of one SMTP session and what its commands do to it (RFC 5321 4.1.4 for their order).

Knows who is connected, what was announced, which transaction is open; asks `delivery.types.Acceptor` whether mail is
wanted. Refuses to know sockets: a command answers with a `Step`, the reply and what the session does next.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import field, replace
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol

from core.clock import Clock
from core.config import Auth, Limits
from core.envelope import Listener, Peer, Tls
from core.errors import TemporaryError
from core.frozen import dataclass
from core.ids import Ids
from core.log import get
from core.status import Status, deferred
from core.tls import ServerTls
from core.waiting import Bounds
from delivery.types import Acceptor, Transaction
from directory import authentication
from directory.sasl import Challenge
from directory.types import LoggedIn
from smtp import replies
from smtp.gate import Gate
from smtp.parameters import Offers
from smtp.replies import Reply
from smtp.schedule import Terms
from smtp.turns import Turns

log = get(__name__)

SUBMISSION_DOORS = frozenset({Listener.SUBMISSION, Listener.SUBMISSIONS})
FOREVER = float("inf")
FINISH = 540.0  # seconds for delivery's answer: under the ten minutes a client waits (RFC 5321 4.5.3.2.6)
UNAVAILABLE = deferred("Temporary failure, try again later", "unavailable")


class Then(Enum):
    """What the session does after the reply went out."""

    NEXT = "next"  # read the next command
    DATA = "data"  # read a message
    CHUNK = "chunk"  # read the octets that BDAT announced, whatever the reply is
    STARTTLS = "starttls"
    AUTH = "auth"  # the next line belongs to the authentication exchange
    CLOSE = "close"


class Blame(Enum):
    """How a refusal counts against the peer."""

    NONE = "none"
    ERROR = "error"
    LOGIN = "login"
    RECIPIENT = "recipient"
    JUNK = "junk"  # nobody's mistake, and it leads nowhere: counts with NOOP and its like


@dataclass(frozen=True, slots=True)
class Chunk:
    """What BDAT announced (RFC 3030 2)."""

    size: int
    last: bool


@dataclass(frozen=True, slots=True)
class Step:
    reply: Reply
    then: Then = Then.NEXT
    blame: Blame = Blame.NONE
    chunk: Chunk | None = None


class Logins(authentication.Logins, Protocol):
    """What a session asks of the directory."""

    async def still_open(self, login: LoggedIn) -> bool:
        """False once the account is suspended or its password another one (row 117)."""


@dataclass(frozen=True, slots=True)
class Pending:
    """An authentication exchange that waits for the client's answer to `challenge`."""

    exchange: authentication.Authentication
    challenge: Challenge


@dataclass(frozen=True, slots=True)
class Service:
    """What all sessions of one listener share. `tls` None: no TLS at all (tests). `logins` None: no AUTH."""

    hostname: str
    role: Listener
    limits: Limits
    auth: Auth
    acceptor: Acceptor
    ids: Ids
    clock: Clock
    gate: Gate
    tls: ServerTls | None = None
    logins: Logins | None = None
    proxy_from: tuple[IPv4Network | IPv6Network, ...] = ()  # balancers that say who is behind them
    turns: Turns = field(default_factory=Turns)
    finishing: Bounds = field(default_factory=lambda: Bounds(FINISH), compare=False)
    greetings: dict[bool, Step] = field(
        default_factory=dict, init=False, compare=False
    )  # to EHLO, with and without TLS

    offers: dict[tuple[bool, bool], Offers] = field(
        default_factory=dict, init=False, compare=False
    )  # to those with EHLO or without, under TLS or not

    submission: bool = field(init=False, compare=False)
    exempt: tuple[IPv4Network | IPv6Network, ...] = field(init=False, compare=False)  # `limits.exempt`

    def __post_init__(self) -> None:
        object.__setattr__(self, "submission", self.role in SUBMISSION_DOORS)
        object.__setattr__(self, "exempt", self.limits.exempt_networks)

    @property
    def recipients_limit(self) -> int:
        return self.limits.recipients_submission if self.submission else self.limits.recipients_mx


@dataclass(slots=True)
class Conversation:
    """`peer` is replaced as the session learns more; `transaction` is None between messages; `attempted` counts RCPT
    of the open transaction, refused ones too, `taken` those that were accepted, each time (RFC 2033 4.2)."""

    service: Service
    peer: Peer
    greeted: bool = False
    transaction: Transaction | None = None
    attempted: int = 0
    taken: int = 0
    chunking: bool = False  # the open transaction's message comes by BDAT
    mail_seen: bool = False
    ends: float = FOREVER  # when the time of the open transaction is over (monotonic)
    exchange: Pending | None = None
    messages: int = 0
    commands: int = 0
    login: LoggedIn | None = None
    certificate: bytes = field(default=b"", repr=False)  # the client's verified one (DER), b"" without
    seat: str = ""  # the account whose place this session has; before login it counts for its address

    @property
    def offers(self) -> Offers:
        key = self.peer.extended, self.peer.tls is not None
        offers = self.service.offers.get(key)
        if offers is None:
            offers = Offers(*key, self.service.limits.message_octets, auth=self.offers_auth, terms=self.terms)
            if not self.service.submission:  # there it depends on the hour
                self.service.offers[key] = offers
        return offers

    @property
    def terms(self) -> Terms | None:
        """Time and priority are for our own people to choose."""
        if not self.service.submission:
            return None
        limits = self.service.limits
        return Terms(self.service.clock.now(), limits.future_release, limits.deliver_by_minimum)

    @property
    def offers_auth(self) -> bool:
        return self.service.submission and self.service.logins is not None and self.private

    @property
    def offers_tls(self) -> bool:
        return self.service.tls is not None and self.peer.tls is None

    @property
    def time_left(self) -> float:
        """Seconds that the open transaction may still take, below zero when its time is over; our own people's, and
        the time between transactions, have no end of this kind (security.md section 2; row 36)."""
        return self.ends - self.service.clock.monotonic() if self.ends < FOREVER else FOREVER

    @property
    def private(self) -> bool:
        """Whether a password may travel here: under TLS, or within the machine when the operator allows it."""
        if self.peer.tls is not None:
            return True
        return self.service.auth.plaintext_on_loopback and ip_address(self.peer.address).is_loopback

    def greet(self, helo: str, *, extended: bool) -> None:
        """HELO and EHLO begin anew but for TLS and login (RFC 5321 4.1.4)."""
        self.reset()
        self.greeted = True
        self.peer = self.peer.greeted(helo, extended=extended)

    def secured(self, tls: Tls | None, certificate: bytes = b"") -> None:
        """After STARTTLS nothing that was said before counts (RFC 3207 4.2; row 22)."""
        self.reset()
        self.greeted = False
        self.exchange = None
        self.certificate = certificate
        self.peer = replace(self.peer, helo="", extended=True, tls=tls, account_id=None)
        self.login = None

    @property
    def login_name(self) -> str:
        return str(self.login.account.address) if self.login is not None else ""

    def take_seat(self, login: LoggedIn) -> bool:
        """Before `logged_in`; False: too many sessions of this account."""
        account_id = login.account.id
        granted = self.service.gate.seat(account_id, self.peer.address, instead_of=self.seat)
        if granted:
            self.seat = account_id
        return granted

    def leave(self) -> None:
        """The session is over."""
        if self.seat:
            self.service.gate.unseat(self.seat)
        else:
            self.service.gate.leave(self.peer.address)

    def logged_in(self, login: LoggedIn) -> None:
        self.peer = replace(self.peer, account_id=login.account.id)
        self.login = login

    async def login_holds(self) -> bool:
        """Asked at each MAIL, so that a password that was changed or an account that was suspended sends nothing more
        (row 117). A login that is over is forgotten. Raises `TemporaryError`."""
        logins = self.service.logins
        if self.login is None or logins is None:
            return False
        if not await logins.still_open(self.login):
            self.peer = replace(self.peer, account_id=None)
            self.login = None
        return self.login is not None

    def open(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self.attempted = self.taken = 0
        self.chunking = False
        self.mail_seen = True
        if not self.service.submission:
            self.ends = self.service.clock.monotonic() + self.service.limits.transaction

    def reset(self) -> None:
        """Forget the envelope: after RSET, a greeting, and *every* final reply to a message (rows 11, 12)."""
        self.transaction = None
        self.ends = FOREVER
        self.attempted = self.taken = 0
        self.chunking = False


def stranger(talk: Conversation) -> Step | None:
    """Submission is for those who logged in, under TLS (RFC 3207 4; RFC 4954 6: 530 to every command that needs it)."""
    if not talk.service.submission:
        return None
    if not talk.private:
        return Step(replies.TLS_FIRST, blame=Blame.ERROR)
    if talk.greeted and talk.login is None:
        return Step(replies.AUTH_FIRST, blame=Blame.ERROR)
    return None


async def judged(decision: Awaitable[Status]) -> Status:
    """A decision of delivery; what is away becomes 451 (promise P6). Bare bugs go up to the session's last resort."""
    try:
        return await decision
    except TemporaryError as error:
        log.warning("smtp-unavailable", code=error.code, **error.fields)
        return UNAVAILABLE
