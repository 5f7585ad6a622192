"""MULTIAPPEND, CATENATE, UTF8 and literal8 in APPEND (RFC 3502, RFC 4469, RFC 6855, RFC 3516)."""

from __future__ import annotations

import unicodedata

import pytest

from core.config import Limits
from imap.commands import incoming
from imap.dispatch import TOGETHER
from store.types import Flag
from tests.fakes.imap_world import Client, World

ONE = b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nFrom: Fred Foobar <foobar@Blurdybloop.example.COM>\r\n\r\nHello Joe\r\n"
TWO = b"Date: Mon, 7 Feb 1994 22:43:04 -0800\r\nFrom: Joe Mooch <mooch@OWaTaGu.example.net>\r\n\r\nOK.\r\n"


async def many(client: Client, *parts: bytes) -> bytes:
    """One APPEND to INBOX; the tagged answer."""
    await client.raw(b"a APPEND INBOX" + b"".join(parts) + b"\r\n")
    return (await client.until(b"a"))[-1]


def item(raw: bytes, before: bytes = b"") -> bytes:
    return b" %b{%d+}\r\n%b" % (before, len(raw), raw)


async def test_rfc3502_example() -> None:
    async with World() as world:
        client = await world.login()
        await client.raw(b"A003 APPEND INBOX (\\Seen) {%d}\r\n" % len(ONE))
        assert (await client.line()).startswith(b"+ ")
        await client.raw(ONE + b' (\\Seen) " 7-Feb-1994 22:43:04 -0800" {%d}\r\n' % len(TWO))
        assert (await client.line()).startswith(b"+ ")
        await client.raw(TWO + b"\r\n")
        assert (await client.until(b"A003"))[-1] == b"A003 OK [APPENDUID 1001 1:2] APPEND completed"
        box = (await world.account()).boxes["INBOX"]
        assert box.raw == {1: ONE, 2: TWO}
        assert [row.flags for row in box.messages.values()] == [Flag.SEEN, Flag.SEEN]
        assert box.messages[2].internal_date == 760689784
        assert all(spool.closed for spool in world.store.spools)


async def test_several_messages_are_all_kept_or_none() -> None:
    async with World(limits=Limits(message_size="1K")) as world:
        client = await world.login()
        for last, answer in (
            (b" {0+}\r\n", b"a NO [CANNOT]"),  # RFC 3502 6.3.11: the client gives up
            (item(b"x" * 1025), b"a NO [TOOBIG]"),
            (item(b"a\0b"), b"a NO [CANNOT]"),
            (item(TWO, b"~")[:-2] + b"\0\n", b"a NO [UNKNOWN-CTE]"),
            (item(TWO, b"(\\Bad) "), b"a BAD"),
            (item(TWO) + b" x", b"a BAD"),
            (item(TWO) + b" ", b"a BAD"),
            (b" CATENATE (URL {5+}\r\n/nope)", b"a NO [BADURL /nope]"),
        ):
            assert (await many(client, item(ONE), last)).startswith(answer), last
        await client.ok(b"NOOP")
        assert not (await world.account()).boxes["INBOX"].messages
        assert all(spool.closed for spool in world.store.spools)


async def test_appends_in_one_breath_are_done_together_and_answered_in_order() -> None:
    """RFC 9051 5.5: each as if it came alone. One that fails fails alone, in its place."""
    async with World(quota=2 * len(ONE) + 3 * len(TWO)) as world:
        client = await world.login()
        account = await world.account()
        heads = [b"INBOX", b"INBOX (\\Seen)", b"nowhere", b"Drafts", b"INBOX (\\Bad)", b"INBOX", b"INBOX"]
        sent = [ONE, TWO, ONE, TWO, ONE, ONE, ONE]
        await client.raw(
            b"".join(
                b"a%d APPEND %b%b\r\n" % (n, head, item(raw))
                for n, (head, raw) in enumerate(zip(heads, sent, strict=True))
            )
            + b"b NOOP\r\n"
        )
        said = await client.until(b"b")
        assert [line.partition(b"] ")[0] for line in said] == [
            b"a0 OK [APPENDUID 1001 1", b"a1 OK [APPENDUID 1001 2", b"a2 NO [TRYCREATE", b"a3 OK [APPENDUID 1003 1",
            b"a4 BAD [CLIENTBUG", b"a5 OK [APPENDUID 1001 3", b"a6 NO [OVERQUOTA", b"b OK NOOP completed",
        ]  # fmt: skip
        assert account.boxes["INBOX"].raw == {1: ONE, 2: TWO, 3: ONE}
        assert max(account.appended_together) > 1
        assert all(spool.closed for spool in world.store.spools)


