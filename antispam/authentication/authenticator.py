"""The one door to authentication: SPF, DKIM and iprev together, each with its own timeout, then DMARC.

Knows when each is asked, not how. Nothing here raises for what a stranger can cause: every outcome is a value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from antispam.authentication import dmarc, iprev, spf
from antispam.authentication.arc import ArcVerification
from antispam.authentication.dkim import DkimVerification
from antispam.authentication.lately import Lately, Watched
from antispam.types import Arc, Authentication, Dkim, Dmarc, Origin, Result, Spf
from core.address import Address
from core.clock import Clock
from core.config import Limits
from core.domain import DomainError, to_ascii
from core.envelope import Peer
from core.resolver import Resolver
from core.waiting import at_once
from message.arc import NAMES as ARC_FIELDS
from message.header import Head

NO_CHAIN = Arc(Result.NONE)
_CHAINED = frozenset(ARC_FIELDS)


class Authenticator:
    """`hostname` is ours: the receiver that SPF explanations name. One instance serves all messages of a process."""

    def __init__(self, resolver: Resolver, clock: Clock, limits: Limits, hostname: str) -> None:
        self._resolver = resolver
        self._clock = clock
        self._limits = limits
        self._hostname = hostname
        # Signatures and seals, whose keys a stranger lets us wait for, have as long as SPF: DMARC comes after them.
        self._patience = limits.spf_timeout
        self._origins: Lately[Origin] = Lately(clock)
        self._verdicts: Lately[Dmarc] = Lately(clock)

    def origin(self, peer: Peer, sender: Address | None) -> Origin | None:
        """Before the message comes: what is known of its sender without waiting. None: DNS is asked meanwhile, and who
        needs the answers asks again; a message of some length does not wait for them at its end. A message that is
        broken off has asked for nothing, so nothing is asked where others need their answers."""
        if lately := self._origins.get(_sending(peer, sender)):
            return lately
        if self._resolver.crowded:
            return None
        try:
            known = at_once(self._origin(peer, sender))
            if known is None:
                self._begin_asking(peer, sender)
        except Exception:  # a bug met by a hostile record: told where the answer is needed
            return None
        return None if known is None or known.uncertain else known

    def _begin_asking(self, peer: Peer, sender: Address | None) -> None:
        """`_origin` stopped at the first that is not known."""
        resolver = self._resolver
        at_once(iprev.check(peer.address, resolver))
        if beside := _beside(peer, sender):
            at_once(self._helo(peer, beside, resolver))
        if sender is not None:
            at_once(_takes_none(sender, resolver))
        at_once(self._sender(peer, sender, resolver))

    def begin(self, head: Head, origin: Origin | None = None) -> Verification:
        """Once the header block is complete. Feed it every octet after the empty line, then `authenticate`."""
        chain = None if head.lacks(_CHAINED) else ArcVerification(head)
        return Verification(head, self._limits, chain, origin)

    async def authenticate(
        self, peer: Peer, sender: Address | None, authors: Sequence[str], verification: Verification
    ) -> Authentication:
        """What SPF, DKIM, ARC, iprev and DMARC say; `authors` are the domains of From (`message.address_list.From`).
        Each has its timeout."""
        verification.end_body()
        known = verification.origin or at_once(self._origin(peer, sender))
        signatures: tuple[Dkim, ...] = ()
        arc = NO_CHAIN
        if known is None or verification.signed or verification.arc is not None:
            async with asyncio.TaskGroup() as group:
                dkim_task = group.create_task(self._dkim(verification)) if verification.signed else None
                arc_task = group.create_task(self._arc(verification)) if verification.arc is not None else None
                known = known or await self._origin_together(peer, sender)
            signatures = dkim_task.result() if dkim_task else ()
            arc = arc_task.result() if arc_task else NO_CHAIN
        sent = known.spf
        verdict = await self._verdict(authors, sent, signatures)
        if sent.result is Result.FAIL and verdict.disposition == "reject":
            sent = replace(sent, explanation=await self._explanation(peer, sender))
        helo = known.helo or _same_name(peer, sender, sent)
        return Authentication(sent, signatures, verdict, known.iprev, arc, known.null_mx, helo)

    async def _verdict(self, authors: Sequence[str], sent: Spf, signatures: Sequence[Dkim]) -> Dmarc:
        vouching = [(item.result, item.domain, item.weak) for item in signatures]
        about = (*authors, sent.result, sent.domain, *vouching)
        if lately := self._verdicts.get(about):
            return lately
        watched = Watched(self._resolver)
        verdict = await dmarc.evaluate(authors, sent, signatures, watched)
        if verdict.result is not Result.TEMPERROR:
            self._verdicts.keep(about, verdict, watched)
        return verdict

    async def _origin(self, peer: Peer, sender: Address | None) -> Origin:
        """One after the other: mostly all of it is known, and no task need be made."""
        beside, watched = _beside(peer, sender), Watched(self._resolver)
        host = await iprev.check(peer.address, watched)
        helo = await self._helo(peer, beside, watched) if beside else None
        null_mx = sender is not None and await _takes_none(sender, watched)
        origin = Origin(await self._sender(peer, sender, watched), host, null_mx, helo)
        if not origin.uncertain:
            self._origins.keep(_sending(peer, sender), origin, watched)
        return origin

    async def _origin_together(self, peer: Peer, sender: Address | None) -> Origin:
        """The same, where DNS must be waited for."""
        beside, resolver = _beside(peer, sender), self._resolver
        async with asyncio.TaskGroup() as group:
            host = group.create_task(iprev.check(peer.address, resolver))
            helo = group.create_task(self._helo(peer, beside, resolver)) if beside else None
            null_mx = group.create_task(_takes_none(sender, resolver)) if sender else None
            spf_result = await self._sender(peer, sender, resolver)
        no_mail = null_mx is not None and null_mx.result()
        return Origin(spf_result, host.result(), no_mail, helo.result() if helo else None)

    async def _sender(self, peer: Peer, sender: Address | None, resolver: Resolver) -> Spf:
        """SPF of the reverse-path, of HELO for the null one."""
        timeout = self._limits.spf_timeout
        if sender is None:
            return await self._helo(peer, _host(peer.helo), resolver, timeout)
        return await self._spf(peer, "mailfrom", f"{sender.local}@{sender.domain}", resolver, timeout)

    async def _helo(self, peer: Peer, name: str, resolver: Resolver, timeout: float | None = None) -> Spf:
        """SPF of HELO: for the null reverse-path in its stead (RFC 7208 2.4), else beside it (2.3) and with less
        patience, because nothing is decided by it."""
        return await self._spf(peer, "helo", f"postmaster@{name}", resolver, timeout or self._limits.helo_timeout)

    async def _spf(self, peer: Peer, name: str, mailbox: str, resolver: Resolver, timeout: float) -> Spf:
        identity, domain = self._identity(peer, mailbox), mailbox.rpartition("@")[2]
        if identity is None:
            return Spf(Result.NONE, name, domain, "no-address")
        outcome = await spf.check_host(identity, domain, resolver, timeout=timeout)
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
    """The signatures of one message and, when it has one, the chain it came through. `origin`: what was known of its
    sender before it came."""

    def __init__(
        self, head: Head, limits: Limits, arc: ArcVerification | None = None, origin: Origin | None = None
    ) -> None:
        super().__init__(head, limits, also=arc.bodies if arc else ())
        self.arc = arc
        self.origin = origin


async def _takes_none(sender: Address, resolver: Resolver) -> bool:
    """Whether a domain takes no mail, so that no bounce could reach it (RFC 7505 4.2)."""
    exchangers = (await resolver.mx(sender.domain)).records
    return bool(exchangers) and not any(record.host for record in exchangers)


def _sending(peer: Peer, sender: Address | None) -> tuple[str, str, str | None]:
    """All that an `Origin` is made of, but for the sender's name, which only macros ask for."""
    return peer.address, peer.helo, sender.domain if sender is not None else None


def _beside(peer: Peer, sender: Address | None) -> str:
    """The HELO name to check beside the reverse-path's domain, "" when there is none or both are one name."""
    name = _host(peer.helo)
    return "" if sender is None or name == sender.domain else name


def _same_name(peer: Peer, sender: Address | None, sent: Spf) -> Spf | None:
    """A server that says HELO with the reverse-path's own domain: one answer stands for both."""
    if sender is None or _host(peer.helo) != sender.domain:
        return None
    return replace(sent, identity="helo")


def _host(helo: str) -> str:
    """HELO as a domain, or "" when it is none: a literal or nonsense has no SPF (RFC 7208 2.3)."""
    try:
        return to_ascii(helo)
    except DomainError:
        return ""
