"""Operations on organisations. Operators make and suspend them; an organisation's administrator sees his own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from directory import rules, scope
from directory.codes import refusal
from directory.types import Account, Actor, Organisation, State
from directory.work import Work


async def add(work: Work, actor: Actor, name: str) -> Organisation:
    scope.require_operator(actor)
    clean = rules.name(name)
    key = rules.name_key(clean)
    if await work.organisations.find("", key):
        raise refusal("organisation-taken")
    organisation = Organisation(work.new_id(), clean, State.ACTIVE)
    await work.organisations.add(organisation, name_key=key, created_ms=work.now_ms())
    work.tell("organisation-added", clean, organisation.id)
    return organisation


async def all_(work: Work, actor: Actor) -> Sequence[Organisation]:
    return await work.organisations.all(scope.bound(actor))


async def accounts(work: Work, actor: Actor, id_or_name: str) -> Sequence[Account]:
    return await work.accounts.all((await scope.organisation(work, actor, id_or_name)).id, None)


async def set_state(work: Work, actor: Actor, id_or_name: str, state: State) -> Organisation:
    """Suspended: its accounts receive, but neither log in nor send; its administrators' tokens do not work."""
    scope.require_operator(actor)
    organisation = await scope.organisation(work, actor, id_or_name)
    await work.organisations.set_state(organisation.id, state)
    work.tell(f"organisation-{state.value}", organisation.name, organisation.id)
    return replace(organisation, state=state)


async def set_quota(work: Work, actor: Actor, id_or_name: str, quota: int) -> Organisation:
    """What its accounts may hold together: the operator's to say (a commune cannot raise its own ceiling)."""
    scope.require_operator(actor)
    organisation = await scope.organisation(work, actor, id_or_name)
    await work.organisations.set_quota(organisation.id, rules.quota(quota))
    work.tell("organisation-quota-set", organisation.name, organisation.id)
    return replace(organisation, quota=quota)
