"""How much an account may send, who hears of it, and what sharing an account means (security.md section 2)."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import Sequence
from typing import Any

import pytest

from core.address import parse
from core.config import Limits
from core.envelope import Schedule
from core.errors import QuotaError, TemporaryError
from core.status import Status, accepted
from delivery.local import LocalAgent
from delivery.queue.allowance import HIJACK_MESSAGES
from delivery.queue.rows import NewMessage
from delivery.types import Job, JobRecipient, MailParameters, Result, ResultKind
from message.content import BytesContent
from store.types import Flag
from tests.delivery.conftest import World
from tests.delivery.runner import until

SENDER = "maire@ville.test"
MAIL = b"From: maire@ville.test\r\nTo: x@ailleurs.test\r\nSubject: Bonjour\r\n\r\nUn texte.\r\n"


def limited(world: World, **limits: Any) -> None:
    world.config = world.config.model_copy(update={"limits": Limits(**limits)})


async def send(world: World, *recipients: str, data: bytes = MAIL, sender: str = SENDER) -> Status:
    return await world.send(world.submission(), data, *recipients, sender=sender, account=SENDER)


def strangers(start: int, count: int) -> list[str]:
    return [f"x{number}@ailleurs.test" for number in range(start, start + count)]


async def alerts(world: World) -> list[str]:
    """Subjects of what the queue holds for postmaster@."""
    await until(lambda: not world.queue._outbox._waiting)
    found = []
    for item in await world.queue.claim(world.scheduler()._destinations.selection()):
        if [str(r.address) for r in item.recipients] == ["postmaster@ville.test"]:
            content = await world.queue.content(item.message)
            message = email.message_from_bytes(content.read(0, content.size), policy=email.policy.default)
            assert message["Auto-Submitted"] == "auto-generated"
            assert item.message.sender is None
            found.append(str(message["Subject"]))
    return found


async def test_new_recipients_have_a_limit_of_their_own_and_known_ones_do_not_count(world: World) -> None:
    limited(world, account_new_recipients_per_day=4)
    assert (await send(world, *strangers(0, 3))).ok
    assert (await send(world, *strangers(0, 3))).ok  # they are known now
    assert (await send(world, *strangers(0, 4))).ok
    status = await send(world, *strangers(3, 2))
    assert (status.code, status.enhanced, status.reason) == (450, "4.7.1", "new-recipients")
    assert (await send(world, *strangers(0, 4))).ok
    world.clock.advance(86400.0)
    assert (await send(world, *strangers(3, 2))).ok


async def test_the_commune_hears_once_a_day_that_an_account_nears_its_limit(world: World) -> None:
    limited(world, account_recipients_per_day=10)
    assert (await send(world, *strangers(0, 8))).ok
    assert await alerts(world) == []
    assert (await send(world, "x0@ailleurs.test")).ok
    assert (await send(world, "x0@ailleurs.test")).ok
    assert await alerts(world) == ["Envois bientôt limités pour maire@ville.test"]
    assert (await send(world, "x0@ailleurs.test")).reason == "daily-limit"


@pytest.mark.parametrize("fault", ["hangs", "busy", "bug"])
async def test_an_alert_that_cannot_be_queued_delays_and_changes_no_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Between the commit and the 250: who was told 451, or gave up, sent again what had left."""
    limited(world, account_recipients_per_day=10)
    monkeypatch.setattr("delivery.queue.outbox.PAUSE", 0.01)
    real, gate = world.queue.enqueue_all, asyncio.Event()

    async def broken(news: Sequence[NewMessage]) -> list[list[int]]:
        if not gate.is_set():
            if fault == "hangs":
                await gate.wait()
            raise TemporaryError("away")
        return await real(news)

    def composed(*_: object, **__: object) -> bytes:
        raise ZeroDivisionError

    world.queue.enqueue_all = broken  # type: ignore[method-assign]  # a fault
    if fault == "bug":
        monkeypatch.setattr("message.compose.text_message", composed)
    async with asyncio.timeout(10):
        assert (await send(world, *strangers(0, 9))).ok
    gate.set()
    assert await alerts(world) == ([] if fault == "bug" else ["Envois bientôt limités pour maire@ville.test"])


async def test_an_alert_that_waits_when_the_process_stops_is_queued(world: World) -> None:
    limited(world, account_recipients_per_day=10)
    real, faults = world.queue.enqueue_all, [TemporaryError("busy")]

    async def once(news: Sequence[NewMessage]) -> list[list[int]]:
        if faults:
            raise faults.pop()
        return await real(news)

    world.queue.enqueue_all = once  # type: ignore[method-assign]  # a fault
    assert (await send(world, *strangers(0, 9))).ok
    await until(lambda: not faults)
    await world.queue.close()
    world.queue = world.another_queue()
    await world.queue.open()
    assert await alerts(world) == ["Envois bientôt limités pour maire@ville.test"]