async def test_each_name_in_another_spelling_is_told_before_its_own_answer() -> None:
    async with World() as world:
        client = await world.login()
        await client.ok(b"ENABLE UTF8=ACCEPT")
        names = ("\u00e9t\u00e9", "\u00e0 voir")
        for name in names:
            await client.ok(b'CREATE "%b"' % name.encode())
        apart = [unicodedata.normalize("NFD", name).encode() for name in names]
        await client.raw(b"".join(b'%d APPEND "%b"%b\r\n' % (n, name, item(ONE)) for n, name in enumerate(apart, 1)))
        for number, name, spelt in zip((b"1", b"2"), names, apart, strict=True):
            *told, answer = await client.until(number)
            assert answer.startswith(number + b" OK")
            assert told[-1].startswith(b"* LIST ")
            assert told[-1].endswith(b'"%b" ("OLDNAME" ("%b"))' % (name.encode(), spelt))


async def test_an_append_does_not_wait_for_one_that_has_not_come_whole() -> None:
    async with World() as world:
        client = await world.login()
        await client.raw(b"a APPEND INBOX%b\r\nb APPEND INBOX%b" % (item(ONE), item(TWO)[:-1]))
        assert (await client.line()).startswith(b"a OK [APPENDUID 1001 1]")
        await client.raw(b"\n\r\n")
        assert (await client.line()).startswith(b"b OK [APPENDUID 1001 2]")


async def test_no_more_appends_are_done_together_than_the_store_takes_at_once() -> None:
    async with World() as world:
        client = await world.login()
        await client.raw(b"".join(b"a%d APPEND INBOX%b\r\n" % (n, item(b"x")) for n in range(2 * TOGETHER + 1)))
        await client.until(b"a%d" % (2 * TOGETHER))
        assert (await world.account()).appended_together == [TOGETHER, TOGETHER]


async def test_the_mailbox_that_is_selected_is_told_of_what_came_together() -> None:
    async with World() as world:
        client = await world.login()
        await client.ok(b"SELECT INBOX")
        await client.raw(b"".join(b"b%d APPEND INBOX%b\r\n" % (n, item(ONE)) for n in range(3)))
        said = await client.until(b"b2")
        assert b"* 3 EXISTS" in said
        assert [line[:2] for line in said if line[:1] == b"b"] == [b"b0", b"b1", b"b2"]


async def test_imapclient_may_send_two_spaces_between_messages() -> None:
    """docs/quirks.md: IMAPClient.multiappend up to 4.1.0 writes them before every literal but the first."""
    async with World() as world:
        client = await world.login()
        assert (await many(client, item(ONE), b" " + item(TWO))).startswith(b"a OK [APPENDUID 1001 1:2]")
        assert (await many(client, item(ONE), b"  " + item(TWO))).startswith(b"a BAD")


async def test_quota_counts_all_messages_of_one_command() -> None:
    async with World(quota=len(ONE) + len(TWO) - 1) as world:
        client = await world.login()
        assert (await many(client, item(ONE), item(TWO))).startswith(b"a NO [OVERQUOTA]")
        assert not (await world.account()).boxes["INBOX"].messages


