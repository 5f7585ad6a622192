"""A long queue for one destination: put off at one answer, judged a few at a time, hiding nobody (row 141)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection

from core.address import parse
from core.clock import ManualClock
from core.errors import TemporaryError
from core.status import deferred
from delivery.destinations import FIRST, Destinations
from delivery.next_hop import Routes
from delivery.queue import backlog as backlogs
from delivery.queue import claims
from delivery.queue.backlog import Backlog
from delivery.queue.claims import PAGE, ROUNDS, Candidate, Choice
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from tests.delivery.queue_alone import everything, judge, new


async def test_h141_a_full_destination_does_not_hide_the_others(queue: Queue, clock: ManualClock) -> None:
    await asyncio.gather(*(queue.enqueue(new(f"dead{n:04}", "x@dead.test")) for n in range(600)))
    clock.advance(1)
    await queue.enqueue(new("well", "x@well.test"))

    def two_each(page: Sequence[Candidate]) -> Choice:
        mine: dict[str, list[int]] = {}
        for item in page:
            mine.setdefault(item.domain, []).append(item.id)
        full = frozenset(domain for domain, ids in mine.items() if len(ids) > 2)
        return Choice(tuple((id_,) for ids in mine.values() for id_ in ids[:2]), full)

    taken = await queue.claim(two_each)
    assert sorted(job.recipients[0].address.domain for job in taken) == ["dead.test", "dead.test", "well.test"]


def of(queue_id: str, owner: str, *domains: str) -> NewMessage:
    recipients = tuple(NewRecipient(parse(f"x@{domain}"), owner) for domain in domains)
    return replace(new(queue_id), recipients=recipients)


@pytest.mark.parametrize("bulk", ["ab", "abdef"])
async def test_h141_communes_that_are_more_than_a_crowded_hop_has_places_take_turns(
    queue: Queue, clock: ManualClock, bulk: str
) -> None:
    """Two who had much for a server that takes one of ours at a time kept everybody else behind all they had."""
    hop, domains = "mx.big.test:25", ("big.test", "also.big.test")
    for number in range(60):
        await queue.enqueue_all([of(f"{owner}{number}", owner, *domains) for owner in bulk])
        clock.advance(1)
    await queue.enqueue(of("c0", "c", *domains))
    destinations = Destinations(100, Routes(dict.fromkeys(domains, hop)).next_hop)
    for _ in range(5):  # it says that it is busy
        destinations.started(hop)
        destinations.ended(hop, reached=True, crowded=True)
    served = []
    for _ in range(2 * len(bulk) + 1):
        [claimed] = await queue.claim(destinations.selection())
        assert len(claimed.recipients) == len(domains), "of one message, together"
        served.append(claimed.recipients[0].organisation_id)
        destinations.started(hop, served[-1])
        destinations.ended(hop, reached=True, crowded=True, owner=served[-1])
    assert "".join(served) == f"{bulk[0]}{bulk[1:]}c{bulk}"


async def test_f146_a_claim_that_is_tried_again_takes_nothing_that_became_anothers_meanwhile(
    queue: Queue, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: a deadlock at PostgreSQL, after which a look of two instances begins again. Whoever had been passed over
    before it was leased a second time, and what had been chosen counted as taken."""
    destinations = Destinations(100, Routes({"big.test": "mx.big.test:25"}).next_hop)
    for _ in range(3):
        destinations.started("mx.big.test:25", "a")
        destinations.ended("mx.big.test:25", reached=True, crowded=True, owner="a")
    await queue.enqueue_all([of("a0", "a", "big.test"), of("b0", "b", "well.test")])
    write = queue._database.write

    def only_big(page: Sequence[Candidate]) -> Choice:
        return Choice(tuple((item.id,) for item in page if item.domain == "big.test"), frozenset())

    async def deadlocked(run: Callable[[Connection], Any], *, durable: bool = True) -> Any:
        def in_the_way(*_: object) -> None:
            raise TemporaryError("deadlock")

        monkeypatch.setattr(claims, "_lease", in_the_way)
        with pytest.raises(TemporaryError):
            await write(run, durable=durable)
        monkeypatch.undo()
        others.extend(await queue.claim(only_big))
        return await write(run, durable=durable)

    others = list[claims.Claimed]()
    monkeypatch.setattr(queue._database, "write", deadlocked)
    mine = await queue.claim(destinations.selection())
    assert [job.message.queue_id for job in others] == ["a0"]
    assert [job.message.queue_id for job in mine] == ["b0"]


