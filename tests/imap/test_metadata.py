"""Annotations of mailboxes and of the server: GETMETADATA, SETMETADATA, LIST-METADATA (RFC 5464, RFC 9590)."""

from __future__ import annotations

import re

import pytest

from tests.imap.sharing import BOX, answer, town


async def test_metadata_transcript() -> None:
    """The examples of RFC 5464 4.2 and 4.3."""
    async with town() as (_, client):
        await client.raw(b"a SETMETADATA INBOX (/private/comment {33}\r\n")
        assert await client.line() == b"+ OK"
        await client.raw(b"My new comment across\r\ntwo lines.)\r\n")
        assert (await client.until(b"a"))[-1] == b"a OK SETMETADATA completed"
        await client.ok(b'SETMETADATA INBOX (/SHARED/Comment "This one is for you!")')
        assert (await client.ok(b'GETMETADATA "INBOX" (/shared/comment /private/comment)'))[0] == (
            b'* METADATA INBOX (/shared/comment "This one is for you!" '
            b"/private/comment {33}\r\nMy new comment across\r\ntwo lines.)"
        )
        assert await client.ok(b'GETMETADATA "INBOX" (MAXSIZE 30) (/shared/comment /private/comment)') == [
            b'* METADATA INBOX (/shared/comment "This one is for you!")',
            b"a OK [METADATA LONGENTRIES 33] GETMETADATA completed",
        ]
        assert await client.ok(b"GETMETADATA (MAXSIZE 30) INBOX /private/comment") == [
            b"a OK [METADATA LONGENTRIES 33] GETMETADATA completed"
        ]
        await client.ok(b"SETMETADATA INBOX (/private/comment NIL)")
        assert (await client.ok(b"GETMETADATA INBOX /private/comment"))[0] == b"* METADATA INBOX (/private/comment NIL)"


async def test_rfc6154_special_uses_are_annotations() -> None:
    """RFC 6154 4: read only here; a mailbox without one has none, and those of others are not told."""
    async with town() as (here, client):
        here.grant("lr")
        lines = await client.ok(b"GETMETADATA Sent /private/specialuse")
        assert lines[0] == b'* METADATA Sent (/private/specialuse "\\\\Sent")'
        assert (await client.ok(b"GETMETADATA INBOX /private/specialuse"))[0] == (
            b"* METADATA INBOX (/private/specialuse NIL)"
        )
        shared = b"Shared/mairie@mairie.test/Sent"
        assert b"NIL" in (await client.ok(b"GETMETADATA %b /private/specialuse" % shared))[0]
        lines = await client.ok(b'LIST "" Sent RETURN (METADATA (/private/specialuse))')
        assert lines[1] == b'* METADATA Sent (/private/specialuse "\\\\Sent")'
        assert (await answer(client, b'SETMETADATA Sent (/private/specialuse "x")')).startswith(b"a NO [CANNOT] ")


async def test_what_one_notes_for_oneself_in_anothers_mailbox_raises_no_mod_sequence() -> None:
    async with town() as (here, client):
        here.grant("lrw")
        folder = (await here.box()).box("INBOX")

        async def touched() -> None:
            folder.modseq += 1

        monkey = pytest.MonkeyPatch()
        monkey.setattr("tests.fakes.memory_store.MemoryBox.touch", lambda _: touched())
        try:
            before = folder.modseq
            await client.ok(b'SETMETADATA %b (/private/comment "mine")' % BOX)
            assert folder.modseq == before
            await client.ok(b'SETMETADATA %b (/shared/comment "ours")' % BOX)
            assert folder.modseq == before + 1
            await client.ok(b'SETMETADATA INBOX (/private/comment "mine")')
            assert folder.modseq == before + 2  # of one's own mailbox, which is counted here, too
        finally:
            monkey.undo()


async def test_metadata_depth() -> None:
    async with town() as (_, client):
        await client.ok(
            b'SETMETADATA INBOX (/private/filters/values/small "one" /private/filters/values/boss "two"'
            b' /private/filters/values/boss/deep "three" /private/filters/valuesx "four")'
        )
        for depth, found in ((b"1", [b"boss", b"small"]), (b"infinity", [b"boss", b"boss/deep", b"small"])):
            line = (await client.ok(b"GETMETADATA INBOX (DEPTH %b) (/private/filters/values)" % depth))[0]
            told = re.findall(rb"/private/filters/values/([a-z/]+) ", line)
            assert (sorted(told), b"valuesx" in line) == (found, False)
        assert await client.ok(b"GETMETADATA INBOX (DEPTH 0) /private/filters/values") == [
            b"* METADATA INBOX (/private/filters/values NIL)",
            b"a OK GETMETADATA completed",
        ]


async def test_metadata_of_the_server_and_octets_of_every_kind() -> None:
    async with town() as (_, client):
        await client.raw(b'a SETMETADATA "" (/private/vendor/x ~{4+}\r\na\0\xff\n)\r\n')
        assert (await client.until(b"a"))[-1] == b"a OK SETMETADATA completed"
        await client.raw(b'a GETMETADATA "" /private/vendor/x\r\n')
        assert await client.line() == b'* METADATA "" (/private/vendor/x ~{4}\r\na\0\xff\n)'
        await client.until(b"a")
        assert await answer(client, b'SETMETADATA "" (/shared/comment "hello")') == (
            b"a NO [NOPERM] your rights do not allow this"
        )


async def test_metadata_refusals() -> None:
    async with town() as (here, client):
        for command in (
            b"GETMETADATA INBOX /other/comment",
            b"GETMETADATA INBOX /private/com*ment",
            b"GETMETADATA INBOX /private//x",
            b"GETMETADATA INBOX /private/x/",
            b'SETMETADATA INBOX (/private "x")',
            b"GETMETADATA INBOX (DEPTH 2) /private/x",
            b"GETMETADATA INBOX (WIDTH 2) /private/x",
        ):
            assert (await answer(client, command)).startswith(b"a BAD"), command
            await client.ok(b"NOOP")
        assert (await client.ask(b"SETMETADATA INBOX (/private/x {16385+}\r\n" + b"x" * 16385 + b")"))[-1] == (
            b"a NO [METADATA MAXSIZE 16384] the value is too large"
        )
        here.grant("lr")
        assert await answer(client, b'SETMETADATA %b (/shared/comment "x")' % BOX) == (
            b"a NO [NOPERM] your rights do not allow this"
        )
        await client.ok(b'SETMETADATA %b (/private/comment "x")' % BOX)
        here.grant("r")
        assert await answer(client, b"GETMETADATA %b /private/comment" % BOX) == (
            b"a NO [NOPERM] your rights do not allow this"
        )


async def test_list_metadata() -> None:
    """RFC 9590 3."""
    async with town() as (here, client):
        here.grant("lrw")
        await client.ok(b'SETMETADATA %b (/shared/vendor/x/color "red")' % BOX)
        lines = await client.ok(b'LIST "" (INBOX Shared/*/INBOX) RETURN (METADATA (/shared/vendor/x/color))')
        assert [line for line in lines if line.startswith(b"* METADATA")] == [
            b"* METADATA INBOX (/shared/vendor/x/color NIL)",
            b'* METADATA %b (/shared/vendor/x/color "red")' % BOX,
        ]
