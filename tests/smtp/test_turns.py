"""Who waits does so before 354, and never long: RFC 1047's window in which a message may come twice stays short."""

from __future__ import annotations

import asyncio

from smtp.turns import PATIENCE, Turn, Turns
from tests.fakes.smtp_server import FakeAcceptor, Wire, running, service

LONG = 60.0


def _patient(most: int) -> Turns:
    return Turns(most, haste=LONG, work=LONG, patience=LONG)


async def _settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_as_many_as_there_are_turns_go_at_once_and_the_next_in_the_order_they_asked() -> None:
    turns, order = _patient(2), list[str]()

    async def one(name: str) -> Turn:
        turn = await turns.next()
        order.append(name)
        return turn

    tasks = [asyncio.ensure_future(one(name)) for name in "abcd"]
    await _settled()
    assert order == ["a", "b"]
    tasks[1].result().over()
    tasks[1].result().over()  # once more is no harm
    await _settled()
    assert order == ["a", "b", "c"]
    tasks[0].result().over()
    await _settled()
    assert order == ["a", "b", "c", "d"]
    for task in tasks:
        task.result().over()


async def test_p7_who_does_not_send_gives_his_turn_away() -> None:
    turns = Turns(1, haste=0.01, work=LONG, patience=LONG)
    await turns.next()
    async with asyncio.timeout(5):
        (await turns.next()).over()


async def test_p7_a_message_that_waits_for_others_gives_its_turn_away() -> None:
    """For DNS, or Rspamd."""
    turns = Turns(1, haste=LONG, work=0.01, patience=LONG)
    (await turns.next()).ended()
    async with asyncio.timeout(5):
        (await turns.next()).over()


async def test_a_message_that_ends_late_counts_all_the_same() -> None:
    turns = Turns(1, haste=0.01, work=LONG, patience=LONG)
    late = await turns.next()
    while turns.free < 1:
        await asyncio.sleep(0.005)
    late.ended()
    waiting = asyncio.ensure_future(turns.next())
    await _settled()
    assert not waiting.done()
    late.over()
    (await waiting).over()
    assert turns.free == 1


async def test_who_gets_no_turn_goes_on_without_and_none_is_lost() -> None:
    turns = Turns(1, haste=LONG, work=LONG, patience=0.01)
    first = await turns.next()
    second = await turns.next()
    assert turns.free == -1
    second.over()
    first.over()
    assert turns.free == 1


async def test_a_session_that_ends_while_it_waits_leaves_no_gap() -> None:
    turns = _patient(1)
    first = await turns.next()
    gone, granted, last = (asyncio.ensure_future(turns.next()) for _ in range(3))
    await _settled()
    gone.cancel()
    await _settled()
    first.over()  # the second in line has it, and is cancelled before it knows
    granted.cancel()
    (await last).over()
    assert granted.cancelled()
    assert turns.free == 1


async def test_a_turn_that_ends_while_those_who_wait_are_cancelled_goes_to_the_next() -> None:
    """All at one step of the loop, as when the server closes: none of them has heard of it yet."""
    turns = _patient(1)
    first = await turns.next()
    *gone, last = (asyncio.ensure_future(turns.next()) for _ in range(3))
    await _settled()
    for waiting in gone:
        waiting.cancel()
    first.over()
    (await last).over()
    assert all(waiting.cancelled() for waiting in gone)
    assert turns.free == 1


async def test_a_354_waits_while_a_message_is_written_and_not_for_one_that_is_being_sent() -> None:
    """C: DATA  S: (nothing, until the message before has its 250)  S: 354"""
    written = asyncio.Event()
    acceptor = FakeAcceptor(on_finish=written.wait)
    turns = Turns(1, haste=0.01, work=LONG, patience=LONG)
    async with running(service(acceptor=acceptor, turns=turns)) as server:
        slow, first, second = [await Wire.connect(server) for _ in range(3)]
        await slow.envelope()
        slow.send("Subject: I take my time")
        await first.envelope()  # not for the slow one
        first.send("x\r\n.")
        while not acceptor.receptions[-1].data:
            await asyncio.sleep(0.005)
        await second.ehlo()
        second.send(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<agent@mairie.test>\r\nDATA\r\n")
        answer = asyncio.ensure_future(second.reply())
        done, _ = await asyncio.wait((answer,), timeout=0.1)
        assert not done
        written.set()
        assert (await first.reply()).startswith("250 2.0.0")
        assert (await answer).startswith("250 2.1.0")
        assert (await second.reply()).startswith("250 2.1.5")
        assert (await second.reply()).startswith("354")
        assert (await second.say("y\r\n.")).startswith("250 2.0.0")
        assert (await slow.say("\r\nz\r\n.")).startswith("250 2.0.0")
    assert turns.free == 1


async def test_p7_with_every_turn_taken_for_good_a_354_comes_within_two_seconds() -> None:
    assert PATIENCE < 2.0
    never = asyncio.Event()
    acceptor = FakeAcceptor(on_finish=never.wait)
    turns = Turns(1, work=LONG)
    async with running(service(acceptor=acceptor, turns=turns)) as server:
        stuck, other = await Wire.connect(server), await Wire.connect(server)
        await stuck.envelope()
        stuck.send("x\r\n.")
        while not acceptor.receptions[-1].data:
            await asyncio.sleep(0.005)
        await other.envelope()  # while the other has its turn still
        assert not never.is_set()
        assert turns.free == -1
        never.set()
        assert (await stuck.reply()).startswith("250")


async def test_a_connection_that_breaks_gives_its_turn_back() -> None:
    turns = _patient(1)
    async with running(service(turns=turns)) as server:
        broken = await Wire.connect(server)
        await broken.envelope()
        assert turns.free == 0
        broken.close()
        async with asyncio.timeout(5):
            while turns.free < 1:
                await asyncio.sleep(0.005)
