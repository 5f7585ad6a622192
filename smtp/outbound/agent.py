"""The delivery agent for the outside world: targets, attempts in their order, one result per recipient.

Implements `delivery.types.DeliveryAgent`. What is ordinary never raises. A recipient that was refused for now at one
server is offered to the next; after a whole message was sent and its answer lost, only the queue may try again.
"""

from __future__ import annotations

import asyncio
import random

from core.clock import Clock, SystemClock
from core.config import Config
from core.log import get
from core.resolver import Resolver
from core.status import Status, deferred, refused
from delivery.next_hop import Routes
from delivery.types import Job, JobRecipient, Result, ResultKind
from smtp.outbound.connection import Broken, Caller, Connection
from smtp.outbound.dialogue import Answers, NoLogin, NoTls, Refused
from smtp.outbound.egress import Egress
from smtp.outbound.mx import MxResolver, Target
from smtp.outbound.ours import our_mx
from smtp.outbound.pool import Pool
from smtp.outbound.progress import Progress
from smtp.outbound.results import session_refused, unreachable
from smtp.outbound.sending import Sender
from smtp.outbound.stuffing import BareLineEnd
from smtp.outbound.tls_policies import Policies
from smtp.outbound.tls_policy import TlsPolicies, TlsPolicy
from smtp.outbound.tls_results import Session, TlsResults, Uncounted

log = get(__name__)

MAX_ATTEMPTS = 10  # targets per job
DEADLINE = 3600.0  # seconds per job, whatever the peers do

NO_TLS = deferred("TLS is required and the server does not offer it", "no-tls", "4.7.10")
NO_LOGIN = deferred("The server offers no login that we know", "no-login", "4.7.8")
BARE_LINE_END = refused("Message holds bare CR or LF", "bare-line-end", "5.6.0", 554)
BAD_ROUTE = deferred("The route to this destination is misconfigured", "bad-route", "4.3.5")
TIME_OVER = deferred("The answer to the whole message did not come in time", "timeout-final", "4.4.2")
TOO_LONG = deferred("Delivery took too long", "delivery-deadline", "4.4.7")
BUG = deferred("Internal error", "bug", "4.3.0")


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
        self._sender = Sender(clock or SystemClock())
        self._running: set[asyncio.Future[None]] = set()  # one for each delivery, done when that has ended

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

    async def retire(self) -> None:
        """Close once the last delivery that runs has ended; also when it is cancelled."""
        try:
            while self._running:
                await asyncio.wait(set(self._running))
        finally:
            await self.close()

    async def deliver(self, job: Job) -> list[Result]:
        """Cancelled: the results of those whose answer came until then, or was about to; else raises."""
        ended = asyncio.get_running_loop().create_future()
        self._running.add(ended)
        try:
            return await self._told(Progress(job))
        finally:
            self._running.discard(ended)
            ended.set_result(None)

    async def _told(self, progress: Progress) -> list[Result]:
        job = progress.job
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
            connection = await self._connect(progress.job, recipients[0].address.domain, target, policy)
        except Broken as error:
            progress.all(recipients, unreachable(target.host, target.address, error.reason, tls=error.tls), target.host)
        except Refused as error:
            progress.all(recipients, session_refused(error.reply), target.host)
        except NoTls:
            progress.all(recipients, NO_TLS, target.host)
        except NoLogin:
            progress.all(recipients, NO_LOGIN, target.host)
        else:
            return await self._transact(progress, recipients, connection)
        return ()

    async def _connect(self, job: Job, domain: str, target: Target, policy: TlsPolicy) -> Connection:
        """Raises what the last policy's attempt raised."""
        while True:
            kept = self._pool.take(target, policy.label, domain)
            if kept is not None:
                return kept
            try:
                connection = await Connection.open(self._caller, target, policy)
            except NoTls as error:
                self._tell(job, target, policy, "starttls-not-supported", "no-tls", error.source)
                if policy.fallback is None:
                    raise
            except Broken as error:
                if error.reason in ("connect-failed", "connect-timeout") and not job.static:
                    self._egress.failed(target.address)
                if error.tls:
                    self._tell(job, target, policy, error.failure, error.reason, error.source)
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
            reusable, later = await self._sender.send(progress.job, recipients, connection, answers)
            missing = unreachable(target.host, target.address, "bad-dialogue")
        except Broken as error:
            progress.stop = error.uncertain
            missing = unreachable(target.host, target.address, error.reason)
        except BareLineEnd:
            progress.stop = True  # the fault is the message's
            missing = BARE_LINE_END
        except asyncio.CancelledError:  # the job's time is over: who has the message in an earlier transaction has it
            progress.stop = progress.stop or connection.cancelled
            known = TIME_OVER if connection.cancelled else None
            progress.answered(recipients, answers, known, host=target.host, offered=connection.capabilities)
            raise
        finally:
            self._part(connection, reusable)
        put_off = {recipient.id for recipient in later}
        asked = [recipient for recipient in recipients if recipient.id not in put_off]
        progress.answered(asked, answers, missing, host=target.host, offered=connection.capabilities)
        if connection.cancelled:
            raise asyncio.CancelledError
        return later

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
