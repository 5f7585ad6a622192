"""Short words for the directory's tests."""

from __future__ import annotations

from core.address import Address, parse
from core.log import Secret
from directory.service import SqlDirectory
from directory.types import Account, Actor, Organisation, Role

CONSOLE = Actor.console()
OPERATOR = Actor("chef", Role.OPERATOR, None)
GOOD = Secret("trois petits chats gris")
LOCAL = "127.0.0.1"


def at(text: str) -> Address:
    return parse(text)


def admin_of(organisation: Organisation) -> Actor:
    return Actor("secretaire", Role.ORGANISATION, organisation.id)


async def commune(directory: SqlDirectory, name: str, domain: str) -> Organisation:
    organisation = await directory.add_organisation(OPERATOR, name)
    await directory.add_domain(OPERATOR, domain, organisation.id)
    return organisation


async def mailbox(directory: SqlDirectory, address: str, password: Secret | None = None) -> Account:
    return await directory.add_account(OPERATOR, at(address), password=password)
