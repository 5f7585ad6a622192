"""Where mail for a domain goes: MX, null MX, implicit MX, order, loops, refused networks (RFC 5321 5.1, RFC 7505).

`hosts` and `choose` are pure; `MxResolver` asks DNS. SERVFAIL is never a permanent answer (fault 161).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from core.networks import plain_address
from core.resolver import Answer, Mx, Outcome, Resolver
from core.status import Status, deferred, refused
from delivery.next_hop import Route

MAX_HOSTS_PER_PREFERENCE = 5  # security.md row 140
MAX_HOSTS = 15
MAX_ADDRESSES_PER_HOST = 4

NULL_MX = refused("Domain accepts no mail", "null-mx", "5.1.10", 556)  # RFC 7505 3
NO_DOMAIN = refused("Domain does not exist", "no-such-domain", "5.1.2", 550)
NO_HOST = refused("Domain has no mail server", "no-mail-server", "5.4.4", 550)
PRIVATE = refused("Domain's mail server is at a private address", "private-target", "5.4.4", 550)
LOOP = refused("Mail for this domain loops back to this server", "loop", "5.4.6", 554)
DNS_FAILED = deferred("Name service failed", "dns-failed", "4.4.3")


@dataclass(frozen=True, slots=True)
class Target:
    """One address to try. `host` is the name that TLS certificates are checked against; `secure`: every DNS answer
    that led here was validated; `named`: at least those that gave its name were, or the operator wrote it;
    `canonical`: what its name is an alias of, "" for none; `route`: the operator's, when one led here."""

    host: str
    address: str
    port: int
    preference: int = 0
    secure: bool = False
    named: bool = False
    canonical: str = ""
    route: Route | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """One exchanger with the addresses found for it; `failed`: a question about it failed; the rest as in `Target`."""

    name: str
    preference: int
    addresses: tuple[str, ...]
    secure: bool = False
    failed: bool = False
    named: bool = False
    canonical: str = ""


def hosts(domain: str, answer: Answer[Mx], shuffle: Callable[[list[Mx]], None]) -> list[Mx] | Status:
    """The exchangers to look up, best first; equal preferences in random order (RFC 5321 5.1)."""
    if answer.outcome is Outcome.FAILED:
        return DNS_FAILED
    if answer.outcome is Outcome.NXDOMAIN:
        return NO_DOMAIN
    if not answer.records:
        return [Mx(0, domain)]
    named = [record for record in answer.records if record.host]
    if not named:
        return NULL_MX
    shuffle(named)
    named.sort(key=lambda record: record.preference)
    kept: list[Mx] = []
    for record in named:
        if sum(other.preference == record.preference for other in kept) < MAX_HOSTS_PER_PREFERENCE:
            kept.append(record)
    return kept[:MAX_HOSTS]


def choose(
    found: Sequence[Host], port: int, *, ours: Callable[[str, int], bool], allow_private: bool
) -> list[Target] | Status:
    """Targets in the order to try them; a Status when none is left, with the reason why."""
    limit = min(
        (host.preference for host in found for address in host.addresses if ours(address, port)),
        default=None,
    )
    # RFC 5321 5.1: what is not better than ourselves would bring the mail back to us.
    better = [host for host in found if limit is None or host.preference < limit]
    targets = [
        Target(host.name, address, port, host.preference, host.secure, host.named, host.canonical)
        for host in better
        for address in host.addresses[:MAX_ADDRESSES_PER_HOST]
        if allow_private or public(address)
    ]
    return targets or _why_none(found, better, looped=limit is not None)


def _why_none(found: Sequence[Host], better: Sequence[Host], *, looped: bool) -> Status:
    if any(host.failed for host in better):
        return DNS_FAILED
    if any(host.addresses for host in better):
        return PRIVATE
    if looped:
        return LOOP
    return DNS_FAILED if any(host.failed for host in found) else NO_HOST


def public(address: str) -> bool:
    """Whether an address belongs to the Internet at large (row 140; server-side request forgery)."""
    parsed = ip_address(address)
    return parsed.is_global and not parsed.is_multicast


class MxResolver:
    """`shuffle` is `random.shuffle` in the suite; `ours` tells whether we listen as MX at an address and port."""

    def __init__(
        self,
        resolver: Resolver,
        *,
        port: int,
        ours: Callable[[str, int], bool],
        allow_private: bool,
        shuffle: Callable[[list[Mx]], None],
    ) -> None:
        self._resolver = resolver
        self._port = port
        self._ours = ours
        self._allow_private = allow_private
        self._shuffle = shuffle

    async def targets(self, domain: str) -> list[Target] | Status:
        """All that may be tried for mail to `domain`, best first."""
        answer = await self._resolver.mx(domain)
        exchangers = hosts(domain, answer, self._shuffle)
        if isinstance(exchangers, Status):
            return exchangers
        found = await asyncio.gather(*(self._host(record, answer.secure) for record in exchangers))
        return choose(found, self._port, ours=self._ours, allow_private=self._allow_private)

    async def fixed(self, route: Route) -> list[Target] | Status:
        """A static route: what the operator wrote is neither loop nor private."""
        try:
            return [Target(route.host, str(ip_address(route.host)), route.port, route=route)]
        except ValueError:
            found = await self._host(Mx(0, route.host), named=True)
        targets = choose([found], route.port, ours=lambda address, port: False, allow_private=True)
        return targets if isinstance(targets, Status) else [replace(target, route=route) for target in targets]

    async def _host(self, record: Mx, named: bool) -> Host:
        six, four = await asyncio.gather(self._resolver.aaaa(record.host), self._resolver.a(record.host))
        addresses = tuple(
            address for pair in _interleaved(_addresses(six), _addresses(four)) for address in pair if address
        )
        failed = Outcome.FAILED in (six.outcome, four.outcome)
        if failed and named and (six.secure or four.secure):
            addresses = ()  # RFC 7672 2.1.2: who makes one question of a signed zone fail must not switch DANE off
        secure = named and six.secure and four.secure
        canonical = four.canonical or six.canonical
        return Host(record.host, record.preference, addresses, secure, failed, named, canonical)


def _addresses(answer: Answer[str]) -> list[str]:
    """In one spelling each: our own address inside IPv6 is ours all the same."""
    return [plain_address(text) for text in answer.records] if answer.outcome is Outcome.OK else []


def _interleaved(six: list[str], four: list[str]) -> list[tuple[str, str]]:
    """IPv6 and IPv4 in turn, so that a family that does not work here costs one attempt, not all."""
    length = max(len(six), len(four))
    return list(zip(six + [""] * (length - len(six)), four + [""] * (length - len(four)), strict=True))