async def test_a_hijacked_account_sends_no_more_but_receives_and_the_commune_hears_of_it(world: World) -> None:
    limited(world, account_hijack_per_hour=40, account_new_recipients_per_day=1000)
    statuses = []
    for number in range(HIJACK_MESSAGES + 2):
        statuses.append(await send(world, *strangers(number * 3, 3)))
        world.clock.advance(10.0)
    assert [status.ok for status in statuses[: HIJACK_MESSAGES - 1]] == [True] * (HIJACK_MESSAGES - 1)
    assert {str(status) for status in statuses[HIJACK_MESSAGES - 1 :]} == {
        "550 5.7.1 sending is locked for this account, ask your administrator"
    }
    assert (await send(world, "x0@ailleurs.test")).reason == "sending-locked"
    assert (await world.send(world.inbound(), MAIL, SENDER, sender="a@sender.test")).ok
    found = await alerts(world)
    assert found.count("Envois bloqués pour maire@ville.test") == 1
    world.clock.advance(7 * 86400.0)
    assert (await send(world, "x0@ailleurs.test")).reason == "sending-locked"  # time heals nothing
    assert await world.queue.unlock(f"id-{SENDER}")
    assert not await world.queue.unlock(f"id-{SENDER}")
    assert (await send(world, "x0@ailleurs.test")).ok


async def test_one_large_newsletter_is_no_hijack(world: World) -> None:
    limited(world, account_hijack_per_hour=40, account_new_recipients_per_day=1000)
    assert (await send(world, *strangers(0, 190))).ok
    assert (await send(world, *strangers(190, 190))).ok


async def test_many_letters_to_old_acquaintances_are_no_hijack(world: World) -> None:
    limited(world, account_hijack_per_hour=40, account_new_recipients_per_day=1000)
    for _ in range(2):
        for number in range(30):
            assert (await send(world, *strangers(number % 10, 2))).ok


async def test_a_message_that_is_not_kept_costs_nothing_of_the_day(world: World) -> None:
    limited(world, account_recipients_per_day=3)
    for _ in range(5):
        assert not (await send(world, *strangers(0, 2), data=MAIL.replace(b"maire@ville", b"chef@ailleurs"))).ok
    assert (await send(world, *strangers(0, 2))).ok


SHARED = b"From: accueil@ville.test\r\nTo: x@ailleurs.test\r\nSubject: Bonjour\r\n\r\nUn texte.\r\n"


async def test_what_is_sent_in_the_name_of_a_shared_account_lies_in_its_sent_folder_read(world: World) -> None:
    world.directory.account("accueil@ville.test")
    world.directory.grants.add((f"id-{SENDER}", "accueil@ville.test"))
    assert (await send(world, "x@ailleurs.test", "accueil@ville.test", data=SHARED)).ok
    [copy] = world.store.boxes["accueil@ville.test", "Envoyés"]
    assert copy.endswith(b"Un texte.\r\n")
    assert world.store.flags["accueil@ville.test", "Envoyés"] is Flag.SEEN
    assert len(world.store.inbox("accueil@ville.test")) == 1  # as a recipient it has it, too
    assert ("maire@ville.test", "Envoyés") not in world.store.boxes  # the mail program keeps one's own


@pytest.mark.parametrize("author", ["maire@ville.test", "maire+x@ville.test"])
async def test_ones_own_name_leaves_no_copy(world: World, author: str) -> None:
    assert (await send(world, "x@ailleurs.test", data=MAIL.replace(b"maire@ville.test", author.encode()))).ok
    assert not [box for box in world.store.boxes if box[1] == "Envoyés"]


async def test_a_copy_that_cannot_be_placed_stops_no_mail(world: World) -> None:
    world.directory.account("accueil@ville.test")
    world.directory.grants.add((f"id-{SENDER}", "accueil@ville.test"))
    world.store.failures["deliver:accueil@ville.test"] = [QuotaError("full")]
    assert (await send(world, "x@ailleurs.test", data=SHARED)).ok
    [message] = await world.queue.administration.list(None)
    assert sorted((item.address, item.state) for item in message.recipients) == [
        ("accueil@ville.test", "waiting"),
        ("x@ailleurs.test", "waiting"),
    ]


async def test_a_read_receipt_has_no_sender_and_is_counted(world: World) -> None:
    limited(world, account_recipients_per_day=2)
    for _ in range(2):
        assert (await send(world, "x@ailleurs.test", sender="")).ok
    assert (await send(world, "x@ailleurs.test", sender="")).reason == "daily-limit"


