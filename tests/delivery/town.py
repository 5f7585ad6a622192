"""Two communes on a real directory and a real queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from core.address import parse
from core.clock import ManualClock
from core.config import Limits
from core.envelope import AT_ONCE, Schedule
from core.ids import RandomIds
from delivery import standing
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from directory.service import SqlDirectory
from directory.types import Account, Actor, State
from message.content import BytesContent
from migrations.runner import upgrade

CONSOLE = Actor.console()
MAIL = b"From: x@ville.test\r\n\r\nUn texte.\r\n"
PEOPLE = {"Ville": ("maire@ville.test", "agent@ville.test"), "Bourg": ("voisin@bourg.test",)}


class Town:
    """A real directory of two communes and a real queue."""

    def __init__(self, directory: SqlDirectory, queue: Queue, clock: ManualClock) -> None:
        self.clock = clock
        self.directory = directory
        self.queue = queue
        self.accounts: dict[str, Account] = {}
        self._number = 0

    async def send(self, sender: str, schedule: Schedule = AT_ONCE) -> str:
        """A message of this account enters; its queue id."""
        self._number += 1
        to = (NewRecipient(parse(f"x{self._number}@ailleurs.test")),)
        name, account = f"q{self._number}", self.accounts[sender].id
        await self.queue.enqueue(
            NewMessage(name, parse(sender), BytesContent(MAIL), to, account_id=account, schedule=schedule)
        )
        return name

    async def held(self) -> dict[str, tuple[str, ...]]:
        """By sender: what holds his newest message."""
        return {item.sender: item.held_by for item in await self.queue.administration.list(None)}

    async def commune(self, state: State) -> None:
        await standing.set_organisation_state(self.directory, self.queue.administration, CONSOLE, "Ville", state)


@asynccontextmanager
async def open_town(tmp_path: Path) -> AsyncIterator[Town]:
    clock = ManualClock()
    url = f"sqlite:///{tmp_path}/directory.db"
    await asyncio.to_thread(upgrade, url)
    directory = await SqlDirectory.open(url, clock=clock, ids=RandomIds(), limits=Limits())
    queue = Queue(tmp_path / "queue.db", tmp_path, clock=clock)
    await queue.open()
    made = Town(directory, queue, clock)
    for organisation, people in PEOPLE.items():
        await directory.add_organisation(CONSOLE, organisation)
        await directory.add_domain(CONSOLE, people[0].partition("@")[2], organisation)
        for person in people:
            made.accounts[person] = await directory.add_account(CONSOLE, parse(person), password=None)
    yield made
    await queue.close()
    await directory.close()
