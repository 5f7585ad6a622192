"""REPLACE and UID REPLACE as transcripts (RFC 8508), on the store in memory and on the real one."""

from __future__ import annotations

from pathlib import Path

from store.types import Flag
from tests.fakes.imap_world import World, selected
from tests.imap.test_real_store import real

OLD = b"Subject: draft\r\n\r\nfirst\r\n"
NEW = b"Subject: draft\r\n\r\nsecond, longer\r\n"


async def test_rfc8508_example() -> None:
    """Section 3.4's, with our numbers."""
    async with World() as world, selected(world, *[OLD] * 4) as client:
        await client.raw(b"A003 REPLACE 4 Drafts (\\Seen \\Draft $MDNSent) {%d}\r\n" % len(NEW))
        assert (await client.line()).startswith(b"+ ")
        await client.raw(NEW + b"\r\n")
        assert await client.until(b"A003") == [
            b"* OK [APPENDUID 1003 1] replacement ready",
            b"* 4 EXPUNGE",
            b"A003 OK REPLACE completed",
        ]
        drafts = (await world.account()).boxes["Drafts"]
        assert drafts.raw == {1: NEW}
        assert drafts.messages[1].flags == Flag.SEEN | Flag.DRAFT


async def test_in_the_same_mailbox_exists_comes_too() -> None:
    async with World() as world, selected(world, OLD, OLD) as client:
        await client.raw(b"a UID REPLACE 1 INBOX {%d+}\r\n%b\r\n" % (len(NEW), NEW))
        lines = await client.until(b"a")
        assert lines[0] == b"* OK [APPENDUID 1001 3] replacement ready"
        assert sorted(lines[1:3]) == [b"* 1 EXPUNGE", b"* 2 EXISTS"]
        assert lines[-1] == b"a OK REPLACE completed"
        assert (await client.ok(b"UID SEARCH ALL"))[0] == b"* SEARCH 2 3"


async def test_what_cannot_be_replaced_is_refused_before_it_is_sent() -> None:
    async with World() as world, selected(world, OLD) as client:
        for command, answer in (
            (b"UID REPLACE 7 INBOX {10}", b"a NO [NONEXISTENT]"),
            (b"REPLACE 2 INBOX {10}", b"a BAD"),
            (b"REPLACE 1:2 INBOX {10}", b"a BAD"),
            (b"REPLACE 1 nowhere {10}", b"a NO [TRYCREATE]"),
            (b"REPLACE 1 INBOX {0}", b"a NO [CANNOT]"),
            (b"REPLACE 1 INBOX", b"a BAD"),
            (b"REPLACE 1 INBOX {3+}\r\nabc {3+}\r\nabc", b"a BAD"),  # one message only
        ):
            assert (await client.ask(command))[-1].startswith(answer), command
        await client.ok(b"EXAMINE INBOX")
        assert (await client.ask(b"REPLACE 1 INBOX {10}"))[-1].startswith(b"a NO [READ-ONLY]")
        await client.ok(b"CLOSE")
        assert (await client.ask(b"REPLACE 1 INBOX {10}"))[-1].startswith(b"a BAD")
        assert (await world.account()).boxes["INBOX"].raw == {1: OLD}


async def test_another_session_expunged_it_meanwhile() -> None:
    async with World() as world, selected(world, OLD, OLD) as one:
        two = await world.login()
        await two.ok(b"SELECT INBOX")
        await one.raw(b"a REPLACE 1 INBOX {%d}\r\n" % len(NEW))
        assert (await one.line()).startswith(b"+ ")
        await two.ok(b"STORE 1 +FLAGS.SILENT \\Deleted")
        await two.ok(b"EXPUNGE")
        await one.raw(NEW + b"\r\n")
        assert (await one.until(b"a"))[-1].startswith(b"a NO [EXPUNGEISSUED]")
        assert (await world.account()).boxes["INBOX"].raw == {2: OLD}


async def test_on_the_real_store(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, _):
        client = await world.login()
        await client.append(b"Drafts", OLD)
        await client.ok(b"SELECT Drafts")
        await client.raw(b"a REPLACE * Drafts (\\Draft) {%d+}\r\n%b\r\n" % (len(NEW), NEW))
        assert (await client.until(b"a"))[-1] == b"a OK REPLACE completed"
        lines = await client.ok(b"UID FETCH 1:* (FLAGS BODY.PEEK[])")
        assert lines[0].startswith(b"* 1 FETCH (UID 2 FLAGS (\\Draft \\Recent)")
        assert NEW in lines[0]
        assert len(lines) == 2