async def test_what_a_locked_account_has_in_the_queue_does_not_leave_until_it_is_unlocked(world: World) -> None:
    """Also what was to leave later (RFC 4865): else a stolen password would go on sending for a month."""
    limited(world, account_hijack_per_hour=40, account_new_recipients_per_day=1000)
    held = MailParameters(schedule=Schedule(release_at=world.clock.now() + 3600, hold="for;3600"))
    status = await world.send(
        world.submission(), MAIL, "y@ailleurs.test", sender=SENDER, account=SENDER, parameters=held
    )
    assert status.ok
    assert (await world.send(world.inbound(), MAIL, "agent@ville.test", sender="a@sender.test")).ok
    number = 0
    while (await send(world, *strangers(number * 3, 3))).ok:
        number += 1
        world.clock.advance(10.0)
    mine = [item for item in await world.queue.administration.list("ville.test") if item.sender == SENDER]
    assert len(mine) == number + 1
    assert all(item.held for item in mine)
    due = await world.queue.claim(world.scheduler()._destinations.selection())
    assert [claimed.message.account_id for claimed in due] == [""]  # the alert alone
    assert await world.queue.unlock(f"id-{SENDER}")
    assert not any(item.held for item in await world.queue.administration.list("ville.test"))


async def held_by(world: World) -> dict[str, tuple[str, ...]]:
    """By the first recipient: why each message is held."""
    return {item.recipients[0].address: item.held_by for item in await world.queue.administration.list(None)}


async def test_a_suspended_account_s_queued_mail_does_not_leave_until_it_is_resumed(world: World) -> None:
    """Also what was to leave later (RFC 4865), what is being tried, and what was on its way in."""
    later = MailParameters(schedule=Schedule(release_at=world.clock.now() + 3600, hold="for;3600"))
    assert (await send(world, "now@ailleurs.test")).ok
    assert (
        await world.send(
            world.submission(), MAIL, "later@ailleurs.test", sender=SENDER, account=SENDER, parameters=later
        )
    ).ok
    assert (await world.send(world.inbound(), MAIL, "agent@ville.test", sender="a@sender.test")).ok
    queue = world.queue
    [tried] = await queue.claim(world.scheduler()._destinations.selection())
    await queue.administration.suspend([f"id-{SENDER}"])
    await queue.put_back([item.id for item in tried.recipients], 0.0)
    assert (await send(world, "entering@ailleurs.test")).ok  # was let in before the directory knew
    assert set((await held_by(world)).values()) == {("suspension",)}
    world.clock.advance(7200.0)
    assert await queue.claim(world.scheduler()._destinations.selection()) == []
    await queue.administration.resume([f"id-{SENDER}"])
    assert set((await held_by(world)).values()) == {()}
    assert (await send(world, "after@ailleurs.test")).ok
    assert len(await queue.claim(world.scheduler()._destinations.selection())) == 4


async def test_what_was_delivered_while_it_was_held_holds_its_message_no_more(world: World) -> None:
    assert (await send(world, "one@far.test", "two@near.test")).ok
    queue = world.queue
    first, second = await queue.claim(world.scheduler()._destinations.selection())
    await queue.administration.suspend([f"id-{SENDER}"])
    await queue.put_back([second.recipients[0].id], 0.0)
    await queue.apply([Result(first.recipients[0].id, ResultKind.DELIVERED, accepted())], world.rules.judge)
    assert set((await held_by(world)).values()) == {("suspension",)}
    await queue.administration.resume([f"id-{SENDER}"])
    [left] = await queue.administration.list(None)
    assert (left.held, left.held_by) == (False, ())


async def test_what_an_alias_leads_on_of_a_suspended_account_s_mail_is_held(world: World) -> None:
    """It was being delivered here as the account was suspended."""
    world.directory.alias("dehors@ville.test", "elu@ailleurs.test")
    job = Job(
        "q1",
        parse(SENDER),
        (JobRecipient(1, parse("dehors@ville.test")),),
        BytesContent(MAIL),
        "",
        account_id=f"id-{SENDER}",
    )
    await world.queue.administration.suspend([f"id-{SENDER}"])
    [result] = await LocalAgent(world.directory, world.store, world.queue, world.ids, alias_depth=10).deliver(job)
    assert result.kind is ResultKind.DELIVERED
    assert await held_by(world) == {"elu@ailleurs.test": ("suspension",)}


async def test_an_unlocked_account_does_not_send_what_an_administrator_holds(world: World) -> None:
    limited(world, account_hijack_per_hour=40, account_new_recipients_per_day=1000)
    assert (await send(world, "kept@ailleurs.test")).ok
    administration = world.queue.administration
    [kept] = await administration.list(None)
    await administration.hold("ville.test", kept.queue_id)
    number = 0
    while (await send(world, *strangers(number * 3, 3))).ok:
        number += 1
        world.clock.advance(10.0)
    await administration.suspend([f"id-{SENDER}"])
    found = await held_by(world)
    assert found["kept@ailleurs.test"] == ("administrator", "lock", "suspension")
    assert found["x0@ailleurs.test"] == ("lock", "suspension")
    assert await administration.unlock(f"id-{SENDER}")
    assert (await held_by(world))["x0@ailleurs.test"] == ("suspension",)  # nor what its suspension holds
    await administration.resume([f"id-{SENDER}"])
    assert {address for address, why in (await held_by(world)).items() if why} == {"kept@ailleurs.test"}
    await administration.release("ville.test", kept.queue_id)
    assert not any((await held_by(world)).values())
