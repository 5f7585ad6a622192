"""What becomes of the mail of an account that was removed: what nobody held goes on, the rest waits for somebody, and
is returned when nobody came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from core.address import parse
from core.envelope import Dsn, Schedule
from core.status import deferred
from delivery import standing
from delivery.outcome import Backoff, Rules
from delivery.queue.claims import Claimed
from delivery.queue.holds import Hold, hold_accounts
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.queue.schema import Owed
from delivery.standing import Follower
from delivery.types import Result, ResultKind, Vacation
from message.content import BytesContent
from store.types import AccountRef
from tests.delivery.conftest import World
from tests.delivery.queue_alone import everything
from tests.delivery.runner import running, until
from tests.delivery.town import CONSOLE, MAIL, Town

MAIRE = "maire@ville.test"
LIFETIME = 5 * 86_400


class FakeStore:
    async def remove_account(self, ref: AccountRef) -> None:
        """Its mail went to the recycle bin."""


async def removed(town: Town) -> None:
    store: Any = FakeStore()
    await standing.remove(town.directory, store, town.queue.administration, CONSOLE, parse(MAIRE))


async def suspended(town: Town) -> None:
    await standing.suspend(town.directory, town.queue.administration, CONSOLE, parse(MAIRE))


async def locked(town: Town) -> None:
    account = town.accounts[MAIRE].id
    await town.queue._database.write(lambda connection: hold_accounts(connection, [account], Hold.LOCK))


async def due(queue: Queue) -> list[Claimed]:
    return await queue.claim(everything)


async def ended(town: Town) -> list[tuple[str, str, Owed]]:
    rules = Rules(Backoff((300,), LIFETIME, 14_400), now=town.clock.now, chance=lambda: 0.5)
    settled = await town.queue.end_orphans(LIFETIME, rules.judge)
    return [(item.message.queue_id, item.outcome.last_status, item.outcome.owed) for item in settled]


async def test_what_nobody_held_goes_on(town: Town) -> None:
    """Also what was to leave later (RFC 4865): it was accepted."""
    await town.send(MAIRE, Schedule(release_at=town.clock.now() + 7200, hold="for;7200"))
    await removed(town)
    assert await town.held() == {MAIRE: ()}
    assert await due(town.queue) == []
    town.clock.advance(7200)
    assert len(await due(town.queue)) == 1
    town.clock.advance(LIFETIME)
    assert await ended(town) == []


@pytest.mark.parametrize("hold", [suspended, locked])
async def test_what_was_held_says_so_and_leaves_when_somebody_releases_it(
    town: Town, hold: Callable[[Town], Awaitable[None]]
) -> None:
    kept, other = await town.send(MAIRE), await town.send("agent@ville.test")
    await hold(town)
    await removed(town)
    reason = "lock" if hold is locked else "suspension"
    assert await town.held() == {MAIRE: (reason, "removal"), "agent@ville.test": ()}
    assert [item.message.queue_id for item in await due(town.queue)] == [other]
    await town.queue.administration.retry(None, kept)  # which lets nothing go
    assert await due(town.queue) == []
    await town.queue.administration.release(None, kept)
    assert [item.message.queue_id for item in await due(town.queue)] == [kept]


async def test_what_nobody_released_is_returned_when_its_time_is_over(town: Town) -> None:
    """Each message had its 250: it is neither dropped in silence nor kept for ever. Time runs from the removal on."""
    kept, by_hand = await town.send(MAIRE), await town.send(MAIRE)
    await suspended(town)
    await town.queue.administration.hold(None, by_hand)
    town.clock.advance(2 * LIFETIME)
    await removed(town)
    town.clock.advance(LIFETIME - 1)
    assert await ended(town) == []
    town.clock.advance(1)
    status = "550 5.7.1 held, and its sender's mailbox was removed meanwhile"
    assert await ended(town) == [(kept, status, Owed.FAILED)]
    assert await ended(town) == []
    [debt] = await town.queue.debts()
    assert (debt.message.queue_id, debt.owed, str(debt.message.sender)) == (kept, Owed.FAILED, MAIRE)
    await town.queue.settle(debt, None)
    [left] = await town.queue.administration.list(None)  # which an administrator keeps
    assert (left.queue_id, left.held_by) == (by_hand, ("administrator", "suspension", "removal"))


async def test_what_was_owed_for_a_list_held_with_it_is_owed_to_nobody_any_more(town: Town) -> None:
    """The members never had it: that it was expanded (RFC 3461 5.2.7) would be untrue, and would keep the message."""
    account = town.accounts[MAIRE].id
    dsn = Dsn(frozenset({"SUCCESS", "FAILURE"}))
    group = NewRecipient(parse("conseil@ville.test"), "", dsn, expanded=True)
    member = NewRecipient(parse("elu@ailleurs.test"), "", Dsn(frozenset({"FAILURE"})), forwarded=True)
    mail = NewMessage("q", parse(MAIRE), BytesContent(MAIL), (group, member), account_id=account)
    await town.queue.enqueue(mail)
    await suspended(town)
    await removed(town)
    town.clock.advance(LIFETIME)
    assert [(name, owed) for name, _, owed in await ended(town)] == [("q", Owed.FAILED)]
    [debt] = await town.queue.debts()
    assert debt.owed is Owed.FAILED
    await town.queue.settle(debt, None)
    assert await town.queue.administration.list(None) == []


async def test_a_directory_that_knows_the_account_again_takes_the_reason_back(town: Town) -> None:
    """The account was added to the queue's mail before a restored directory knew it."""
    follower = Follower(town.directory, town.queue.administration)
    account = town.accounts[MAIRE].id
    kept = await town.send(MAIRE, Schedule(release_at=town.clock.now() + 7200, hold="for;7200"))
    await suspended(town)
    await town.queue.administration.orphan([account])
    town.clock.advance(60)
    await follower.look()
    assert await town.held() == {MAIRE: ("suspension",)}
    await standing.resume(town.directory, town.queue.administration, CONSOLE, parse(MAIRE))
    assert await town.held() == {MAIRE: ()}
    assert await due(town.queue) == []
    town.clock.advance(7200)
    assert [item.message.queue_id for item in await due(town.queue)] == [kept]


