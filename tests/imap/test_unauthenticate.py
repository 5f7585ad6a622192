"""UNAUTHENTICATE as transcripts (RFC 8437)."""

from __future__ import annotations

from core.config import Limits
from tests.fakes.imap_world import World

MAIL = b"Subject: one\r\n\r\nbody\r\n"


async def test_nothing_of_the_login_is_left() -> None:
    async with World() as world:
        world.directory.add("bruno")
        (await world.account()).deliver(MAIL)
        client = await world.connect()
        assert (await client.ask(b"UNAUTHENTICATE"))[-1].startswith(b"a BAD")
        await client.login()
        await client.ok(b"ENABLE UTF8=ACCEPT CONDSTORE")
        await client.ok(b"SELECT INBOX")
        await client.ok(b"STORE 1 +FLAGS.SILENT \\Deleted")
        lines = await client.ok(b"UNAUTHENTICATE")
        assert lines[-1].startswith(b"a OK [CAPABILITY ")
        assert b" AUTH=PLAIN" in lines[-1]
        for command in (b"FETCH 1 FLAGS", b"SELECT INBOX"):  # a third one would end a stranger's connection
            assert (await client.ask(command))[-1].startswith(b"a BAD"), command
        await client.login("bruno")
        assert (await client.ask('CREATE "é"'.encode()))[-1].startswith(b"a BAD")
        assert (await client.ok(b"SELECT INBOX"))[1] == b"* 0 EXISTS"
        assert (await world.account()).boxes["INBOX"].messages  # closed without expunge


async def test_seats_and_bounds_are_those_of_a_stranger_again() -> None:
    limits = Limits(connections_per_address=2, imap_connections_per_account=1)
    async with World(limits=limits) as world:
        one = await world.login()
        await one.ok(b"UNAUTHENTICATE")
        two = await world.login()  # the account's one seat is free
        await two.ok(b"NOOP")
        await world.connect()
        assert (await world.connect()).greeting.startswith(b"* BYE [LIMIT]")  # the address has two: one is among them
        await one.raw(b"a LOGIN " + b"x" * limits.imap_line_before_login + b"\r\n")
        assert (await one.ended()).startswith(b"* BYE")


async def test_an_address_without_a_seat_left_loses_the_connection() -> None:
    async with World(limits=Limits(connections_per_address=1)) as world:
        one = await world.login()
        await world.connect()
        await one.raw(b"a UNAUTHENTICATE\r\n")
        assert (await one.ended()).startswith(b"* BYE [LIMIT]")
