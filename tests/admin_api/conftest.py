"""The API over a real directory (SQLite, migrated), with a queue and a store that need no disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from admin_api.app import create_app
from admin_api.services import Services
from core.clock import SystemClock
from core.config import Limits
from core.errors import NotFoundError
from core.ids import RandomIds
from delivery.types import (
    EVERYTHING,
    SHAPE_AGES,
    Action,
    Picked,
    QueuedMessage,
    QueuedRecipient,
    QueueShape,
    TraceEntry,
    Vacation,
)
from directory.service import SqlDirectory
from directory.types import Actor, Role
from dkim_keys.keyring import Keyring
from dkim_keys.sealing import initialise
from migrations.runner import upgrade
from store.types import AccountRef, Recycled, Restored
from tests.fakes.resolver import FakeResolver

PASSWORD = "abeille-bouleau-cerise-42"


class FakeUsage:
    async def usage(self) -> tuple[int, int]:
        return 4096, 3


class FakeAdministration:
    """A recycle bin of two organisations."""

    def __init__(self) -> None:
        self.items: list[Recycled] = []
        self.brought_back: list[tuple[str, tuple[str, ...], str]] = []
        self.left: AccountRef | None = None

    async def recycled(self, organisation_id: str | None = None) -> list[Recycled]:
        return [item for item in self.items if organisation_id in (None, item.organisation_id)]

    async def restore(self, ref: AccountRef, items: Sequence[Recycled]) -> Restored:
        self.brought_back.append((ref.address, tuple(item.id for item in items), "beside"))
        return Restored("Restauration 2026-11-22", 1, 3)

    async def give_back(self, ref: AccountRef, item: Recycled) -> Restored:
        self.brought_back.append((ref.address, (item.id,), "in place"))
        return Restored("", 0, 3)

    async def organisation_octets(self, _organisation_id: str) -> int:
        return 8192

    async def leftover(self, _domain: str, _local: str) -> AccountRef | None:
        return self.left


class FakeStore:
    """What the API asks of the store: sizes, and the recycle bin."""

    def __init__(self) -> None:
        self.recycled: list[str] = []
        self.administration = FakeAdministration()

    async def account(self, _ref: object) -> FakeUsage:
        return FakeUsage()

    async def remove_account(self, ref: object) -> None:
        self.recycled.append(str(getattr(ref, "id", "")))


class FakeQueue:
    """Messages of two organisations, bounded by organisation as the real administration is."""

    def __init__(self) -> None:
        self.messages: dict[str, QueuedMessage] = {}
        self.done: list[tuple[str, str]] = []
        self.vacations: dict[str, Vacation | None] = {}
        self.locks: set[str] = set()

    def put(self, queue_id: str, organisation_id: str) -> None:
        recipients = (QueuedRecipient("alice@partner.test", "waiting", 1, 0.0, "451 4.4.1 no answer"),)
        self.messages[queue_id] = QueuedMessage(queue_id, "a@b.test", 10, 0.0, False, organisation_id, recipients)

    async def list(
        self, organisation_id: str | None, *, limit: int = 1000, picked: Picked = EVERYTHING, after: str = ""
    ) -> list[QueuedMessage]:
        mine = [m for id_, m in sorted(self.messages.items()) if id_ > after]
        mine = [m for m in mine if organisation_id in (None, m.organisation_id)]
        return [m for m in mine if picked.sender in (None, m.sender) and picked.held in (None, m.held)][:limit]

    async def shape(self, organisation_id: str | None, by: str) -> Sequence[QueueShape]:
        count = len(await self.list(organisation_id))
        return [QueueShape("partner.test" if by == "domain" else "a@b.test", count, (count, *[0] * len(SHAPE_AGES)))]

    async def act(self, organisation_id: str | None, picked: Picked, action: Action) -> int:
        found = await self.list(organisation_id, picked=picked)
        self.done += [(action, message.queue_id) for message in found]
        return len(found)

    async def show(self, organisation_id: str | None, queue_id: str) -> QueuedMessage:
        found = self.messages.get(queue_id)
        if found is None or organisation_id not in (None, found.organisation_id):
            raise NotFoundError("no such message in the queue", code="queue-not-found")
        return found

    async def trace(self, organisation_id: str | None, text: str) -> Sequence[TraceEntry]:
        return [
            TraceEntry(1.0, message.queue_id, "delivered", message.sender, text, message.organisation_id)
            for message in await self.list(organisation_id)
        ]

    async def unlock(self, account_id: str) -> bool:
        self.done.append(("unlock", account_id))
        self.locks.discard(account_id)
        return True

    async def locked(self, account_id: str) -> bool:
        return account_id in self.locks

    async def suspend(self, account_ids: Collection[str]) -> None:
        self.done += [("suspend", account_id) for account_id in sorted(account_ids)]

    async def resume(self, account_ids: Collection[str]) -> None:
        self.done += [("resume", account_id) for account_id in sorted(account_ids)]

    async def orphan(self, account_ids: Collection[str]) -> None:
        self.done += [("orphan", account_id) for account_id in sorted(account_ids)]

    async def reclaim(self, account_ids: Collection[str]) -> None:
        """Of accounts that came back."""

    async def forget(self, account_id: str) -> None:
        self.done.append(("forget", account_id))

    async def vacation(self, account_id: str) -> Vacation | None:
        return self.vacations.get(account_id)

    async def set_vacation(self, account_id: str, vacation: Vacation | None) -> None:
        self.vacations[account_id] = vacation

    async def _act(self, action: str, organisation_id: str | None, queue_id: str) -> None:
        await self.show(organisation_id, queue_id)
        self.done.append((action, queue_id))

    async def retry(self, organisation_id: str | None, queue_id: str) -> None:
        await self._act("retry", organisation_id, queue_id)

    async def hold(self, organisation_id: str | None, queue_id: str) -> None:
        await self._act("hold", organisation_id, queue_id)

    async def release(self, organisation_id: str | None, queue_id: str) -> None:
        await self._act("release", organisation_id, queue_id)

    async def drop(self, organisation_id: str | None, queue_id: str) -> None:
        await self._act("drop", organisation_id, queue_id)


@dataclass
class Api:
    """A client and the tokens of three administrators: the operator and those of communes A and B."""

    client: httpx2.AsyncClient
    directory: SqlDirectory
    queue: FakeQueue
    store: FakeStore
    operator: str
    a: str
    b: str
    organisations: dict[str, str]
    administrators: dict[str, str]  # ids

    async def call(self, method: str, path: str, token: str = "", **options: object) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await self.client.request(method, f"/v1{path}", headers=headers, **options)  # type: ignore[arg-type]  # passed through


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    clock = SystemClock()
    ids = RandomIds(clock)
    url = f"sqlite:///{tmp_path}/directory.db"
    await asyncio.to_thread(upgrade, url)
    directory = await SqlDirectory.open(url, clock=clock, ids=ids, limits=Limits())
    keyring = Keyring(directory, initialise(tmp_path / "keys"), clock, ids)
    queue, store = FakeQueue(), FakeStore()
    services = Services("mx.dept.test", Limits(), directory, keyring, store, queue, FakeResolver(), clock)  # type: ignore[arg-type]  # fakes
    console = Actor.console()
    tokens, organisations, administrators = {}, {}, {}
    for name in ("a", "b"):
        organisations[name] = (await directory.add_organisation(console, f"Commune {name}")).id
        clerk, token = await directory.add_administrator(
            console, f"admin {name}", Role.ORGANISATION, organisations[name]
        )
        administrators[name] = clerk.id
        tokens[name] = token.reveal()
        queue.put(f"queued-{name}", organisations[name])
    chief, operator = await directory.add_administrator(console, "operator", Role.OPERATOR, None)
    administrators["operator"] = chief.id
    transport = httpx2.ASGITransport(create_app(services, "0"), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield Api(
            client, directory, queue, store, operator.reveal(), tokens["a"], tokens["b"], organisations, administrators
        )
    await directory.close()
