"""The delivery agent for the outside world: targets, attempts in their order, one result per recipient.

Implements `delivery.types.DeliveryAgent`. What is ordinary never raises. A recipient that was refused for now at one
server is offered to the next; after a whole message was sent and its answer lost, only the queue may try again.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from core.clock import Clock, SystemClock
from core.config import Config, parse_endpoint
from core.log import get
from core.networks import plain_address
from core.resolver import Resolver
from core.status import Status, deferred, refused
from delivery.next_hop import Routes
from delivery.types import Job, JobRecipient, Result, ResultKind
from message.content import Content
from smtp.outbound.arguments import Capabilities
from smtp.outbound.connection import Broken, Caller, Connection, manner, read
from smtp.outbound.dialogue import Answers, Gone, NoLogin, NoTls, Refused, transaction
from smtp.outbound.egress import Egress
from smtp.outbound.mx import MxResolver, Target
from smtp.outbound.pool import Pool, spent
from smtp.outbound.reply_parser import RemoteReply
from smtp.outbound.requirements import is_eight_bit
from smtp.outbound.results import from_answer, from_status, session_refused, unreachable
from smtp.outbound.stuffing import BareLineEnd
from smtp.outbound.tls_policies import Policies
from smtp.outbound.tls_policy import TlsPolicies, TlsPolicy
from smtp.outbound.tls_results import Session, TlsResults, Uncounted

log = get(__name__)

MAX_ATTEMPTS = 10  # targets per job
REMEMBERED = 1000  # servers that do not pipeline though they say so, or cannot read who submitted
DEADLINE = 3600.0  # seconds per job, whatever the peers do

NO_TLS = deferred("TLS is required and the server does not offer it", "no-tls", "4.7.10")
NO_LOGIN = deferred("The server offers no login that we know", "no-login", "4.7.8")
BARE_LINE_END = refused("Message holds bare CR or LF", "bare-line-end", "5.6.0", 554)
BAD_ROUTE = deferred("The route to this destination is misconfigured", "bad-route", "4.3.5")
TIME_OVER = deferred("The answer to the whole message did not come in time", "timeout-final", "4.4.2")
TOO_LONG = deferred("Delivery took too long", "delivery-deadline", "4.4.7")
BUG = deferred("Internal error", "bug", "4.3.0")


@dataclass(slots=True)
class Progress:
    """What is known of a job so far: for each recipient what tells most of the servers asked."""

    job: Job
    results: dict[int, Result] = field(default_factory=dict)
    stop: bool = False

    @property
    def open(self) -> tuple[JobRecipient, ...]:
        """Who may still be offered to another server: whom none of them took or refused for good in its own words."""
        if self.stop:
            return ()
        return tuple(
            recipient
            for recipient in self.job.recipients
            if (known := self.results.get(recipient.id)) is None or known.kind is ResultKind.DEFERRED or _ours(known)
        )

    def note(self, result: Result) -> None:
        """A server's own word stands over another server that could not be asked, and that over one which lacks what
        the message needs: a backup host that is down or less able hides nothing and makes nothing final."""
        known = self.results.get(result.recipient_id)
        if known is None or _telling(result) >= _telling(known):
            self.results[result.recipient_id] = result

    @property
    def told(self) -> list[Result]:
        """In the order of the recipients, as far as known."""
        return [self.results[recipient.id] for recipient in self.job.recipients if recipient.id in self.results]

    @property
    def heard(self) -> list[Result]:
        """What servers said, and who may have the message though none said so. The rest is as if it was not tried."""
        return [result for result in self.told if self.stop or not _ours(result)]

    def all(self, recipients: Sequence[JobRecipient], status: Status, host: str = "") -> None:
        for recipient in recipients:
            self.note(from_status(recipient, status, host))


class SmtpAgent:
    """`close` ends the idle connections; `policies` are closed with them."""

    def __init__(
        self,
        caller: Caller,
        mx: MxResolver,
        policies: TlsPolicies,
        *,
        pool: Pool | None = None,
        results: TlsResults | None = None,
        routes: Routes | None = None,
        egress: Egress | None = None,
        deadline: float = DEADLINE,
        clock: Clock | None = None,
    ) -> None:
        self._caller = caller
        self._mx = mx
        self._policies = policies
        self._pool = pool or Pool()
        self._results = results or Uncounted()
        self._routes = routes or Routes({})
        self._egress = egress or Egress(SystemClock())
        self._deadline = deadline
        self._clock = clock or SystemClock()
        self._stepwise: OrderedDict[str, None] = OrderedDict()  # addresses whose PIPELINING is none
        self._unnamed: OrderedDict[str, None] = OrderedDict()  # and those that cannot read who submitted

    @classmethod
    def create(cls, config: Config, resolver: Resolver, clock: Clock, results: TlsResults) -> SmtpAgent:
        """As the suite runs it; `results` stays the caller's."""
        mx = MxResolver(
            resolver,
            port=config.delivery.port,
            ours=our_mx(config.listen.mx),
            allow_private=config.delivery.allow_private,
            shuffle=random.SystemRandom().shuffle,
        )
        caller = Caller(config.hostname, tuple(config.delivery.bind))
        policies = Policies.create(config, resolver, results, clock)
        routes = Routes(config.delivery.routes)
        return cls(caller, mx, policies, results=results, routes=routes, egress=Egress(clock), clock=clock)

    async def close(self) -> None:
        await self._pool.close()
        await self._policies.close()

    async def deliver(self, job: Job) -> list[Result]:
        """Cancelled: the results of those whose answer came until then, or was about to; else raises."""
        progress = Progress(job)
        try:
            async with asyncio.timeout(self._deadline):
                await self._deliver(progress)
        except TimeoutError:
            log.warning("smtp-delivery-deadline", queue_id=job.queue_id, next_hop=job.next_hop)
        except asyncio.CancelledError:
            if not progress.heard:
                raise
            return progress.heard
        except Exception:  # the last resort of one job: the others go on, this one is tried again
            log.exception("smtp-delivery-bug", queue_id=job.queue_id, next_hop=job.next_hop)
            progress.all([r for r in job.recipients if r.id not in progress.results], BUG)
        progress.all([r for r in job.recipients if r.id not in progress.results], TOO_LONG)
        return progress.told

    async def _deliver(self, progress: Progress) -> None:
        job = progress.job
        targets = await self._targets(job)
        if isinstance(targets, Status):
            progress.all(job.recipients, targets)
            return
        for target in targets[:MAX_ATTEMPTS]:
            if not progress.open:
                return
            await self._attempt(progress, target)

    async def _targets(self, job: Job) -> list[Target] | Status:
        if not job.static:
            return await self._mx.targets(job.next_hop)
        try:
            route = self._routes.route(job.next_hop)
        except ValueError:
            return BAD_ROUTE
        return await self._mx.fixed(route)

    async def _attempt(self, progress: Progress, target: Target) -> None:
        """One server; whatever it comes to is noted for everybody who is still open."""
        recipients = waiting = progress.open
        policy = await self._policies.policy(progress.job, target)
        if isinstance(policy, Status):
            progress.all(recipients, policy, target.host)
            return
        while waiting and not progress.stop:
            waiting = await self._call(progress, waiting, target, policy)
        self._log(progress, recipients, target)

    async def _call(
        self, progress: Progress, recipients: tuple[JobRecipient, ...], target: Target, policy: TlsPolicy
    ) -> tuple[JobRecipient, ...]:
        """One connection. Whom it left to the next: the server wants no more of this one (RFC 9422), or it was kept
        from before and is gone."""
        try:
            connection = await self._connect(progress.job, target, policy)
        except Broken as error:
            progress.all(recipients, unreachable(target.host, target.address, error.reason), target.host)
        except Refused as error:
            progress.all(recipients, session_refused(error.reply), target.host)
        except NoTls:
            progress.all(recipients, NO_TLS, target.host)
        except NoLogin:
            progress.all(recipients, NO_LOGIN, target.host)
        else:
            return await self._transact(progress, recipients, connection)
        return ()

    async def _connect(self, job: Job, target: Target, policy: TlsPolicy) -> Connection:
        """Raises what the last policy's attempt raised."""
        while True:
            kept = self._pool.take(target, policy.label)
            if kept is not None:
                return kept
            try:
                connection = await Connection.open(self._caller, target, policy)
            except NoTls:
                self._tell(job, target, policy, "starttls-not-supported", "no-tls")
                if policy.fallback is None:
                    raise
            except Broken as error:
                if error.reason in ("connect-failed", "connect-timeout") and not job.static:
                    self._egress.failed(target.address)
                if error.tls:
                    self._tell(job, target, policy, error.failure, error.reason)
                if not error.tls or policy.fallback is None or error.reason == "injected-reply":
                    raise
            else:
                self._egress.connected(target.address)
                failure = "" if connection.tls else "starttls-not-supported"
                self._tell(job, target, policy, failure, failure, connection.source)
                return connection
            policy = policy.fallback

    def _tell(self, job: Job, target: Target, policy: TlsPolicy, failure: str, reason: str, source: str = "") -> None:
        if policy.applied is not None:
            domain = target.host if job.static else job.next_hop
            self._results.note(Session(domain, policy.applied, target.host, target.address, source, failure, reason))

    async def _transact(
        self, progress: Progress, recipients: tuple[JobRecipient, ...], connection: Connection
    ) -> tuple[JobRecipient, ...]:
        answers: Answers = {}
        target = connection.target
        reusable, later = False, recipients[:0]
        try:
            reusable, later = await self._send(progress.job, recipients, connection, answers)
            missing = unreachable(target.host, target.address, "bad-dialogue")
        except Broken as error:
            progress.stop = error.uncertain
            missing = unreachable(target.host, target.address, error.reason)
        except BareLineEnd:
            progress.stop = True  # the fault is the message's
            missing = BARE_LINE_END
        except asyncio.CancelledError:  # the job's time is over: who has the message in an earlier transaction has it
            progress.stop = progress.stop or connection.cancelled
            _note(progress, recipients, answers, connection, TIME_OVER if connection.cancelled else None)
            raise
        finally:
            self._part(connection, reusable)
        put_off = {recipient.id for recipient in later}
        asked = [recipient for recipient in recipients if recipient.id not in put_off]
        _note(progress, asked, answers, connection, missing)
        if connection.cancelled:
            raise asyncio.CancelledError
        return later

    async def _send(
        self, job: Job, recipients: tuple[JobRecipient, ...], connection: Connection, answers: Answers
    ) -> tuple[bool, tuple[JobRecipient, ...]]:
        """In one transaction, or in as many as the server's RCPTMAX asks for, as long as its MAILMAX lets them begin on
        this connection (RFC 9422 3), or as its 452 asks for. Whether the connection is good for more, and whom to offer
        it on another."""
        most = connection.capabilities.limit("RCPTMAX") or len(recipients)
        connection.cancelled = False  # who was, had it before
        good, waiting = True, recipients
        while good and waiting and not connection.cancelled and (waiting is recipients or not spent(connection)):
            try:
                good = await self._send_part(job, waiting[:most], connection, answers)
            except Gone:
                return False, waiting
            except Broken:
                if connection.proven or connection.uses == 1:
                    raise
                return False, waiting
            waiting = (*_left_over(waiting[:most], answers), *waiting[most:])
        return good, waiting if good else ()

    async def _send_part(
        self, job: Job, recipients: tuple[JobRecipient, ...], connection: Connection, answers: Answers
    ) -> bool:
        again, connection.uses = connection.uses > 0, connection.uses + 1
        offered: Capabilities = connection.capabilities
        address = connection.target.address
        if address in self._stepwise:
            offered = offered.without("PIPELINING")
        eight_bit = "8BITMIME" not in offered and await asyncio.to_thread(is_eight_bit, job.content)
        size = await _size(job.content) if "SIZE" in offered else 0
        ways = manner(connection.target.route)
        talk = transaction(
            job, recipients, offered, answers, eight_bit=eight_bit, lmtp=ways.lmtp, now=self._clock.now(), again=again,
            known=bool(ways.user) and address not in self._unnamed, size=size,
            once_more=lambda: self._once_more(connection),
        )  # fmt: skip
        try:
            return await connection.drive(talk, job.content)
        except Broken as error:
            if "PIPELINING" in offered and error.reason in ("timeout-rcpt", "timeout-data"):
                # It answered MAIL and nothing of what came in the same packet: firewalls repeat a server's PIPELINING
                # and let one command at a time pass. The next attempt waits for each answer.
                _remember(self._stepwise, address)
            raise

    def _once_more(self, connection: Connection) -> bool:
        """Who submitted could not be read: the next MAIL does not say so, and counts like any other (RFC 9422 3)."""
        _remember(self._unnamed, connection.target.address)
        if spent(connection):
            return False
        connection.uses += 1
        return True

    def _part(self, connection: Connection, reusable: bool) -> None:
        if reusable:
            self._pool.give(connection)
        else:
            connection.close()

    def _log(self, progress: Progress, recipients: tuple[JobRecipient, ...], target: Target) -> None:
        kinds = [progress.results[recipient.id].kind for recipient in recipients if recipient.id in progress.results]
        log.info(
            "smtp-attempt",
            queue_id=progress.job.queue_id,
            host=target.host,
            address=target.address,
            port=target.port,
            **{kind.value: kinds.count(kind) for kind in ResultKind},
        )


