"""A message from the world while something is away, slow, full or broken: before the first commit nobody has it."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from antispam.types import Unscanned
from core.address import parse
from core.config import Antispam, Limits
from core.envelope import Dsn
from core.errors import ConflictError, QuotaError, StorageError, TemporaryError
from delivery.commit import refusal
from delivery.queue.faults import translated
from delivery.queue.results import Settled
from delivery.types import MailParameters, Transaction
from store.faults import storage_error
from tests.delivery.conftest import World
from tests.delivery.from_outside import MAIL, queued
from tests.delivery.queue_alone import watch
from tests.fakes.delivery_world import FakeScanner


@pytest.mark.parametrize("opinion", [Unscanned("unavailable"), RuntimeError("bug"), Unscanned("bad-answer")])
async def test_f160_an_absent_scanner_defers_or_is_named(world: World, opinion: Unscanned | Exception) -> None:
    world.scanner = FakeScanner(opinion)
    status = await world.send(world.inbound(), MAIL, "maire@ville.test")
    assert (status.code, status.enhanced) == (451, "4.7.1")
    world.config = world.config.model_copy(update={"antispam": Antispam(when_unavailable="accept")})
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test")).ok
    assert b"X-Spam-Status: No, unscanned=" in world.store.inbox("maire@ville.test")[0]


async def test_f161_a_slow_authenticator_is_temperror_within_its_time(world: World) -> None:

    async def never(*_args: object) -> None:
        await asyncio.Event().wait()

    world.authenticator.authenticate = never  # type: ignore[method-assign,assignment]  # hangs
    world.config = world.config.model_copy(update={"limits": Limits(evidence_timeout=0.05)})
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test")).ok
    assert b"spf=temperror" in world.store.inbox("maire@ville.test")[0]


async def test_a_message_that_breaks_our_checks_is_not_in_the_inbox(world: World) -> None:
    """It counted like a DNS that is away, and DMARC with it: one bug would have been a way around every policy."""

    async def broken(*_args: object) -> None:
        raise RecursionError("a bug")

    world.authenticator.authenticate = broken  # type: ignore[method-assign,assignment]  # a fault
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test")).ok
    assert world.store.inbox("maire@ville.test") == []
    assert b"X-Beffroi-Reason: authentication-failed\r\n" in world.store.junk("maire@ville.test")[0]


@pytest.mark.parametrize("point", ["spool", "stage", "deliver:maire@ville.test"])
async def test_f149_a_full_disk_before_the_first_commit_is_452_and_keeps_nothing(world: World, point: str) -> None:
    world.store.failures[point] = [StorageError("full", code="storage-full")]
    status = await world.send(world.inbound(), MAIL, "maire@ville.test")
    assert (status.code, status.enhanced) == (452, "4.3.1")
    assert world.store.boxes == {}
    assert world.store.staged == 0
    assert await queued(world) == {}
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test")).ok


@pytest.mark.parametrize("point", ["spool", "stage", "deliver:maire@ville.test"])
async def test_f170_a_disk_that_is_read_only_or_broken_is_451_and_not_called_full(world: World, point: str) -> None:
    """Whoever reads "insufficient storage" in the sender's log deletes mail, which mends nothing."""
    cause = OSError(errno.EROFS, os.strerror(errno.EROFS))
    world.store.failures[point] = [storage_error(cause)]
    status = await world.send(world.inbound(), MAIL, "maire@ville.test")
    assert (status.code, status.enhanced) == (451, "4.3.0")
    assert world.store.boxes == {}
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test")).ok


@pytest.mark.parametrize(
    ("number", "answer"),
    [(errno.ENOSPC, (452, "4.3.1")), (errno.EDQUOT, (452, "4.3.1")), (errno.EROFS, (451, "4.3.0"))],
)
def test_f149_f150_the_queues_disk_is_called_full_only_when_it_is(
    tmp_path: Path, number: int, answer: tuple[int, str]
) -> None:
    status = refusal(translated(OSError(number, os.strerror(number)), tmp_path))
    assert (status.code, status.enhanced) == answer


async def test_a_mailbox_that_filled_up_meanwhile_is_452(world: World) -> None:
    world.store.failures["deliver:maire@ville.test"] = [QuotaError("full")]
    status = await world.send(world.inbound(), MAIL, "maire@ville.test")
    assert (status.code, status.enhanced) == (452, "4.2.2")


async def test_after_the_first_commit_the_rest_is_the_queues(world: World) -> None:
    world.store.failures["deliver:agent@ville.test"] = [StorageError("full")]
    assert (await world.send(world.inbound(), MAIL, "maire@ville.test", "agent@ville.test")).ok
    assert len(world.store.inbox("maire@ville.test")) == 1
    [recipients] = (await queued(world)).values()
    assert recipients == [("maire@ville.test", "delivered"), ("agent@ville.test", "waiting")]


async def test_p2_one_of_two_mailboxes_and_a_broken_queue_is_refused_with_nobody_having_it(world: World) -> None:
    async def broken(_new: object) -> list[int]:
        raise TemporaryError("busy")

    world.store.failures["deliver:agent@ville.test"] = [StorageError("full")]
    world.queue.enqueue_all = broken  # type: ignore[method-assign,assignment]  # a fault
    status = await world.send(world.inbound(), MAIL, "maire@ville.test", "agent@ville.test")
    assert (status.code, status.enhanced) == (451, "4.3.0")
    assert world.store.boxes == {}


async def test_a_queue_that_cannot_take_the_forwards_keeps_nothing(world: World) -> None:
    world.directory.alias("conseil@ville.test", "maire@ville.test", "elu@ailleurs.test")

    async def broken(_new: object) -> list[int]:
        raise TemporaryError("busy")

    world.queue.enqueue_all = broken  # type: ignore[method-assign,assignment]  # a fault
    status = await world.send(world.inbound(), MAIL, "conseil@ville.test")
    assert (status.code, status.enhanced) == (451, "4.3.0")
    assert world.store.boxes == {}
    assert world.store.staged == 0


async def test_a_result_that_was_lost_is_found_again_by_the_runner_without_a_second_copy(world: World) -> None:
    world.directory.alias("conseil@ville.test", "maire@ville.test", "elu@ailleurs.test")

    async def lost(*_args: object) -> list[Settled]:
        raise ConflictError("gone")

    apply, world.queue.apply = world.queue.apply, lost  # type: ignore[method-assign,assignment]  # a fault
    assert (await world.send(world.inbound(), MAIL, "conseil@ville.test")).ok
    world.queue.apply = apply  # type: ignore[method-assign]  # healed
    runner = world.another_queue()
    await runner.open()
    await watch(runner, world.clock, 615)
    local = next(
        item
        for item in await runner.claim(world.scheduler()._destinations.selection())
        if item.recipients[0].domain == ""
    )
    assert [str(item.address) for item in local.recipients] == ["maire@ville.test"]
    await runner.close()


async def test_a_directory_that_is_away_defers(world: World) -> None:
    world.directory.failure = TemporaryError("away")
    status = await world.send(world.inbound(), MAIL, "maire@ville.test")
    assert (status.code, status.enhanced) == (451, "4.3.0")


async def test_h020_a_cut_off_message_is_forgotten(world: World) -> None:
    inbound = world.inbound()
    transaction = Transaction("q", world.peer(), parse("a@sender.test"), MailParameters())
    transaction.recipients.append((parse("maire@ville.test"), Dsn()))
    reception = inbound.begin(transaction)
    await reception.feed(MAIL[:40])
    await reception.abort()
    await reception.abort()
    assert world.store.boxes == {}
    assert world.store.spools[0].closed
