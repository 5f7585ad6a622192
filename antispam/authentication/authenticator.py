"""The one door to authentication: SPF, DKIM and iprev together, each with its own timeout, then DMARC.

Knows when each is asked, not how. Nothing here raises for what a stranger can cause: every outcome is a value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from antispam.authentication import dmarc, iprev, spf
from antispam.authentication.arc import ArcVerification
from antispam.authentication.dkim import DkimVerification
from antispam.types import Arc, Authentication, Dkim, Result, Spf
from core.address import Address
from core.clock import Clock
from core.config import Limits
from core.domain import DomainError, to_ascii
from core.envelope import Peer
from core.resolver import Mx, Resolver
from core.waiting import at_once
from message.header import Head

T = TypeVar("T")


class Authenticator:
    """`hostname` is ours: the receiver that SPF explanations name. One instance serves all messages of a process."""

    def __init__(self, resolver: Resolver, clock: Clock, limits: Limits, hostname: str) -> None:
        self._resolver = resolver
        self._clock = clock
        self._limits = limits
        self._hostname = hostname
        # Signatures and seals, whose keys a stranger lets us wait for, have as long as SPF: DMARC comes after them.
        self._patience = limits.spf_timeout

    def begin(self, head: Head) -> Verification:
        """Once the header block is complete. Feed it every octet after the empty line, then `authenticate`."""
        arc = ArcVerification(head) if any(field.name.startswith(b"arc-") for field in head.fields) else None
        return Verification(head, self._limits, arc)

    async def authenticate(
        self, peer: Peer, sender: Address | None, authors: Sequence[str], verification: Verification
    ) -> Authentication:
        """What SPF, DKIM, ARC, iprev and DMARC say; `authors` are the domains of From (`message.address_list.From`).
        Each has its timeout."""
        verification.end_body()
        async with asyncio.TaskGroup() as group:
            dkim_task = group.create_task(self._dkim(verification)) if verification.signed else None
            host = _begun(group, lambda: iprev.check(peer.address, self._resolver))
            arc_task = group.create_task(self._arc(verification)) if verification.arc else None
            beside = _beside(peer, sender)
            greeting = _begun(group, lambda: self._helo(peer, beside)) if beside else None
            exchangers = _begun(group, lambda: self._resolver.mx(sender.domain)) if sender else None
            sent = await self._sender(peer, sender)
        signatures = dkim_task.result() if dkim_task else ()
        verdict = await dmarc.evaluate(authors, sent, signatures, self._resolver)
        if sent.result is Result.FAIL and verdict.disposition == "reject":
            sent = replace(sent, explanation=await self._explanation(peer, sender))
        arc = arc_task.result() if arc_task else Arc(Result.NONE)
        helo = greeting() if greeting else _same_name(peer, sender, sent)
        null_mx = exchangers is not None and _takes_none(exchangers().records)
        return Authentication(sent, signatures, verdict, host(), arc, null_mx, helo)

    async def _sender(self, peer: Peer, sender: Address | None) -> Spf:
        """SPF of the reverse-path, of HELO for the null one."""
        if sender is None:
            return await self._helo(peer, _host(peer.helo), self._limits.spf_timeout)
        mailbox = f"{sender.local}@{sender.domain}"
        return await self._spf(peer, "mailfrom", mailbox, sender.domain, self._limits.spf_timeout)

    async def _helo(self, peer: Peer, name: str, timeout: float | None = None) -> Spf:
        """SPF of HELO: for the null reverse-path in its stead (RFC 7208 2.4), else beside it (2.3) and with less
        patience, because nothing is decided by it."""
        return await self._spf(peer, "helo", f"postmaster@{name}", name, timeout or self._limits.helo_timeout)

    async def _spf(self, peer: Peer, name: str, mailbox: str, domain: str, timeout: float) -> Spf:
        identity = self._identity(peer, mailbox)
        if identity is None:
            return Spf(Result.NONE, name, domain, "no-address")
        outcome = await spf.check_host(identity, domain, self._resolver, timeout=timeout)
        return Spf(outcome.result, name, domain, outcome.reason)

    def _identity(self, peer: Peer, mailbox: str) -> spf.Identity | None:
        """None when the peer has no address."""
        address = iprev.parse_address(peer.address)
        if address is None:
            return None
        return spf.Identity(
            address=address,
            sender=mailbox,
            helo=_host(peer.helo),
            receiver=self._hostname,
            now=self._clock.now(),
        )

    async def _explanation(self, peer: Peer, sender: Address | None) -> str:
        """What the domain's owner says about a fail (RFC 7208 6.2). Asked for only where the sending server will hear
        it, and apart from the check, whose result it must not change: all but the text itself is known by then."""
        domain = sender.domain if sender is not None else _host(peer.helo)
        identity = self._identity(peer, f"{sender.local if sender is not None else 'postmaster'}@{domain}")
        if identity is None:
            return ""
        timeout = self._limits.explanation_timeout
        return (await spf.check_host(identity, domain, self._resolver, timeout=timeout, explain=True)).explanation

    async def _dkim(self, verification: DkimVerification) -> tuple[Dkim, ...]:
        try:
            async with asyncio.timeout(self._patience):
                return await verification.finish(self._resolver, self._clock.now())
        except TimeoutError:
            return (Dkim(Result.TEMPERROR, "", "", reason="timeout"),)

    async def _arc(self, verification: Verification) -> Arc:
        assert verification.arc is not None
        try:
            async with asyncio.timeout(self._patience):
                return await verification.arc.finish(verification, self._resolver, self._clock.now())
        except TimeoutError:
            return Arc(Result.TEMPERROR, len(verification.arc.sets), reason="timeout")


class Verification(DkimVerification):
    """The signatures of one message and, when it has one, the chain it came through."""

    def __init__(self, head: Head, limits: Limits, arc: ArcVerification | None = None) -> None:
        super().__init__(head, limits, also=arc.bodies if arc else ())
        self.arc = arc


def _beside(peer: Peer, sender: Address | None) -> str:
    """The HELO name to check beside the reverse-path's domain, "" when there is none or both are one name."""
    name = _host(peer.helo)
    return "" if sender is None or name == sender.domain else name


def _same_name(peer: Peer, sender: Address | None, sent: Spf) -> Spf | None:
    """A server that says HELO with the reverse-path's own domain: one answer stands for both."""
    if sender is None or _host(peer.helo) != sender.domain:
        return None
    return replace(sent, identity="helo")


def _takes_none(exchangers: Sequence[Mx]) -> bool:
    """Whether a domain takes no mail, so that no bounce could reach it (RFC 7505 4.2)."""
    return bool(exchangers) and not any(record.host for record in exchangers)


def _begun(group: asyncio.TaskGroup, check: Callable[[], Coroutine[Any, Any, T]]) -> Callable[[], T]:
    """Its result, to be asked for when the group has ended. A check that DNS need not be asked for costs no task."""
    known = at_once(check())
    return group.create_task(check()).result if known is None else lambda: known


def _host(helo: str) -> str:
    """HELO as a domain, or "" when it is none: a literal or nonsense has no SPF (RFC 7208 2.3)."""
    try:
        return to_ascii(helo)
    except DomainError:
        return ""
