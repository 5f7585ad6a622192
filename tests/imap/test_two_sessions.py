"""Two connections and one mailbox: what is told when, IDLE, races, pipelines, a client that does not read."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from core.config import Limits
from imap.commands import store
from store.types import Flag, FlagsChanged
from tests.fakes.imap_world import Client, World, selected

MAIL = b"Subject: one\r\n\r\nbody\r\n"


async def test_expunge_is_withheld_during_fetch_store_and_search_by_number() -> None:
    async with World() as world, selected(world, MAIL, MAIL, MAIL) as one:
        two = await world.login()
        await two.ok(b"SELECT INBOX")
        await two.ok(b"STORE 1 +FLAGS.SILENT \\Deleted")
        await two.ok(b"EXPUNGE")
        for command in (b"FETCH 2 UID", b"STORE 2 +FLAGS.SILENT \\Seen", b"SEARCH ALL"):
            assert not [line for line in await one.ok(command) if line.endswith(b"EXPUNGE")], command
        assert (await one.ok(b"FETCH 2 UID"))[0] == b"* 2 FETCH (UID 2)"
        assert b"* 1 EXPUNGE" in await one.ok(b"UID FETCH 2 FLAGS")
        assert (await one.ok(b"FETCH 1 UID"))[0] == b"* 1 FETCH (UID 2)"


async def test_store_on_what_another_expunged_says_so() -> None:
    async with World() as world, selected(world, MAIL, MAIL) as one:
        two = await world.login()
        await two.ok(b"SELECT INBOX")
        await two.ok(b"STORE 1 +FLAGS.SILENT \\Deleted")
        await two.ok(b"EXPUNGE")
        lines = await one.ask(b"STORE 1:2 +FLAGS \\Seen")
        assert b"* 2 FETCH (FLAGS (\\Seen))" in lines
        assert lines[-1].startswith(b"a NO [EXPUNGEISSUED]")


@pytest.mark.parametrize("command", [b"COPY 2 Trash", b"COPY 1:3 Trash", b"MOVE 1:2 Trash"])
async def test_copy_by_number_of_what_another_expunged_copies_nothing(command: bytes) -> None:
    """RFC 2180 4.4.2: the client would take messages for copied that are not."""
    async with World() as world, selected(world, MAIL, MAIL, MAIL) as one:
        two = await world.login()
        await two.ok(b"SELECT INBOX")
        await two.ok(b"STORE 2 +FLAGS.SILENT \\Deleted")
        await two.ok(b"EXPUNGE")
        assert await one.ask(command) == [
            b"* 2 EXPUNGE",
            b"a NO [EXPUNGEISSUED] some of the messages no longer exist",
        ]
        assert (await one.ok(b"STATUS Trash (MESSAGES)"))[0] == b"* STATUS Trash (MESSAGES 0)"
        assert (await one.ok(b"STATUS INBOX (MESSAGES)"))[0] == b"* STATUS INBOX (MESSAGES 2)"


@pytest.mark.parametrize("command", [b"UID COPY 1:3 Trash", b"UID MOVE 1:3 Trash", b"COPY $ Trash"])
async def test_copy_by_uid_passes_over_what_another_expunged_and_tells_what_it_copied(command: bytes) -> None:
    """RFC 9051 6.4.9: a UID that is not there is no error; RFC 5182 2.1: "$" holds what is left."""
    async with World() as world, selected(world, MAIL, MAIL, MAIL) as one:
        await one.ok(b"SEARCH RETURN (SAVE) ALL")
        two = await world.login()
        await two.ok(b"SELECT INBOX")
        await two.ok(b"STORE 2 +FLAGS.SILENT \\Deleted")
        await two.ok(b"EXPUNGE")
        assert [line for line in await one.ok(command) if b" 1,3 1:2] " in line]


async def test_a_change_between_the_look_and_a_silent_store_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9051 6.4.6: .SILENT keeps back what the client asked for itself, nothing else."""
    async with World() as world, selected(world, MAIL, MAIL) as one:
        two = await world.login()
        await two.ok(b"SELECT INBOX")
        change = store._change

        async def slow(*arguments: Any) -> FlagsChanged:
            monkeypatch.undo()
            await two.ok(b"UID STORE 1 +FLAGS.SILENT (\\Answered)")
            return await change(*arguments)

        monkeypatch.setattr(store, "_change", slow)
        lines = await one.ok(b"STORE 1:2 +FLAGS.SILENT (\\Flagged)")
        assert lines[:-1] == [b"* 1 FETCH (UID 1 FLAGS (\\Answered \\Flagged))"]


