"""What one recipient comes to: accounts of ours, addresses elsewhere, or a refusal.

Pure but for the directory and the store's usage it asks. Serves RCPT (every recipient is answered at once, so nothing
is accepted to be bounced later: security.md row 135) and the delivery after it. RFC 5321 3.9 (aliases), 4.5.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from core.address import Address
from core.frozen import dataclass
from core.status import Status, accepted, deferred, refused
from directory.types import Account, AliasOf, Domain, ForeignDomain, LocalAccount, Resolution
from store.store import Store
from store.types import AccountRef

MAX_TARGETS = 1000  # addresses one recipient may come to

UNKNOWN = refused("no such user here", "unknown-user", "5.1.1")
RELAY = refused("relaying denied", "relay-denied", "5.7.1")
LOOP = refused("this alias leads back to itself", "alias-loop", "5.4.6")
TOO_MANY = refused("this alias leads to too many addresses", "alias-too-large", "5.4.6")
OVER_QUOTA = deferred("mailbox is full", "over-quota", "4.2.2", code=452)
ACCEPTED = accepted("recipient OK", "recipient-accepted", "2.1.5")

PROTECTED = frozenset({"postmaster", "abuse"})  # RFC 5321 4.5.1, RFC 2142: never refused for their content


@dataclass(frozen=True, slots=True)
class Forward:
    """An address elsewhere that one of our aliases leads to; `organisation_id` is the alias's."""

    address: Address
    organisation_id: str
    via: str = ""  # the alias's domain


class Addresses(Protocol):
    """What routing asks: `directory.directory.Directory`, or it behind `delivery.forward.Rewriting`."""

    async def resolve(self, address: Address) -> Resolution: ...

    async def hosted_domain(self, name: str) -> Domain | None: ...


@dataclass(frozen=True, slots=True)
class Route:
    """Where mail for one recipient goes; never empty."""

    accounts: tuple[Account, ...]
    forwards: tuple[Forward, ...] = ()


def is_protected(address: Address) -> bool:
    return address.local.casefold() in PROTECTED


async def route(directory: Addresses, address: Address, *, depth: int) -> Route | Status:
    """Follow aliases from `address`, at most `depth` deep, each address once (security.md row 54).

    A target that does not exist or leads back is left out while others remain; a refusal is a `Status`. Raises
    `TemporaryError` when the directory is away.
    """
    first = await directory.resolve(address)
    if isinstance(first, LocalAccount):  # nearly always: nothing to follow
        return Route((first.account,))
    if isinstance(first, ForeignDomain):
        return RELAY
    if not isinstance(first, AliasOf):
        return UNKNOWN
    walk = _Walk(directory, {address.key: first})
    level: list[tuple[Address, str]] = [(address, "")]
    for _ in range(depth + 1):
        level = await walk.step(level)
        if not level:
            return walk.result()
        if len(walk.visited) + len(level) > MAX_TARGETS:
            return TOO_MANY
    return LOOP


class _Walk:
    """The state of one search through aliases, level by level. `known`: what addresses mean that were resolved."""

    def __init__(self, directory: Addresses, known: Mapping[str, Resolution]) -> None:
        self._directory = directory
        self._known = known
        self.visited: set[str] = set()
        self._accounts: dict[str, Account] = {}
        self._forwards: dict[str, Forward] = {}
        self._looped = False

    async def step(self, level: Iterable[tuple[Address, str]]) -> list[tuple[Address, str]]:
        """Resolve one level of (address, domain of the alias that named it); what aliases name is the next."""
        following: list[tuple[Address, str]] = []
        for address, via in level:
            if address.key in self.visited:
                self._looped = True
                continue
            self.visited.add(address.key)
            following += await self._meaning(address, via)
        return following

    async def _meaning(self, address: Address, via: str) -> list[tuple[Address, str]]:
        meaning = self._known.get(address.key) or await self._directory.resolve(address)
        if isinstance(meaning, LocalAccount):
            self._accounts[meaning.account.id] = meaning.account
        elif isinstance(meaning, AliasOf):
            return [(target, address.domain) for target in meaning.targets]
        elif isinstance(meaning, ForeignDomain):
            owner = await self._directory.hosted_domain(via)
            self._forwards[address.key] = Forward(address, owner.organisation_id if owner else "", via)
        return []

    def result(self) -> Route | Status:
        if self._accounts or self._forwards:
            return Route(tuple(self._accounts.values()), tuple(self._forwards.values()))
        return LOOP if self._looped else UNKNOWN


async def has_room(store: Store, found: Route, size: int) -> bool:
    """False when every mailbox is too full for `size` octets and nothing is forwarded: then RCPT says so (row 135)."""
    if found.forwards:
        return True
    for account in found.accounts:
        if not account.quota and not account.organisation_quota:
            return True
        opened = await store.account(AccountRef.of(account))
        used, _ = await opened.usage()
        together = await opened.organisation_usage()
        if _fits(used, size, account.quota) and _fits(together, size, account.organisation_quota):
            return True
    return False


def _fits(used: int, size: int, quota: int) -> bool:
    """`size` 0: nobody knows yet; then there must be some room."""
    return not quota or (used + size <= quota and used < quota)


async def judge_recipient(directory: Addresses, store: Store, address: Address, *, depth: int, size: int) -> Status:
    """The answer to RCPT for an address that must be ours: 250, 550 or 452."""
    found = await route(directory, address, depth=depth)
    if isinstance(found, Status):
        return found
    return ACCEPTED if await has_room(store, found, size) else OVER_QUOTA