async def test_an_account_removed_by_who_was_killed_before_he_told_the_queue_is_noticed(town: Town) -> None:
    follower = Follower(town.directory, town.queue.administration)
    await town.send(MAIRE)
    await suspended(town)
    await follower.look()
    await town.directory.remove_account(CONSOLE, parse(MAIRE))
    await follower.look()
    assert await town.held() == {MAIRE: ("suspension", "removal")}


async def test_what_was_being_tried_while_its_account_went_is_marked_by_a_later_look(town: Town) -> None:
    """Though the directory never changes again: held for a reason that nobody can take back, it would stay for ever."""
    follower = Follower(town.directory, town.queue.administration)
    await town.send(MAIRE)
    [tried] = await due(town.queue)
    await suspended(town)
    await removed(town)
    await follower.look()
    rules = Rules(Backoff((300,), LIFETIME, 14_400), now=town.clock.now, chance=lambda: 0.5)
    away = Result(tried.recipients[0].id, ResultKind.DEFERRED, deferred("not now", "greylisted"))
    await town.queue.apply([away], rules.judge)
    assert await town.held() == {MAIRE: ("suspension",)}
    for _ in range(standing.WHOLE):
        await follower.look()
    assert await town.held() == {MAIRE: ("suspension", "removal")}


async def test_its_absence_goes_with_it(town: Town) -> None:
    administration, account = town.queue.administration, town.accounts[MAIRE].id
    await administration.set_vacation(account, Vacation("Je suis absente.", "", 0.0, 1e10))
    await removed(town)
    assert await administration.vacation(account) is None


async def test_the_runner_returns_it_to_the_address_that_sent_it(world: World) -> None:
    """Which may be another's by now: an alias, a mailbox of a function."""
    data = b"From: maire@ville.test\r\nTo: x@ailleurs.test\r\nSubject: Bonjour\r\n\r\nUn texte.\r\n"
    submission, account = world.submission(), f"id-{MAIRE}"
    assert (await world.send(submission, data, "x@ailleurs.test", sender=MAIRE, account=MAIRE)).ok
    await world.queue.administration.suspend([account])
    await world.queue.administration.orphan([account])
    world.clock.advance(LIFETIME)
    async with running(world.scheduler(poll=0.01)):
        await until(lambda: world.store.inbox(MAIRE))
    [report] = world.store.inbox(MAIRE)
    assert b"\r\nAction: failed\r\nStatus: 5.7.1\r\n" in report
    assert not world.remote.jobs
