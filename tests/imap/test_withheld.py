"""Capabilities switched off: for all, for one account, for one kind of client; and LITERAL- (docs/quirks.md)."""

from __future__ import annotations

from core.config import Imap
from tests.fakes.imap_world import World


async def test_switched_off_for_all() -> None:
    async with World(settings=Imap(without=["IDLE", "compress=deflate", "QRESYNC"])) as world:
        client = await world.connect()
        assert b" IDLE" not in client.greeting
        await client.login()
        told = (await client.ok(b"CAPABILITY"))[0]
        assert b" IDLE" not in told
        assert b"COMPRESS" not in told
        for command in (b"IDLE", b"COMPRESS DEFLATE"):
            assert (await client.ask(command))[-1] == b"a BAD [CLIENTBUG] unknown command"
        assert (await client.ok(b"ENABLE QRESYNC CONDSTORE"))[0] == b"* ENABLED CONDSTORE"


async def test_switched_off_for_one_account() -> None:
    async with World(settings=Imap(without_for={"Alice@mairie.test": ["MOVE"]})) as world:
        world.directory.add("bruno")
        alice = await world.connect()
        assert b" MOVE" in alice.greeting
        await alice.login()
        assert b" MOVE" not in (await alice.ok(b"CAPABILITY"))[0]
        await alice.ok(b"SELECT INBOX")
        assert (await alice.ask(b"UID MOVE 1 Trash"))[-1] == b"a BAD [CLIENTBUG] unknown command"
        assert b" MOVE" in (await (await world.login("bruno")).ok(b"CAPABILITY"))[0]
        await alice.ok(b"UNAUTHENTICATE")
        assert b" MOVE" in (await alice.ok(b"CAPABILITY"))[0]


async def test_switched_off_for_one_kind_of_client() -> None:
    async with World(settings=Imap(without_for={"odd mail": ["IDLE"]})) as world:
        client = await world.connect()
        await client.ok(b'ID ("name" "Odd Mail" "version" "3")')
        assert b" IDLE" not in (await client.ok(b"CAPABILITY"))[0]
        await client.login()
        assert b" IDLE" not in (await client.ok(b"CAPABILITY"))[0]
        assert (await client.ask(b"IDLE"))[-1] == b"a BAD [CLIENTBUG] unknown command"
        await client.ok(b'ID ("name" "Thunderbird")')
        assert b" IDLE" in (await client.ok(b"CAPABILITY"))[0]


async def test_with_literal_minus_large_literals_must_wait() -> None:
    async with World(settings=Imap(literal_minus=True)) as world:
        client = await world.connect()
        assert b" LITERAL- " in client.greeting
        assert b"LITERAL+" not in client.greeting
        await client.login()
        assert (await client.append(b"INBOX", b"x" * 4096))[-1].startswith(b"a OK")
        assert (await client.append(b"INBOX", b"x" * 4097))[-1].startswith(b"a BAD [TOOBIG]")
        await client.raw(b"a APPEND INBOX {4097}\r\n")
        assert await client.line() == b"+ OK"
        await client.raw(b"x" * 4097 + b"\r\n")
        assert (await client.until(b"a"))[-1].startswith(b"a OK")
