"""QUOTA and APPENDLIMIT as transcripts (RFC 9208, RFC 7889)."""

from __future__ import annotations

from pathlib import Path

from core.config import Limits
from store.service import MaildirStore, initialise
from store.types import Flag
from tests.fakes.imap_world import World

MAIL = b"Subject: one\r\n\r\nbody\r\n"


async def test_rfc9208_getquota_and_getquotaroot() -> None:
    """The examples of sections 4.1.1 and 4.1.2, with our one root."""
    async with World(quota=512 * 1024) as world:
        account = await world.account()
        account.deliver(MAIL + b"x" * 1024 * 9)
        client = await world.login()
        assert await client.ok(b'GETQUOTA ""') == [
            b'* QUOTA "" (STORAGE 10 512 MESSAGE 1 1000000)',
            b"a OK GETQUOTA completed",
        ]
        assert await client.ok(b"GETQUOTAROOT inbox") == [
            b'* QUOTAROOT INBOX ""',
            b'* QUOTA "" (STORAGE 10 512 MESSAGE 1 1000000)',
            b"a OK GETQUOTAROOT completed",
        ]
        assert (await client.ask(b"GETQUOTA INBOX"))[-1].startswith(b"a NO [NONEXISTENT]")
        assert (await client.ok(b"GETQUOTAROOT not/yet"))[0] == b'* QUOTAROOT not/yet ""'  # RFC 9208 4.1.2
        assert (await client.ask(b'GETQUOTAROOT ""'))[-1].startswith(b"a NO [CANNOT]")
        assert (await client.ask(b"GETQUOTAROOT Shared/x@mairie.test/y"))[-1].startswith(b"a NO [NONEXISTENT]")
        for bad in (b"GETQUOTA", b"GETQUOTA a b", b"GETQUOTAROOT"):
            assert (await client.ask(bad))[-1].startswith(b"a BAD"), bad


async def test_an_account_without_limit_has_no_root() -> None:
    async with World(limits=Limits(account_messages=0)) as world:
        client = await world.login()
        assert await client.ok(b"GETQUOTAROOT INBOX") == [b"* QUOTAROOT INBOX", b"a OK GETQUOTAROOT completed"]
        # RFC 9208 5: quota-list = "(" quota-resource *(SP quota-resource) ")"
        assert await client.ask(b'GETQUOTA ""') == [b"a NO [NONEXISTENT] no such quota root"]


async def test_status_tells_what_expunge_would_free() -> None:
    async with World() as world:
        account = await world.account()
        for flags in (Flag.DELETED, Flag.DELETED | Flag.SEEN, Flag.SEEN):
            account.deliver(MAIL, "INBOX", flags)
        client = await world.login()
        asked = b"(MESSAGES DELETED DELETED-STORAGE)"
        told = b"* STATUS INBOX (MESSAGES 3 DELETED 2 DELETED-STORAGE %d)" % (2 * len(MAIL))
        assert (await client.ok(b"STATUS INBOX " + asked))[0] == told
        assert told in await client.ok(b'LIST "" INBOX RETURN (STATUS %b)' % asked)
        assert (await client.ok(b"STATUS Trash (DELETED-STORAGE)"))[0] == b"* STATUS Trash (DELETED-STORAGE 0)"


async def test_rfc7889_appendlimit() -> None:
    async with World(limits=Limits(message_size="1K")) as world:
        client = await world.login()
        assert b" APPENDLIMIT=1024" in (await client.ok(b"CAPABILITY"))[0]
        assert (await client.ok(b"STATUS INBOX (APPENDLIMIT)"))[0] == b"* STATUS INBOX (APPENDLIMIT 1024)"
        assert (await client.ask(b"APPEND INBOX {1025}"))[-1].startswith(b"a NO [TOOBIG]")


async def test_the_number_of_messages_is_bounded(tmp_path: Path) -> None:
    limits = Limits(account_messages=3)
    initialise(tmp_path / "data")
    store = MaildirStore(tmp_path / "data", limits=limits)
    await store.open()
    try:
        async with World(store=store, limits=limits) as world:
            client = await world.login()
            await client.append(b"INBOX", MAIL)
            await client.append(b"INBOX", MAIL)
            await client.ok(b"SELECT INBOX")
            assert (await client.ask(b"COPY 1:2 Trash"))[-1].startswith(b"a NO [OVERQUOTA]")
            await client.ok(b"COPY 1 Trash")
            assert (await client.append(b"INBOX", MAIL))[-1].startswith(b"a NO [OVERQUOTA]")
            assert (await client.ok(b'GETQUOTA ""'))[0] == b'* QUOTA "" (MESSAGE 3 3)'
            await client.ok(b"MOVE 1 Trash")  # moving adds none
            await client.raw(b"a REPLACE 1 INBOX {%d+}\r\n%b\r\n" % (len(MAIL), MAIL))  # nor does replacing
            assert (await client.until(b"a"))[-1].startswith(b"a OK")
    finally:
        await store.close()