async def test_changes_of_another_are_told_at_the_end_of_a_command() -> None:
    async with World() as world, selected(world, MAIL, MAIL) as one:
        two = await world.login()
        await two.ok(b"SELECT INBOX")
        await two.ok(b"STORE 2 +FLAGS \\Seen")
        (await world.account()).deliver(MAIL)
        assert await one.ok(b"NOOP") == [
            b"* 3 EXISTS",
            b"* 2 FETCH (UID 2 FLAGS (\\Seen))",
            b"a OK NOOP completed",
        ]
        assert await one.ok(b"NOOP") == [b"a OK NOOP completed"]


async def test_idle_tells_at_once_and_ends_with_done() -> None:
    async with World() as world, selected(world, MAIL) as one:
        account = await world.account()
        await one.raw(b"a IDLE\r\n")
        assert await one.line() == b"+ idling"
        account.deliver(MAIL)
        assert await one.line() == b"* 2 EXISTS"  # nothing but the hint wakes it within two minutes
        two = await world.login()
        await two.ok(b"SELECT INBOX")
        await two.ok(b"STORE 1 +FLAGS.SILENT \\Deleted")
        assert await one.line() == b"* 1 FETCH (UID 1 FLAGS (\\Deleted))"
        await two.ok(b"EXPUNGE")
        assert await one.line() == b"* 1 EXPUNGE"
        await one.raw(b"DO")
        await one.raw(b"NE\r\n")
        assert (await one.until(b"a"))[-1] == b"a OK IDLE terminated"
        assert account.listeners == 0


async def test_idle_tells_what_happened_before_it_began() -> None:
    async with World() as world, selected(world) as one:
        (await world.account()).deliver(MAIL)
        await one.raw(b"a IDLE\r\n")
        assert [await one.line(), await one.line()] == [b"+ idling", b"* 1 EXISTS"]


async def test_h038_a_busy_mailbox_is_told_in_few_words() -> None:
    async with World() as world, selected(world) as one:
        account = await world.account()
        await one.raw(b"a IDLE\r\n")
        await one.line()
        for _ in range(1000):
            account.deliver(MAIL)
        lines: list[bytes] = []
        while not lines or lines[-1] != b"* 1000 EXISTS":
            lines.append(await one.line())
        assert len(lines) < 20


async def test_h038_who_gets_a_thousand_messages_a_second_is_told_a_few_times_a_second() -> None:
    """One after the other, each with its hint: a line each would cost every listener what a delivery costs."""
    async with World() as world, selected(world) as one:
        account = await world.account()
        await one.raw(b"a IDLE\r\n")
        await one.line()
        begin = asyncio.get_running_loop().time()
        for _ in range(1000):
            account.deliver(MAIL)
            await asyncio.sleep(0.001)
        lasted = asyncio.get_running_loop().time() - begin  # several seconds on a machine that has other work
        lines: list[bytes] = []
        while not lines or lines[-1] != b"* 1000 EXISTS":
            lines.append(await one.line())
        assert len(lines) <= 20 * lasted + 5


