"""IMAP4rev2 (RFC 9051): what changes for a client that enabled it, and nothing for one that did not."""

from __future__ import annotations

import re

from store.types import Flag
from tests.fakes.imap_world import World, selected

MAIL = b"Subject: one\r\n\r\nbody\r\n"
# RFC 9051 appendix E: what the base protocol took in, all of it announced for clients of IMAP4rev1 as well
TAKEN_IN = (
    b"NAMESPACE", b"UNSELECT", b"UIDPLUS", b"ESEARCH", b"SEARCHRES", b"ENABLE", b"IDLE", b"SASL-IR", b"LIST-EXTENDED",
    b"LIST-STATUS", b"MOVE", b"LITERAL+", b"BINARY", b"SPECIAL-USE", b"STATUS=SIZE", b"CHILDREN",
)  # fmt: skip


async def test_both_revisions_are_announced_with_all_that_the_second_took_in() -> None:
    async with World() as world:
        client = await world.login()
        words = (await client.ok(b"CAPABILITY"))[0].split()
        assert words[2:4] == [b"IMAP4rev1", b"IMAP4rev2"]
        assert set(TAKEN_IN) <= set(words)
        assert await client.ok(b"ENABLE imap4rev2") == [b"* ENABLED IMAP4rev2", b"a OK ENABLE completed"]


async def test_select_tells_the_name_and_neither_recent_nor_unseen() -> None:
    async with World() as world, selected(world, MAIL) as client:
        first = await client.ok(b"SELECT INBOX")
        assert b"* 0 RECENT" in first
        assert not [line for line in first if line.startswith(b"* LIST")]
        await client.ok(b"UNSELECT")
        await client.ok(b"ENABLE IMAP4rev2")
        lines = await client.ok(b"SELECT inbox")
        assert b'* LIST () "/" INBOX' in lines
        assert not [line for line in lines if b"RECENT" in line or b"UNSEEN" in line]
        assert b'* LIST (\\Trash) "/" Trash' in await client.ok(b"EXAMINE Trash")


async def test_names_are_utf8_and_searches_are_esearches() -> None:
    async with World() as world, selected(world, MAIL) as client:
        await client.ok(b"CREATE D&AOk-lib&AOk-rations")
        await client.ok(b"UNSELECT")
        await client.ok(b"ENABLE IMAP4rev2")
        name = '"Délibérations"'.encode()
        assert [line for line in await client.ok(b'LIST "" *') if line.endswith(name)]
        assert b'* LIST () "/" ' + name in await client.ok(b"SELECT " + name)
        await client.ok(b"SELECT INBOX")
        assert (await client.ok(b"SEARCH ALL"))[0] == b'* ESEARCH (TAG "a") ALL 1'
        assert (await client.ok(b"UID SEARCH CHARSET UTF-8 SEEN"))[0] == b'* ESEARCH (TAG "a") UID'
        assert (await client.ok(b"STATUS INBOX (MESSAGES DELETED SIZE)"))[0].startswith(b"* STATUS INBOX (")


async def test_rfc9051_7_2_2_a_message_global_has_its_structure_once_imap4rev2_is_enabled() -> None:
    """Until then RFC 3501 binds, whose grammar has no envelope in it. For one message and for many."""
    mail = b"Content-Type: message/global\r\n\r\nSubject: x\r\n\r\n\r\n"
    async with World() as world, selected(world, mail, mail) as client:
        first = b'("message" "global" NIL NIL NIL "7bit" 16'
        expected = [b"* %d FETCH (BODYSTRUCTURE %b NIL NIL NIL NIL))" % (n, first) for n in (1, 2)]
        assert (await client.ok(b"FETCH 1:* BODYSTRUCTURE"))[:-1] == expected
        assert (await client.ok(b"FETCH 1 (BODY UID)"))[:-1] == [b"* 1 FETCH (BODY %b) UID 1)" % first]
        await client.ok(b"ENABLE IMAP4rev2")
        inside = b' (NIL "x" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 2 1'
        told = b"%b%b) 3) UID 1)" % (first, inside)
        assert (await client.ok(b"FETCH 1 (BODY UID)"))[:-1] == [b"* 1 FETCH (BODY " + told]
        assert all(inside in line for line in (await client.ok(b"FETCH 1:* BODYSTRUCTURE"))[:-1])


async def test_what_it_kept_is_as_before() -> None:
    async with World() as world:
        (await world.account()).deliver(MAIL, "INBOX", Flag.SEEN)
        client = await world.login()
        await client.ok(b"ENABLE IMAP4rev2 CONDSTORE")
        await client.ok(b"SELECT INBOX")
        assert (await client.ok(b"FETCH 1 (FLAGS BINARY.SIZE[1])"))[0] == b"* 1 FETCH (FLAGS (\\Seen) BINARY.SIZE[1] 6)"
        copied = await client.ok(b"COPY 1 Archive")
        assert re.search(rb"\[COPYUID \d+ 1 1\]", copied[-1])
        await client.ok(b"MOVE 1 Trash")
        assert (await client.ok(b"UID SEARCH RETURN (COUNT) ALL"))[0] == b'* ESEARCH (TAG "a") UID COUNT 0'
