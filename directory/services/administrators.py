"""Operations on administrators, their tokens, and the operator's own settings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from core.address import Address
from core.log import Secret
from directory import rules, scope
from directory.codes import refusal
from directory.types import Actor, Administrator, AuditEntry, Role
from directory.work import Work

MAX_AUDIT = 1000


def token_hash(token: str) -> str:
    """Of 256 random bits, so that a plain fast hash suffices."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


async def add(
    work: Work, actor: Actor, name: str, role: Role, organisation: str | None
) -> tuple[Administrator, Secret]:
    """An organisation's administrator may add others of his organisation, never an operator (row 124)."""
    clean = rules.name(name)
    owner = await _owner(work, actor, role, organisation)
    if clean.casefold() == Actor.console().name or await work.administrators.find(owner or "", rules.name_key(clean)):
        raise refusal("administrator-taken")
    administrator = Administrator(work.new_id(), clean, role, owner)
    await work.administrators.add(administrator, name_key=rules.name_key(clean), created_ms=work.now_ms())
    token = work.new_token()
    await work.administrators.add_token(work.new_id(), administrator.id, token_hash(token), created_ms=work.now_ms())
    work.tell("administrator-added", f"{clean} ({role.value})", owner)
    return administrator, Secret(token)


async def all_(work: Work, actor: Actor) -> Sequence[Administrator]:
    return await work.administrators.all(scope.bound(actor))


async def remove(work: Work, actor: Actor, name: str, organisation: str | None) -> Administrator:
    """His tokens stop at once. `organisation` None: an operator; the last one stays."""
    owner = ""
    if organisation is None:
        scope.require_operator(actor)
    else:
        owner = (await scope.organisation(work, actor, organisation)).id
    found = await work.administrators.find(owner, rules.name_key(name)) if rules.printable(name) else None
    if found is None:
        raise refusal("unknown-administrator")
    return await _remove(work, found)


async def remove_by_id(work: Work, actor: Actor, administrator_id: str) -> Administrator:
    """As `remove`, of whomever the actor may see."""
    return await _remove(work, await scope.administrator(work, actor, administrator_id))


async def _remove(work: Work, found: Administrator) -> Administrator:
    if found.role is Role.OPERATOR and await work.administrators.operators() == [found.id]:
        raise refusal("last-operator")
    if not await work.administrators.remove(found.id):
        raise refusal("unknown-administrator")
    work.tell("administrator-removed", f"{found.name} ({found.role.value})", found.organisation_id)
    return found


async def set_operator_postmaster(work: Work, actor: Actor, address: Address | None) -> None:
    """Where mail for postmaster@ and abuse@ of an organisation without any account goes."""
    scope.require_operator(actor)
    await work.state.set_operator_postmaster(str(address) if address else "")
    work.tell("operator-postmaster-set", str(address or ""), None)


async def audit(work: Work, actor: Actor, limit: int) -> Sequence[AuditEntry]:
    return await work.audit.latest(scope.bound(actor), max(1, min(limit, MAX_AUDIT)))


async def _owner(work: Work, actor: Actor, role: Role, organisation: str | None) -> str | None:
    if role is Role.OPERATOR:
        scope.require_operator(actor)
        if organisation is not None:
            raise refusal("organisation-not-allowed")
        return None
    if organisation is None:
        raise refusal("organisation-needed")
    return (await scope.organisation(work, actor, organisation)).id


async def record(work: Work, actor: Actor, action: str, target: str) -> None:
    """A fact about something that is not the directory's."""
    work.tell(action, target, actor.organisation_id)