async def test_h102_a_command_during_idle_ends_it_with_bad_and_stays_in_step() -> None:
    async with World() as world, selected(world) as one:
        await one.raw(b"a IDLE\r\n")
        await one.line()
        await one.raw(b"b NOOP\r\nc NOOP\r\n")
        assert (await one.until(b"a"))[-1].startswith(b"a BAD")
        assert (await one.until(b"c"))[-1].startswith(b"c OK")
        await one.raw(b"d IDLE\r\nDONE\r\ne NOOP\r\n")  # without waiting for "+"
        assert (await one.until(b"e"))[-1].startswith(b"e OK")


async def test_h102_done_without_idle_is_bad_and_a_flood_of_it_ends() -> None:
    async with World() as world, selected(world) as one:
        await one.raw(b"DONE\r\n" * 30)
        rest = await one.ended()
        assert rest.count(b"BAD") == 20
        assert b"* BYE [CLIENTBUG]" in rest


async def test_h102_ten_thousand_commands_in_one_breath_are_answered_in_order() -> None:
    async with World() as world, selected(world) as one:
        other = await world.login()
        answered, most = 0, 0

        async def ping() -> None:
            nonlocal most
            for _ in range(10):
                before = answered
                await other.ok(b"NOOP")
                most = max(most, answered - before)

        async def send() -> None:
            await one.raw(b"".join(b"%d NOOP\r\n" % number for number in range(10_000)))

        async def receive() -> None:
            nonlocal answered
            for number in range(10_000):
                assert await one.line() == b"%d OK NOOP completed" % number
                answered += 1

        await asyncio.gather(send(), receive(), ping())
        assert most < 5000  # some tenths of a second: promise P7


async def test_h037_a_client_that_does_not_read_is_cut_and_costs_no_memory() -> None:
    async with World(limits=Limits(imap_stall=0.5)) as world, selected(world) as one:
        (await world.account()).deliver(b"Subject: big\r\n\r\n" + b"x" * 30_000_000)
        assert b"* 1 EXISTS" in await one.ok(b"NOOP")
        (connection,) = world.server._connections
        one.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's transport can
        await one.raw(b"a FETCH 1 BODY[]\r\n")
        async with asyncio.timeout(10):
            while world.server.connections:
                assert connection._channel.unsent < 1_000_000
                await asyncio.sleep(0.02)


async def test_a_session_that_waits_holds_nothing_up() -> None:
    async with World() as world, selected(world) as one:
        await one.raw(b"a APPEND INBOX {1000000+}\r\n" + b"x" * 1000)
        two = await world.login()
        await two.ok(b"SELECT INBOX")
        await two.ok(b"NOOP")


RACING = [
    b"STORE 1:3 +FLAGS.SILENT \\Deleted",
    b"EXPUNGE",
    b"UID MOVE 2:4 Trash",
    b"COPY 1:2 INBOX",
    b"NOOP",
    b"UID FETCH 1:* FLAGS",
    b"FETCH 1:* UID",
    b"UID STORE 1:* -FLAGS \\Deleted",
]


async def test_h104_racing_sessions_end_with_the_same_mailbox() -> None:
    """Four clients flag, move, expunge and fetch at once; afterwards all believe what the store holds."""
    async with World() as world:
        account = await world.account()
        for _ in range(20):
            account.deliver(MAIL)
        clients = [await world.login() for _ in range(4)]
        for client in clients:
            await client.ok(b"SELECT INBOX")

        async def work(client: Client, seed: random.Random) -> None:
            for _ in range(40):
                command = seed.choice(RACING)
                await client.ask(command)

        await asyncio.gather(*(work(client, random.Random(number)) for number, client in enumerate(clients)))
        for client in clients:
            await client.ask(b"NOOP")
        truth = sorted(account.boxes["INBOX"].messages)
        flags = {uid: Flag.DELETED in row.flags for uid, row in account.boxes["INBOX"].messages.items()}
        for client in clients:
            lines = (await client.ask(b"FETCH 1:* (UID FLAGS)"))[:-1]
            expected = [
                b"* %d FETCH (UID %d FLAGS (%b))" % (number, uid, b"\\Deleted" if flags[uid] else b"")
                for number, uid in enumerate(truth, 1)
            ]
            assert lines == expected
