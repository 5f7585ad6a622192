"""Which MTA-STS policy holds for a domain now: record, fetch, cache (RFC 8461 3.1, 3.3, 5.1, 10.2).

A policy that holds is kept through every failure of DNS and web server: who blocks them switches nothing off. A new
id is fetched before the next delivery; a policy that grows old is fetched again by the way, so that its life goes on.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from core.clock import Clock
from core.https import Https, HttpsFailed
from core.log import get
from core.resolver import Resolver
from smtp.outbound.sts import MAX_POLICY, Mode, PolicyFault, StsPolicy, read_policy, record_id
from smtp.outbound.sts_cache import StsCache

AGAIN = 300.0  # seconds after a failed fetch before the next one (RFC 8461 3.3)
REFRESH = 86_400.0  # seconds a policy is used before it is fetched anew although its id is the same
REMEMBERED = 10_000

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class StsState:
    """`policy` None: none holds. `fault`: what TLS reports say of a policy that could not be had, "" for nothing."""

    policy: StsPolicy | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _Failure:
    id: str
    until: float  # monotonic
    fault: str


class StsSource:
    """`port`: of the policy hosts, 443 but in tests. Owns `https`."""

    def __init__(self, resolver: Resolver, https: Https, cache: StsCache, clock: Clock, *, port: int = 443) -> None:
        self._resolver = resolver
        self._https = https
        self._cache = cache
        self._clock = clock
        self._port = port
        self._failures: OrderedDict[str, _Failure] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def close(self) -> None:
        await self._https.close()

    async def state(self, domain: str) -> StsState:
        """Never raises."""
        kept = self._cache.get(domain, self._clock.now())
        answer = await self._resolver.txt(f"_mta-sts.{domain}")
        id_ = record_id(answer.records)
        if not id_ or (kept is not None and not self._stale(kept, id_)):
            return StsState(kept if kept is None or kept.mode is not Mode.NONE else None)
        lock = self._locks.setdefault(domain, asyncio.Lock())
        try:
            async with lock:  # jobs for one domain fetch once
                return await self._renewed(domain, id_)
        finally:
            if not lock.locked():
                self._locks.pop(domain, None)

    def _stale(self, policy: StsPolicy, id_: str) -> bool:
        return policy.id != id_ or self._clock.now() - policy.fetched > min(REFRESH, policy.max_age / 2)

    async def _renewed(self, domain: str, id_: str) -> StsState:
        kept = self._cache.get(domain, self._clock.now())
        if kept is None or self._stale(kept, id_):
            failure = self._failures.get(domain)
            if failure is not None and failure.id == id_ and self._clock.monotonic() < failure.until:
                return StsState(_effective(kept), "" if kept else failure.fault)
            try:
                kept = await self._fetch(domain, id_)
            except PolicyFault as error:
                return self._failed(domain, id_, kept, "sts-policy-invalid", str(error))
            except HttpsFailed as error:
                fault = "sts-webpki-invalid" if error.reason == "certificate" else "sts-policy-fetch-error"
                return self._failed(domain, id_, kept, fault, error.reason)
            self._cache.put(kept)
            self._failures.pop(domain, None)
        return StsState(_effective(kept))

    async def _fetch(self, domain: str, id_: str) -> StsPolicy:
        port = "" if self._port == 443 else f":{self._port}"
        url = f"https://mta-sts.{domain}{port}/.well-known/mta-sts.txt"
        reply = await self._https.get(url, most=MAX_POLICY)
        if reply.status != 200:
            raise HttpsFailed("protocol")
        if reply.media != "text/plain":
            raise PolicyFault("not text/plain")
        policy = read_policy(domain, reply.body, id_, self._clock.now())
        _log.info("sts-policy", domain=domain, id=id_, mode=policy.mode.value, mx=list(policy.patterns))
        return policy

    def _failed(self, domain: str, id_: str, kept: StsPolicy | None, fault: str, cause: str) -> StsState:
        self._failures[domain] = _Failure(id_, self._clock.monotonic() + AGAIN, fault)
        while len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)
        _log.warning("sts-policy-failed", domain=domain, reason=fault, cause=cause, kept=kept is not None)
        return StsState(_effective(kept), "" if kept else fault)


def _effective(policy: StsPolicy | None) -> StsPolicy | None:
    return None if policy is None or policy.mode is Mode.NONE else policy