def _note(
    progress: Progress,
    recipients: Sequence[JobRecipient],
    answers: Answers,
    connection: Connection,
    missing: Status | None,
) -> None:
    """`missing`: of those without an answer; None: nothing is known of them."""
    for recipient in recipients:
        answer = answers.get(recipient.id, missing)
        if answer is not None:
            progress.note(from_answer(recipient, answer, connection.target.host, connection.capabilities))


async def _size(content: Content) -> int:
    """RFC 1870 5: the octets that will be sent, without stuffed dots and the final one. What came in chunks (RFC 3030)
    may end without the line end that stands before the dot."""
    ended = content.size == 0 or await read(content, max(content.size - 2, 0), content.size) == b"\r\n"
    return content.size if ended else content.size + 2


def _remember(addresses: OrderedDict[str, None], address: str) -> None:
    """What a server turned out to be; the oldest are forgotten."""
    addresses[address] = None
    while len(addresses) > REMEMBERED:
        addresses.popitem(last=False)


def _left_over(part: Sequence[JobRecipient], answers: Answers) -> tuple[JobRecipient, ...]:
    """RFC 5321 4.5.3.1.10: whom a server had no room for beside others it takes in the next transaction. It takes one
    at least each time, or there is no next."""
    replies = [(recipient, answers.get(recipient.id)) for recipient in part]
    if not any(isinstance(reply, RemoteReply) and reply.ok for _, reply in replies):
        return ()
    return tuple(
        recipient
        for recipient, reply in replies
        if isinstance(reply, RemoteReply) and reply.code == 452 and reply.enhanced in ("", "4.5.3")
    )


def _ours(result: Result) -> bool:
    """Whether it is our judgement of a server rather than its word about a recipient."""
    return not result.diagnostic


def _telling(result: Result) -> int:
    if not _ours(result):
        return 2
    return 1 if result.kind is ResultKind.DEFERRED else 0


def our_mx(endpoints: Sequence[str]) -> Callable[[str, int], bool]:
    """Whether an address and port is one at which we listen as MX; a wildcard listens at every local address."""
    listening = [(plain_address(address), port) for address, port in map(parse_endpoint, endpoints)]

    def ours(address: str, port: int) -> bool:
        return any(
            port == our_port and (address == our_address or (our_address in ("0.0.0.0", "::") and is_local(address)))
            for our_address, our_port in listening
        )

    return ours


def is_local(address: str) -> bool:
    """Whether a packet to `address` would stay on this machine: only a local address can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
