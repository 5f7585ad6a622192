"""A commune whose members share mailboxes, and the first of them at her client."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from directory.rights import parse
from directory.types import Account
from tests.fakes.imap_world import Client, World
from tests.fakes.memory_store import MemoryAccount

MAIL = b"Subject: un\r\nFrom: a@b.test\r\n\r\ncorps\r\n"
BOX = b"Shared/mairie@mairie.test/INBOX"


class Town:
    """Alice reads; the mailbox of the mairie is a function's, bob's a person's; eve is of another commune."""

    def __init__(self, world: World) -> None:
        self.world = world
        directory = world.directory
        self.alice = world.alice
        self.mairie = directory.add("mairie", shared=True)
        self.bob = directory.add("bob")
        self.eve = directory.add("eve", organisation="autre")
        self.sharing = directory.sharing

    def grant(self, letters: str, folder_id: str = "", owner: Account | None = None) -> None:
        self.sharing.grant(owner or self.mairie, self.alice, parse(letters), folder_id)

    async def box(self, local: str = "mairie") -> MemoryAccount:
        return await self.world.account(local)


@contextlib.asynccontextmanager
async def town() -> AsyncIterator[tuple[Town, Client]]:
    async with World() as world:
        told = Town(world)
        yield told, await world.login()


async def answer(client: Client, command: bytes) -> bytes:
    return (await client.ask(command))[-1]