async def test_what_one_command_holds_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World() as world:
        client = await world.login()
        monkeypatch.setattr(incoming, "MOST_MESSAGES", 3)
        assert (await many(client, *[item(ONE)] * 3)).startswith(b"a OK")
        assert (await many(client, *[item(ONE)] * 4)).startswith(b"a NO [LIMIT]")
        monkeypatch.setattr(incoming, "MOST_SMALL", 2 * len(ONE))
        assert (await many(client, *[item(ONE)] * 2)).startswith(b"a OK")
        assert (await many(client, *[item(ONE)] * 3)).startswith(b"a NO [LIMIT]")
        monkeypatch.setattr(incoming, "SMALL", 10)
        monkeypatch.setattr(incoming, "MOST_LARGE", 1)
        assert (await many(client, item(ONE))).startswith(b"a OK")
        assert (await many(client, item(ONE), item(TWO))).startswith(b"a NO [LIMIT]")


async def test_rfc4469_example() -> None:
    """Section 2's example: parts of one message with a new part between them, two URLs of each form."""
    async with World() as world:
        account = await world.account()
        old = (
            b"From: a@b.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
            b"--x\r\nContent-Type: text/plain\r\n\r\nfirst\r\n--x\r\n\r\nsecond\r\n--x--\r\n"
        )
        account.deliver(old, "Drafts")
        client = await world.login()
        text = b"--x\r\n\r\nnew\r\n--x--\r\n"
        validity = account.boxes["Drafts"].uidvalidity
        answer = await many(
            client,
            b' (\\Draft) CATENATE (URL "/Drafts;UIDVALIDITY=%d/;UID=1/;section=HEADER" TEXT {%d+}\r\n%b' % (
                validity, 5, b"--x\r\n",
            ),
            b' URL "/Drafts/;UID=1/;SECTION=1.MIME" URL "/Drafts/;UID=1/;SECTION=1" TEXT {%d+}\r\n%b' % (
                len(text) + 2, b"\r\n" + text,
            ),
            b' URL "/Drafts/;UID=1/;SECTION=2/;PARTIAL=1.3")',
        )  # fmt: skip
        assert answer == b"a OK [APPENDUID 1001 1] APPEND completed"
        head, _, _ = old.partition(b"\r\n\r\n")
        assert account.boxes["INBOX"].raw[1] == (
            head + b"\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nfirst\r\n" + text + b"eco"
        )
        assert account.boxes["INBOX"].messages[1].flags == Flag.DRAFT


async def test_catenate_of_urls_alone_has_no_literal() -> None:
    async with World() as world:
        account = await world.account()
        await account.create("Délibérations/1")
        account.deliver(ONE, "Délibérations/1")
        client = await world.login()
        url = b"/D%C3%A9lib%c3%A9rations/1/;UID=1"
        assert (await many(client, b' CATENATE (URL "%b")' % url)).startswith(b"a OK [APPENDUID")
        assert (await many(client, b" CATENATE (URL {%d+}\r\n%b)" % (len(url), url))).startswith(b"a OK [APPENDUID")
        assert account.boxes["INBOX"].raw == {1: ONE, 2: ONE}


async def test_a_relative_url_is_of_the_selected_mailbox_whatever_it_is_called_by_now() -> None:
    """RFC 4469 3: another session renamed it, and gave its name to another."""
    async with World() as world:
        account = await world.account()
        await account.create("un")
        account.deliver(ONE, "un")
        client, other = await world.login(), await world.login()
        await client.ok(b"SELECT un")
        await other.ok(b"RENAME un deux")
        assert (await many(client, b' CATENATE (URL ";UID=1")')).startswith(b"a OK [APPENDUID")
        await other.ok(b"CREATE un")
        assert (await many(client, b' CATENATE (URL ";UID=1")')).startswith(b"a OK [APPENDUID")
        assert account.boxes["INBOX"].raw == {1: ONE, 2: ONE}