async def test_h141_people_of_very_many_domains_behind_one_server_hide_nobody(queue: Queue, clock: ManualClock) -> None:
    for first in range(0, (ROUNDS + 1) * PAGE, 500):
        await queue.enqueue_all([of(f"a{n}", "a", f"d{n}.test") for n in range(first, first + 500)])
    clock.advance(1)
    await queue.enqueue(of("b0", "b", "one.test"))
    smart = Destinations(100, Routes({"*": "smart.test:25"}).next_hop)
    taken = [job.recipients[0].organisation_id for job in await queue.claim(smart.selection())]
    assert taken == ["a"] * FIRST + ["b"]


async def test_h141_one_answer_puts_off_all_that_is_due_for_a_dead_domain(queue: Queue, clock: ManualClock) -> None:
    await asyncio.gather(*(queue.enqueue(new(f"q{n}", "x@dead.test", "y@well.test")) for n in range(30)))
    clock.advance(60)
    status = deferred("no host answers", "unreachable", "4.4.1")
    backlog = Backlog("dead.test", clock.at + 300, status, "", expired=clock.at - 1e6, late=clock.at - 1e5)
    assert await queue.put_off(backlog, judge) == []
    due = await queue.claim(everything)
    assert {item.address.domain for job in due for item in job.recipients} == {"well.test"}
    shown = await queue.administration.show(None, "q0")
    assert shown.recipients[0].last_status == "451 4.4.1 no host answers"
    assert shown.recipients[0].attempts == 1


async def test_a_backlog_takes_old_messages_through_the_rule(queue: Queue, clock: ManualClock) -> None:
    await queue.enqueue(new("old", "x@dead.test"))
    clock.advance(86400)
    await queue.enqueue(new("young", "x@dead.test"))
    status = deferred("no host answers", "unreachable", "4.4.1")
    backlog = Backlog("dead.test", clock.at + 300, status, "", expired=clock.at - 5 * 86400, late=clock.at - 4 * 3600)
    [judged] = await queue.put_off(backlog, judge)
    assert judged.message.queue_id == "old"
    assert (await queue.administration.show(None, "young")).recipients[0].attempts == 1


async def test_h141_a_backlog_of_old_messages_is_judged_a_few_at_a_time(
    queue: Queue, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them is some statements: all at once they held the database for seconds."""
    monkeypatch.setattr("delivery.queue.backlog.JUDGED", 2)
    for number in range(5):
        await queue.enqueue(new(f"old{number}", "x@dead.test", "y@well.test"))
    clock.advance(86400)
    await queue.enqueue(new("young", "x@dead.test"))
    status = deferred("no host answers", "unreachable", "4.4.1")
    backlog = Backlog("dead.test", clock.at + 300, status, "", expired=clock.at - 5 * 86400, late=clock.at - 4 * 3600)
    part, after = await queue._database.write(lambda c: backlogs.put_off(c, backlog, judge, now=clock.at))
    assert (len(part), after > 0) == (2, True)
    assert sorted(item.message.queue_id for item in await queue.put_off(backlog, judge)) == ["old2", "old3", "old4"]
    assert (await queue.administration.show(None, "young")).recipients[0].attempts == 1
    assert await queue.put_off(backlog, judge) == []


async def test_h141_a_long_backlog_is_put_off_part_by_part(
    queue: Queue, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement over 50,000 rows held up everybody's mail for seconds."""
    monkeypatch.setattr("delivery.queue.backlog.MOVED", 3)
    for number in range(8):
        await queue.enqueue(new(f"d{number}", "x@dead.test"))
    writes = []
    real = queue._database.write

    async def counted(*arguments: Any, **options: Any) -> Any:
        writes.append(1)
        return await real(*arguments, **options)

    queue._database.write = counted  # type: ignore[method-assign]  # watched
    status = deferred("no host answers", "unreachable", "4.4.1")
    backlog = Backlog("dead.test", clock.at + 900, status, "", expired=clock.at - 1e6, late=clock.at - 1e6)
    assert await queue.put_off(backlog, judge) == []
    assert len(writes) == 3
    assert await queue.next_due() == clock.now() + 900
