"""Add a hosted domain together with its keys: the one way that command line and REST share."""

from __future__ import annotations

import contextlib

from core.errors import MailError
from directory.directory import Directory
from directory.types import Actor, Domain
from dkim_keys.keyring import Keyring


async def add_hosted_domain(
    directory: Directory, keyring: Keyring, actor: Actor, name: str, organisation: str
) -> Domain:
    """The new domain, with keys that sign. Without keys there is no domain: a failure takes the domain back. After a
    kill in between, `ensure_keys` makes what is missing. Raises as `Directory.add_domain` does."""
    domain = await directory.add_domain(actor, name, organisation)
    try:
        await keyring.create(domain.name)
    except MailError:
        with contextlib.suppress(MailError):
            await directory.remove_domain(actor, domain.name)
        raise
    return domain


async def ensure_keys(directory: Directory, keyring: Keyring) -> list[str]:
    """At start: keys for hosted domains that have none. Returns the names of those domains."""
    made: list[str] = []
    for domain in await directory.domains(Actor.console()):
        if not await directory.dkim_keys(domain.name):
            await keyring.create(domain.name)
            made.append(domain.name)
    return made