@pytest.mark.parametrize(
    "url",
    [
        b"imap://imap.mairie.test/INBOX/;UID=1", b"imap://alice%40mairie.test@IMAP.mairie.test:143/INBOX/;UID=1",
        b"IMAP://alice%40mairie.test;AUTH=*@imap.mairie.test/inbox/;UID=1", b";UID=1",
        b"//imap.mairie.test/INBOX/;uid=1", b"/INBOX;UID=1",
    ],
)  # fmt: skip
async def test_a_url_with_a_host_is_one_of_this_server_and_account(url: bytes) -> None:
    """RFC 5092 3, 7.2; mRpostman leaves out the "/" before ";UID"."""
    async with World() as world:
        account = await world.account()
        account.deliver(ONE)
        client = await world.login()
        await client.ok(b"SELECT INBOX")
        assert (await many(client, b' CATENATE (URL "%b")' % url)).startswith(b"a OK [APPENDUID")
        assert account.boxes["INBOX"].raw == {1: ONE, 2: ONE}


@pytest.mark.parametrize(
    "url",
    [
        b"/INBOX/;UID=9", b"/nowhere/;UID=1", b"/INBOX;UIDVALIDITY=9/;UID=1", b"/INBOX/;UID=1/;SECTION=7.7",
        b"/INBOX/;UID=1/;SECTION=FOO", b"imap://other.test/INBOX/;UID=1", b"/INBOX", b"/%FF/;UID=1", b"/../x/;UID=1",
        b"imap://bob%40mairie.test@imap.mairie.test/INBOX/;UID=1", b"imap://imap.mairie.test;UID=1",
        b"http://imap.mairie.test/INBOX/;UID=1", b"//other.test/INBOX/;UID=1", b"imap:/INBOX/;UID=1",
    ],
)  # fmt: skip
async def test_a_url_that_names_nothing_is_badurl(url: bytes) -> None:
    async with World() as world:
        (await world.account()).deliver(ONE)
        client = await world.login()
        assert (await many(client, b' CATENATE (URL "%b")' % url)).startswith(b"a NO [BADURL %b]" % url)
        assert len((await world.account()).boxes["INBOX"].messages) == 1


async def test_catenate_of_nothing_and_of_too_much() -> None:
    async with World(limits=Limits(message_size="1K")) as world:
        (await world.account()).deliver(b"x" * 1000)
        client = await world.login()
        assert (await many(client, b" CATENATE (TEXT {0+}\r\n)")).startswith(b"a NO [CANNOT]")
        assert (await many(client, b" CATENATE ()")).startswith(b"a BAD")
        assert (await many(client, b" CATENATE (FOO x)")).startswith(b"a BAD")
        twice = b' CATENATE (URL "/INBOX/;UID=1" URL "/INBOX/;UID=1")'
        assert (await many(client, twice)).startswith(b"a NO [TOOBIG]")
        # Promise P9; RFC 4469 5: BADURL has its URL always
        for url, told in ((b"/INBOX/;UID=1\x01", b"/INBOX/;UID=1%01"), (b"/IN]BOX/;UID=1", b"/IN%5DBOX/;UID=1")):
            assert b"[BADURL %b] " % told in await many(client, b' CATENATE (URL "%b")' % url)


async def test_literal8_is_a_literal_without_nul() -> None:
    async with World() as world:
        client = await world.login()
        assert (await many(client, item(ONE, b"~"))).startswith(b"a OK")
        assert (await many(client, item(b"a\0b", b"~"))).startswith(b"a NO [UNKNOWN-CTE]")
        assert (await world.account()).boxes["INBOX"].raw == {1: ONE}


async def test_utf8_data_needs_utf8_accept() -> None:
    async with World() as world:
        client = await world.login()
        raw = "Subject: été\r\n\r\nx\r\n".encode()
        assert (await many(client, b" UTF8 (~{%d}" % len(raw))).startswith(b"a NO [CANNOT]")
        assert (await many(client, b" UTF8 (~{%d+}\r\n%b)" % (len(raw), raw))).startswith(b"a NO [CANNOT]")
        await client.ok(b"NOOP")
