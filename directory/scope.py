"""The single choke point that bounds administration by its actor (promise P8, security.md rows 121 to 124).

Every administrative operation gets its organisations, domains, accounts and aliases from here and nowhere else. What
belongs to another organisation answers exactly as if it were absent. Operators are bound by nothing.
"""

from __future__ import annotations

from core.address import Address
from core.errors import NotFoundError
from directory import rules
from directory.codes import CODES, refusal
from directory.repositories.accounts import StoredAccount
from directory.types import Actor, Administrator, Alias, Domain, Organisation, Role
from directory.work import Work


class Denied(NotFoundError):
    """Present, but another organisation's. To the caller it is a `NotFoundError` like any other."""

    def __init__(self, code: str, target: str) -> None:
        super().__init__(CODES[code][1], code=code)
        self.target = target


def visible(actor: Actor, organisation_id: str) -> bool:
    """May this actor know of what belongs to that organisation?"""
    return actor.role is Role.OPERATOR or actor.organisation_id == organisation_id


def bound(actor: Actor) -> str | None:
    """What listings are limited to: an organisation's id, None for all. An actor of no organisation sees none."""
    return None if actor.role is Role.OPERATOR else actor.organisation_id or ""


def require_operator(actor: Actor) -> None:
    if actor.role is not Role.OPERATOR:
        raise refusal("operator-only")


async def organisation(work: Work, actor: Actor, id_or_name: str) -> Organisation:
    found = None
    if rules.printable(id_or_name):
        found = await work.organisations.find(id_or_name, rules.name_key(id_or_name))
    if found is None:
        raise refusal("unknown-organisation")
    if not visible(actor, found.id):
        raise Denied("unknown-organisation", found.id)
    return found


async def domain(work: Work, actor: Actor, name: str) -> Domain:
    asked = rules.lookup_domain(name)
    found = await work.domains.by_name(asked) if asked else None
    if found is None:
        raise refusal("unknown-domain")
    if not visible(actor, found.organisation_id):
        raise Denied("unknown-domain", found.name)
    return found


async def account(work: Work, actor: Actor, address: Address) -> StoredAccount:
    found = await work.accounts.by_key(address.key)
    if found is None:
        raise refusal("unknown-mailbox")
    if not visible(actor, found.own.organisation_id):
        raise Denied("unknown-mailbox", address.key)
    return found


async def administrator(work: Work, actor: Actor, administrator_id: str) -> Administrator:
    """An operator, who is of no organisation, is seen by operators alone."""
    found = await work.administrators.by_id(administrator_id) if rules.printable(administrator_id) else None
    if found is None:
        raise refusal("unknown-administrator")
    if not visible(actor, found.organisation_id or ""):
        raise Denied("unknown-administrator", found.id)
    return found


async def alias(work: Work, actor: Actor, address: Address) -> Alias:
    found = await work.aliases.by_key(address.key)
    if found is None:
        raise refusal("unknown-alias")
    if not visible(actor, found.organisation_id):
        raise Denied("unknown-alias", address.key)
    return found
