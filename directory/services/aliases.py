"""Operations on aliases and grants."""

from __future__ import annotations

from collections.abc import Sequence

from core.address import Address
from directory import rules, scope
from directory.codes import refusal
from directory.types import Actor, Alias, Grant
from directory.work import Work


async def add(work: Work, actor: Actor, address: Address, targets: Sequence[Address]) -> Alias:
    """In a domain of the actor's; the targets may lie anywhere, also outside."""
    domain = await scope.domain(work, actor, address.domain)
    checked = rules.targets(rules.alias_address(address), targets)
    if await work.accounts.taken([address.key]):
        raise refusal("address-taken")
    alias = Alias(work.new_id(), address, checked, domain.organisation_id)
    await work.aliases.add(alias, domain_id=domain.id, address_id=work.new_id(), created_ms=work.now_ms())
    work.tell("alias-added", str(address), domain.organisation_id)
    return alias


async def all_(work: Work, actor: Actor, domain: str | None) -> Sequence[Alias]:
    name = (await scope.domain(work, actor, domain)).name if domain is not None else None
    return await work.aliases.all(scope.bound(actor), name)


async def remove(work: Work, actor: Actor, address: Address) -> None:
    alias = await scope.alias(work, actor, address)
    await work.aliases.remove(alias)
    work.tell("alias-removed", str(alias.address), alias.organisation_id)


async def grant(work: Work, actor: Actor, owner: Address, grantee: Address) -> Grant:
    """From now on `grantee` may send in the name of `owner`; granting twice changes nothing."""
    giver = (await scope.account(work, actor, owner)).own
    taker = (await scope.account(work, actor, grantee)).own
    if giver.organisation_id != taker.organisation_id:
        raise refusal("grant-across-organisations")
    if not await work.grants.exists(giver.id, taker.id):
        await work.grants.add(giver.id, taker.id, created_ms=work.now_ms())
        work.tell("grant-added", f"{giver.address} to {taker.address}", giver.organisation_id)
    return Grant(giver.address, taker.address)


async def grants(work: Work, actor: Actor) -> Sequence[Grant]:
    return await work.grants.all(scope.bound(actor))


async def revoke(work: Work, actor: Actor, owner: Address, grantee: Address) -> None:
    giver = (await scope.account(work, actor, owner)).own
    taker = (await scope.account(work, actor, grantee)).own
    if not await work.grants.exists(giver.id, taker.id):
        raise refusal("unknown-grant")
    await work.grants.remove(giver.id, taker.id)
    work.tell("grant-removed", f"{giver.address} to {taker.address}", giver.organisation_id)
