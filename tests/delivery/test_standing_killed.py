"""Whoever removes or suspends is killed between any two of his steps: the next look of the delivery worker, or the same
command once more, brings it to its end (fault 147)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import pytest

from core.address import parse
from core.errors import NotFoundError
from delivery import standing
from delivery.queue import administration
from delivery.queue.allowance import Rules
from delivery.standing import Follower
from delivery.types import QueueAdministration, Vacation
from directory.directory import Directory
from directory.types import State
from store.store import Store
from store.types import AccountRef
from tests.delivery.town import CONSOLE, Town, open_town
from tests.fakes.delivery_world import FakeStore

MAIRE = parse("maire@ville.test")
AWAY = Vacation("Je suis absent.", "Absence", 0.0, 9e9)
RULES = Rules(100, 100, 1000)


class Killed(BaseException):
    """Nothing of the process runs any more."""


class Fatal:
    """Lives for so many calls, counted over all that share `lives`."""

    def __init__(self, real: object, lives: list[int]) -> None:
        self._real = real
        self._lives = lives

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        async def call(*arguments: object) -> object:
            if not self._lives[0]:
                raise Killed
            self._lives[0] -= 1
            return await getattr(self._real, name)(*arguments)

        return call


class Bin(FakeStore):
    """Mailboxes that can be taken away, and are found where that did not happen."""

    def __init__(self, *left: AccountRef) -> None:
        super().__init__()
        self.left = list(left)

    @property
    def administration(self) -> Self:
        return self

    async def leftover(self, domain: str, local: str) -> AccountRef | None:
        return next((ref for ref in self.left if (ref.domain, ref.local) == (domain, local)), None)

    async def remove_account(self, ref: AccountRef) -> None:
        self.left = [item for item in self.left if item.id != ref.id]


@pytest.fixture
async def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setattr(administration, "ACCOUNTS", 1)  # each account is a commit of its own
    async with open_town(tmp_path) as made:
        yield made


async def killed_after(town: Town, steps: int, act: Callable[..., Awaitable[None]], *parts: object) -> None:
    """Between calls of the directory and the store, and between commits of the queue."""
    lives, queue = [steps], town.queue
    database: Any = Fatal(queue._database, lives)
    told = administration.Administration(database, queue._hints, town.clock, queue._book)
    with contextlib.suppress(Killed):
        await act(Fatal(town.directory, lives), *(Fatal(part, lives) for part in parts), told)


@pytest.mark.parametrize("steps", range(1, 9))
async def test_f147_a_mailbox_is_removed_with_all_that_the_queue_knew_of_it(town: Town, steps: int) -> None:
    queue, account = town.queue.administration, town.accounts["maire@ville.test"]
    await queue.set_vacation(account.id, AWAY)
    await town.queue.charge(account.id, ["x@ailleurs.test"], RULES)
    await town.queue.tell_once(account.id, "y@ailleurs.test")
    await standing.suspend(town.directory, queue, CONSOLE, MAIRE)
    await town.send("maire@ville.test")
    from_disk: Any = Bin(AccountRef.of(account))

    async def remove(directory: Directory, store: Store, told: QueueAdministration) -> None:
        await standing.remove(directory, store, told, CONSOLE, MAIRE)

    await killed_after(town, steps, remove, from_disk)
    await Follower(town.directory, queue).look()
    if from_disk.left:  # asked for again, as the operator does who saw no answer
        await standing.remove(town.directory, from_disk, queue, CONSOLE, MAIRE)
    else:
        with pytest.raises(NotFoundError):
            await standing.remove(town.directory, from_disk, queue, CONSOLE, MAIRE)
    assert await town.directory.account_by_id(account.id) is None
    assert from_disk.left == []
    assert await queue.vacation(account.id) is None
    assert account.id not in await queue.remembered()
    assert await town.held() == {"maire@ville.test": ("suspension", "removal")}


async def test_what_is_known_of_those_who_are_there_stays(town: Town) -> None:
    account = town.accounts["voisin@bourg.test"]
    await town.queue.administration.set_vacation(account.id, AWAY)
    await town.queue.charge(account.id, ["x@ailleurs.test"], RULES)
    await Follower(town.directory, town.queue.administration).look()
    assert await town.queue.administration.vacation(account.id) == AWAY
    assert await town.queue.sent_recently(account.id) == 1


async def test_a_directory_that_knows_nobody_of_those_who_are_known_makes_nobody_forgotten(
    town: Town, tmp_path: Path
) -> None:
    """An operator names another database by mistake, and an hour later the right one."""
    (tmp_path / "other").mkdir()
    for address in ("maire@ville.test", "voisin@bourg.test"):
        await town.queue.administration.set_vacation(town.accounts[address].id, AWAY)
        await town.queue.charge(town.accounts[address].id, ["x@ailleurs.test"], RULES)
    async with open_town(tmp_path / "other") as other:
        await Follower(other.directory, town.queue.administration).look()
    await Follower(town.directory, town.queue.administration).look()
    for address in ("maire@ville.test", "voisin@bourg.test"):
        assert await town.queue.administration.vacation(town.accounts[address].id) == AWAY
        assert await town.queue.sent_recently(town.accounts[address].id) == 1


@pytest.mark.parametrize("steps", range(1, 11))
async def test_f147_a_commune_is_suspended_whole_whatever_its_people_have_queued(town: Town, steps: int) -> None:
    """Accounts that had nothing in the queue were forgotten, and what still entered of theirs left."""
    await town.send("agent@ville.test")

    async def suspend(directory: Directory, told: QueueAdministration) -> None:
        await standing.set_organisation_state(directory, told, CONSOLE, "Ville", State.SUSPENDED)

    await killed_after(town, steps, suspend)
    await Follower(town.directory, town.queue.administration).look()
    for sender in town.accounts:  # what was being accepted this moment
        await town.send(sender)
    held = ("suspension",)
    assert await town.held() == {"maire@ville.test": held, "agent@ville.test": held, "voisin@bourg.test": ()}


@pytest.mark.parametrize("steps", range(1, 9, 2))
async def test_f147_a_commune_goes_on_whole(town: Town, steps: int) -> None:
    await town.commune(State.SUSPENDED)
    for sender in town.accounts:
        await town.send(sender)

    async def resume(directory: Directory, told: QueueAdministration) -> None:
        await standing.set_organisation_state(directory, told, CONSOLE, "Ville", State.ACTIVE)

    await killed_after(town, steps, resume)
    await Follower(town.directory, town.queue.administration).look()
    assert set((await town.held()).values()) == {()}


@pytest.mark.parametrize("steps", range(1, 6, 2))
async def test_f147_one_account_is_suspended_though_it_has_nothing_queued(town: Town, steps: int) -> None:
    async def suspend(directory: Directory, told: QueueAdministration) -> None:
        await standing.suspend(directory, told, CONSOLE, MAIRE)

    await killed_after(town, steps, suspend)
    await Follower(town.directory, town.queue.administration).look()
    await town.send("maire@ville.test")
    assert await town.held() == {"maire@ville.test": ("suspension",)}
