"""Operations on hosted domains. Only operators make and remove them (security.md row 124)."""

from __future__ import annotations

from collections.abc import Sequence

from directory import rules, scope
from directory.codes import refusal
from directory.types import Actor, Domain, State
from directory.work import Work


async def add(work: Work, actor: Actor, name: str, organisation: str) -> Domain:
    scope.require_operator(actor)
    ascii_name = rules.domain(name)
    owner = await scope.organisation(work, actor, organisation)
    if await work.domains.by_name(ascii_name):
        raise refusal("domain-taken")
    domain = Domain(work.new_id(), ascii_name, owner.id, State.ACTIVE)
    await work.domains.add(domain, created_ms=work.now_ms())
    work.tell("domain-added", ascii_name, owner.id)
    return domain


async def all_(work: Work, actor: Actor) -> Sequence[Domain]:
    return await work.domains.all(scope.bound(actor))


async def remove(work: Work, actor: Actor, name: str) -> None:
    """Refused while an account or an alias has an address in it: their mail would be orphaned."""
    scope.require_operator(actor)
    domain = await scope.domain(work, actor, name)
    if await work.domains.has_addresses(domain.id):
        raise refusal("domain-not-empty")
    await work.domains.remove(domain.id)
    work.tell("domain-removed", domain.name, domain.organisation_id)
