"""What accounts have in the queue follows the directory: suspended one by one, by their organisation, by two
administrators at once, or by one who was killed half way."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.address import parse
from core.config import Limits
from core.ids import RandomIds
from delivery import standing
from delivery.queue import administration
from delivery.standing import Follower
from delivery.types import Vacation
from directory.service import SqlDirectory
from directory.types import State
from tests.delivery.town import CONSOLE, PEOPLE, Town


async def test_a_suspended_organisation_holds_what_its_people_queued_and_what_still_enters(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(administration, "ACCOUNTS", 1)  # in several parts
    for sender in ("maire@ville.test", "voisin@bourg.test"):
        await town.send(sender)
    for _ in range(2):  # the second time changes nothing
        await town.commune(State.SUSPENDED)
    await town.send("agent@ville.test")  # was let in before the directory knew, and had nothing here
    suspension = ("suspension",)
    assert await town.held() == {
        "maire@ville.test": suspension, "agent@ville.test": suspension, "voisin@bourg.test": (),
    }  # fmt: skip
    for _ in range(2):
        await town.commune(State.ACTIVE)
    await town.send("agent@ville.test")
    assert set((await town.held()).values()) == {()}


async def test_resuming_one_does_not_resume_what_the_other_suspends(town: Town) -> None:
    """An account of a suspended organisation, and a suspended account of an organisation that is resumed."""
    directory, queue, maire = town.directory, town.queue.administration, parse("maire@ville.test")
    for sender in PEOPLE["Ville"]:
        await town.send(sender)
    await standing.suspend(directory, queue, CONSOLE, maire)
    await town.commune(State.SUSPENDED)
    await standing.resume(directory, queue, CONSOLE, maire)
    assert (await town.held())["maire@ville.test"] == ("suspension",)
    await standing.suspend(directory, queue, CONSOLE, maire)
    await town.commune(State.ACTIVE)
    assert await town.held() == {"maire@ville.test": ("suspension",), "agent@ville.test": ()}


class Stepped:
    """Waits before each call for its turn."""

    def __init__(self, real: object, turn: Callable[[], Awaitable[None]]) -> None:
        self._real = real
        self._turn = turn

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        async def call(*arguments: object) -> object:
            await self._turn()
            return await getattr(self._real, name)(*arguments)

        return call


class Turns:
    """Lets one of several go on by one call, as chance has it: the same for the same seed. Who went on mostly goes on
    again; were all as likely each time, nobody would ever be far behind the others."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._waiting: dict[asyncio.Task[object] | None, asyncio.Future[None]] = {}
        self._last: asyncio.Task[object] | None = None

    async def turn(self) -> None:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[asyncio.current_task()] = gate
        await gate

    def _next(self) -> asyncio.Future[None]:
        if self._last not in self._waiting or self._random.random() < 0.2:
            self._last = self._random.choice(list(self._waiting))
        return self._waiting.pop(self._last)

    async def run(self, *work: Awaitable[object]) -> None:
        tasks = [asyncio.ensure_future(item) for item in work]
        while not all(task.done() for task in tasks):
            while len(self._waiting) < sum(not task.done() for task in tasks):
                await asyncio.sleep(0.001)
            if self._waiting:
                self._next().set_result(None)
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("seed", range(25))
async def test_two_who_suspend_and_resume_at_once_end_with_holds_that_match_the_last_commit(
    town: Town, seed: int
) -> None:
    """Each told the queue after its commit, in whichever order: an active account's mail was held for ever, or a
    suspended one's left."""
    turns = Turns(seed)
    directory: Any = Stepped(town.directory, turns.turn)
    queue: Any = Stepped(town.queue.administration, turns.turn)
    maire = parse("maire@ville.test")
    await town.send("maire@ville.test")
    await turns.run(
        standing.suspend(directory, queue, CONSOLE, maire),
        standing.resume(directory, queue, CONSOLE, maire),
        standing.set_organisation_state(directory, queue, CONSOLE, "Ville", State.SUSPENDED),
        standing.set_organisation_state(directory, queue, CONSOLE, "Ville", State.ACTIVE),
    )
    now = await town.directory.standing([town.accounts["maire@ville.test"].id])
    assert (await town.held())["maire@ville.test"] == (("suspension",) if now.suspended else ())


async def test_who_was_killed_before_he_told_the_queue_is_caught_up_with(town: Town) -> None:
    follower = Follower(town.directory, town.queue.administration)
    await town.send("maire@ville.test")
    await follower.look()
    assert await town.held() == {"maire@ville.test": ()}
    await town.directory.suspend_organisation(CONSOLE, "Ville")
    await follower.look()
    assert await town.held() == {"maire@ville.test": ("suspension",)}
    await town.directory.resume_organisation(CONSOLE, "Ville")
    await follower.look()
    assert await town.held() == {"maire@ville.test": ()}


async def test_the_queue_is_asked_only_when_the_directory_changed_or_after_ten_minutes(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower(town.directory, town.queue.administration)
    asked, looks = [], 0
    concerned = town.queue.administration.concerned

    async def noted() -> Collection[str]:
        asked.append(looks)
        return await concerned()

    monkeypatch.setattr(town.queue.administration, "concerned", noted)
    for looks in range(standing.WHOLE + 3):
        if looks == 2:
            await town.directory.suspend_organisation(CONSOLE, "Ville")
        await follower.look()
    assert asked == [0, 2, 2 + standing.WHOLE]


async def test_what_was_released_by_hand_is_not_held_again_by_a_later_look(town: Town) -> None:
    follower = Follower(town.directory, town.queue.administration)
    name = await town.send("maire@ville.test")
    await town.commune(State.SUSPENDED)
    await town.queue.administration.release(None, name)
    await follower.look()
    await town.commune(State.SUSPENDED)
    assert await town.held() == {"maire@ville.test": ()}


async def test_a_copy_that_serves_beside_its_original_undoes_what_it_does_not_know(town: Town, tmp_path: Path) -> None:
    """What docs/limits.md warns of, "Copies of one directory on one queue": both have one identity."""
    with (
        closing(sqlite3.connect(tmp_path / "directory.db")) as own,
        closing(sqlite3.connect(tmp_path / "copy")) as copy,
    ):
        own.backup(copy)
    opened = SqlDirectory.open(f"sqlite:///{tmp_path}/copy", clock=town.clock, ids=RandomIds(), limits=Limits())
    queue = town.queue.administration
    other = await opened
    try:
        assert await other.identity() == await town.directory.identity()
        new = await town.directory.add_account(CONSOLE, parse("nouveau@ville.test"), password=None)
        await queue.set_vacation(new.id, Vacation("Je suis absent.", "Absence", 0.0, 9e9))
        await town.send("maire@ville.test")
        await standing.suspend(town.directory, queue, CONSOLE, parse("maire@ville.test"))
        assert await town.held() == {"maire@ville.test": ("suspension",)}
        await queue.set_vacation(town.accounts["maire@ville.test"].id, Vacation("Moi aussi.", "Absence", 0.0, 9e9))
        await Follower(other, queue).look()
    finally:
        await other.close()
    assert await queue.vacation(new.id) is None
    assert await queue.vacation(town.accounts["maire@ville.test"].id) is not None
    assert await town.held() == {"maire@ville.test": ()}
