"""What TLS a target has to bring, put together: DANE before MTA-STS before opportunism; REQUIRETLS over all of them.

RFC 7672 2.2, RFC 8461 2 and 5, RFC 8689 3 and 4.2.1. Never clear text and never a lesser policy where one that binds
was found; a policy that cannot be learnt makes a target unusable where its absence cannot be trusted either.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import replace

from core.clock import Clock
from core.config import Config
from core.https import Https
from core.log import get
from core.resolver import Resolver, Tlsa
from core.status import Status, deferred, refused
from delivery.next_hop import Protocol, Route, RouteTls
from delivery.types import Job
from message.fields import value, walk
from smtp.outbound import dane, dane_lookup
from smtp.outbound.dialogue import Encryption
from smtp.outbound.mx import Target, public
from smtp.outbound.sts import Mode, StsPolicy
from smtp.outbound.sts_cache import StsCache
from smtp.outbound.sts_source import StsSource
from smtp.outbound.tls_policy import Opportunistic, TlsPolicy
from smtp.outbound.tls_results import Applied, PolicyKind, Session, TlsResults

TLSA_UNKNOWN = deferred("The TLSA records of the server could not be looked up", "tlsa-unknown", "4.7.5")
MX_NOT_ALLOWED = deferred("The server is none that the domain's MTA-STS policy names", "sts-mx-not-allowed", "4.7.5")
UNNAMED = refused("TLS is required and the server's name is not authenticated", "requiretls-unnamed", "5.7.10")

_log = get(__name__)


class Policies:
    """`results` hears of what fails before a connection is tried; sessions themselves are the agent's to tell."""

    def __init__(
        self, resolver: Resolver, sts: StsSource, basis: Opportunistic, results: TlsResults, clock: Clock
    ) -> None:
        self._resolver = resolver
        self._sts = sts
        self._basis = basis
        self._results = results
        self._clock = clock

    @classmethod
    def create(cls, config: Config, resolver: Resolver, results: TlsResults, clock: Clock) -> Policies:
        """As the suite runs it. Raises `OSError` when `delivery.ca_file` cannot be read."""
        basis = Opportunistic(config.delivery.ca_file)
        private = config.delivery.allow_private
        https = Https(resolver, basis.verified, lambda address: private or public(address))
        sts = StsSource(resolver, https, StsCache(config.sts_dir), clock, port=config.delivery.mta_sts_port)
        return cls(resolver, sts, basis, results, clock)

    async def close(self) -> None:
        await self._sts.close()

    async def policy(self, job: Job, target: Target) -> TlsPolicy | Status:
        domain = job.next_hop if not job.static else target.host
        none = Applied(PolicyKind.NONE, domain)
        if target.route is not None and (wanted := self._routed(job, target.route)) is not None:
            return replace(wanted, applied=none)
        if not job.require_tls and waived(job):
            return self._basis.offered  # and not counted: RFC 8460 3 keeps the reports' own sessions out of reports
        found = await dane_lookup.lookup(self._resolver, target)
        if isinstance(found, dane_lookup.TlsaFailed):
            self._failed(domain, Applied(PolicyKind.TLSA, found.base), target, "dnssec-invalid", "tlsa-unknown")
            return TLSA_UNKNOWN
        if found is not None:
            return self._dane(job, domain, target, found)
        if not job.static:
            held = await self._by_sts(job, domain, target)
            if held is not None:
                return held
        if not job.require_tls:
            return replace(self._basis.offered, applied=none)
        # RFC 8689 4.2.1: verified, and against a name that DNSSEC or MTA-STS vouches for; a route's is the operator's.
        named = job.static or target.named
        return replace(self._basis.required, applied=none) if named else UNNAMED

    def _routed(self, job: Job, route: Route) -> TlsPolicy | None:
        """What the operator asks of a route; None: as of any other server. A password goes over verified TLS only,
        unless he wrote otherwise."""
        basis = self._basis
        if job.require_tls or route.tls is RouteTls.VERIFY:
            return basis.required
        if route.tls is RouteTls.ENCRYPT:
            return TlsPolicy(Encryption.REQUIRED, basis.unverified, "encrypt")
        if route.tls is RouteTls.NONE:
            return basis.clear
        if route.tls is RouteTls.MAY:
            return basis.offered
        return basis.required if route.user or route.protocol is Protocol.SMTPS else None

    # --- DANE ----------------------------------------------------------------------------------------------------

    def _dane(self, job: Job, domain: str, target: Target, found: dane_lookup.TlsaFound) -> TlsPolicy | Status:
        records = dane.usable(found.records)
        applied = Applied(PolicyKind.TLSA, found.base, tuple(_text(record) for record in found.records))
        if records:
            names = (found.base, domain) if found.base != domain else (domain,)
            judge = functools.partial(self._judge, records, names)
            label = "dane:" + hashlib.sha256(repr((records, names)).encode()).hexdigest()[:16]
            return TlsPolicy(
                Encryption.REQUIRED, self._basis.unverified, label, name=found.base, judge=judge, applied=applied
            )
        self._failed(domain, applied, target, "tlsa-invalid", "tlsa-unusable")
        # RFC 7672 2.2: records nobody can use still say that there is TLS; who is there they do not say.
        if job.require_tls:
            return replace(self._basis.required, applied=applied)
        return TlsPolicy(Encryption.REQUIRED, self._basis.unverified, "dane-unusable", name=found.base, applied=applied)

    def _judge(self, records: Sequence[Tlsa], names: Sequence[str], chain: Sequence[bytes]) -> str:
        return dane.mismatch(records, chain, names, self._clock.now())

    # --- MTA-STS -------------------------------------------------------------------------------------------------

    async def _by_sts(self, job: Job, domain: str, target: Target) -> TlsPolicy | Status | None:
        state = await self._sts.state(domain)
        if state.fault:
            self._failed(domain, Applied(PolicyKind.STS, domain), target, state.fault, state.fault)
        if state.policy is None:
            return None
        policy = state.policy
        applied = Applied(PolicyKind.STS, domain, policy.lines, policy.patterns)
        if not policy.allows(target.host):
            return self._not_allowed(job, policy, applied, target)
        verified = replace(self._basis.required, label="sts", applied=applied)
        if policy.mode is Mode.ENFORCE or job.require_tls:
            return verified
        # RFC 8461 5: testing tells and changes nothing. What was not verified is then as it would have been.
        lesser = replace(self._basis.offered, applied=Applied(PolicyKind.NONE, domain))
        return replace(verified, label="sts-testing", fallback=lesser)

    def _not_allowed(self, job: Job, policy: StsPolicy, applied: Applied, target: Target) -> TlsPolicy | Status:
        self._failed(policy.domain, applied, target, "validation-failure", "sts-mx-not-allowed")
        if policy.mode is Mode.ENFORCE:
            return MX_NOT_ALLOWED
        if job.require_tls:
            return replace(self._basis.required, applied=applied) if target.named else UNNAMED
        return replace(self._basis.offered, applied=applied)

    def _failed(self, domain: str, applied: Applied, target: Target, failure: str, reason: str) -> None:
        _log.warning("tls-policy-failed", domain=domain, host=target.host, policy=applied.kind.value, reason=reason)
        self._results.note(Session(domain, applied, target.host, target.address, "", failure, reason))


def waived(job: Job) -> bool:
    """RFC 8689 3: the sender would rather have this message arrive than be protected (it reports broken TLS, say)."""
    for name, raw in walk(job.content.head):
        if name.lower() == b"tls-required":
            return value(raw).strip().lower() == b"no"
    return False


def _text(record: Tlsa) -> str:
    return f"{record.usage} {record.selector} {record.matching} {record.data.hex()}"[:1024]
