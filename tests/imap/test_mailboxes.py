"""Mailbox commands as transcripts: SELECT, LIST, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE, and the small ones."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from imap.wire.scanner import LONGEST_NAME
from store.types import Flag
from tests.fakes.imap_world import World, selected

MAIL = b"Subject: one\r\n\r\nbody\r\n"


async def test_select_says_all_that_rfc3501_asks_for() -> None:
    async with World() as world:
        account = await world.account()
        account.deliver(MAIL, "INBOX", Flag.SEEN, "$Work")
        account.deliver(MAIL)
        client = await world.login()
        assert await client.ok(b"SELECT inbox") == [
            b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)",
            b"* 2 EXISTS",
            b"* 0 RECENT",
            b"* OK [UNSEEN 2] first unseen",
            b"* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work \\*)] Flags that stay",
            b"* OK [UIDNEXT 3] next UID",
            b"* OK [UIDVALIDITY 1001] UIDs are valid",
            b"* OK [HIGHESTMODSEQ 3] highest",
            b"* OK [MAILBOXID (f1)] this mailbox",
            b"a OK [READ-WRITE] SELECT completed",
        ]


async def test_examine_is_read_only() -> None:
    async with World() as world, selected(world, MAIL) as client:
        lines = await client.ok(b"EXAMINE INBOX")
        assert lines[0].startswith(b"* OK [CLOSED]")
        assert b"* OK [PERMANENTFLAGS ()] Flags that stay" in lines
        assert lines[-1].startswith(b"a OK [READ-ONLY]")
        for command in (b"STORE 1 FLAGS ()", b"EXPUNGE", b"UID EXPUNGE 1", b"MOVE 1 Trash"):
            assert (await client.ask(command))[-1].startswith(b"a NO [READ-ONLY]"), command
        await client.ok(b"COPY 1 Trash")
        await client.ok(b"CLOSE")


async def test_a_select_that_fails_leaves_nothing_selected() -> None:
    async with World() as world, selected(world) as client:
        lines = await client.ask(b"SELECT nowhere")
        assert lines[0].startswith(b"* OK [CLOSED]")
        assert lines[-1].startswith(b"a NO [NONEXISTENT]")
        assert (await client.ask(b"EXPUNGE"))[-1].startswith(b"a BAD")


async def test_list_the_standard_folders_with_their_uses() -> None:
    async with World() as world:
        client = await world.login()
        lines = await client.ok(b'LIST "" *')
        assert lines[0] == b'* LIST (\\HasNoChildren) "/" INBOX'
        assert b'* LIST (\\HasNoChildren \\Sent) "/" Sent' in lines
        assert await client.ok(b'LIST "" ""') == [b'* LIST (\\Noselect) "/" ""', b"a OK LIST completed"]
        assert (await client.ok(b'LIST "" inbox'))[0] == b'* LIST (\\HasNoChildren) "/" INBOX'


async def test_list_extended_with_status() -> None:
    async with World() as world:
        (await world.account()).deliver(MAIL)
        client = await world.login()
        await client.ok(b"UNSUBSCRIBE Junk")
        lines = await client.ok(b'LIST (SUBSCRIBED) "" (INBOX Junk) RETURN (CHILDREN STATUS (MESSAGES SIZE))')
        assert lines == [
            b'* LIST (\\HasNoChildren \\Subscribed) "/" INBOX',
            b"* STATUS INBOX (MESSAGES 1 SIZE 22)",
            b"a OK LIST completed",
        ]
        lines = await client.ok(b'LIST (SPECIAL-USE) "" % RETURN (SUBSCRIBED)')
        assert b'* LIST (\\HasNoChildren \\Junk) "/" Junk' in lines
        assert b'* LIST (\\HasNoChildren \\Sent \\Subscribed) "/" Sent' in lines
        for bad in (
            b'(FOO) "" *',
            b'(RECURSIVEMATCH) "" *',
            b'"" * RETURN (FOO)',
            b'"" * RETURN (STATUS (FOO))',
            b'""',
        ):
            assert (await client.ask(b"LIST " + bad))[-1].startswith(b"a BAD"), bad


async def test_a_name_longer_than_any_folders_is_not_taken_apart() -> None:
    """Cause: a literal of 1 MiB held everybody's connections for a third of a second."""
    async with World() as world:
        client = await world.login()
        for octets, refused in ((LONGEST_NAME, "no such mailbox"), (LONGEST_NAME + 1, "folder name is too long")):
            name = b"&AOk-a" * (octets // 6) + b"a" * (octets % 6)
            told = await client.ask(b"STATUS {%d+}\r\n%b (MESSAGES)" % (octets, name))
            assert refused.encode() in told[-1]
            assert await client.ok(b'LIST "" {%d+}\r\n%b' % (octets, name)) == [b"a OK LIST completed"]


async def test_names_outside_ascii_travel_as_modified_utf7() -> None:
    async with World() as world:
        client = await world.login()
        await client.ok(b"CREATE D&AOk-lib&AOk-rations/2026")
        lines = await client.ok(b'LIST "" D*')
        assert b'* LIST (\\HasChildren) "/" D&AOk-lib&AOk-rations' in lines
        assert "Délibérations/2026" in (await world.account()).boxes
        assert (await client.ok(b"STATUS D&AOk-lib&AOk-rations (MESSAGES)"))[0].startswith(
            b"* STATUS D&AOk-lib&AOk-rations ("
        )


@pytest.mark.parametrize("name", [b"&AAA-", b"&ACY-", b"a&", b"&AGE-"])
async def test_h096_names_with_two_spellings_are_refused_and_never_listed(name: bytes) -> None:
    async with World() as world:
        client = await world.login()
        await client.ok(b'CREATE "&-"')
        assert (await client.ask(b"CREATE " + name))[-1].startswith(b"a NO [CANNOT]")
        assert (await client.ask(b"SELECT " + name))[-1].startswith(b"a NO [CANNOT]")
        assert await client.ok(b'LIST "" ' + name) == [b"a OK LIST completed"]


@pytest.mark.parametrize("name", [b"a//b", b"/a", b'"a%"', b'"a*"', b"..", b"a/../b", b"/"])
async def test_h097_names_that_cannot_be(name: bytes) -> None:
    async with World() as world:
        client = await world.login()
        await client.ok(b"CREATE ok")
        assert (await client.ask(b"CREATE " + name))[-1].startswith((b"a NO [CANNOT]", b"a BAD"))
        assert (await client.ask(b"RENAME ok " + name))[-1].startswith((b"a NO [CANNOT]", b"a BAD"))


async def test_create_delete_rename() -> None:
    async with World() as world:
        client = await world.login()
        account = await world.account()
        await client.ok(b"CREATE Projets/")
        assert (await client.ask(b"CREATE Projets"))[-1].startswith(b"a NO [ALREADYEXISTS]")
        assert (await client.ask(b"CREATE inbox"))[-1].startswith(b"a NO [ALREADYEXISTS]")
        await client.ok(b"CREATE Projets/2026/Ecole")
        await client.ok(b"CREATE Envois (USE (\\Sent))")
        assert account.boxes["Envois"].special_use == "\\Sent"
        assert (await client.ask(b"CREATE x (USE (\\All))"))[-1].startswith(b"a NO [USEATTR]")
        await client.ok(b"RENAME Projets Chantiers")
        assert "Chantiers/2026/Ecole" in account.boxes
        assert (await client.ask(b"RENAME Projets y"))[-1].startswith(b"a NO [NONEXISTENT]")
        assert (await client.ask(b"RENAME Chantiers Sent"))[-1].startswith(b"a NO [ALREADYEXISTS]")
        assert (await client.ask(b"RENAME Chantiers Chantiers/x"))[-1].startswith(b"a NO [CANNOT]")
        assert (await client.ask(b"DELETE INBOX"))[-1].startswith(b"a NO [CANNOT]")
        await client.ok(b"DELETE Chantiers")
        assert b'* LIST (\\Noselect \\HasChildren) "/" Chantiers' in await client.ok(b'LIST "" %')
        assert (await client.ask(b"DELETE Chantiers"))[-1].startswith(b"a NO [HASCHILDREN]")
        assert (await client.ask(b"DELETE nothing"))[-1].startswith(b"a NO [NONEXISTENT]")


async def test_renaming_inbox_leaves_an_empty_one() -> None:
    async with World() as world, selected(world, MAIL, MAIL) as client:
        lines = await client.ok(b"RENAME INBOX Vieux")
        assert lines[:2] == [b"* 2 EXPUNGE", b"* 1 EXPUNGE"]
        assert (await client.ok(b"STATUS Vieux (MESSAGES)"))[0] == b"* STATUS Vieux (MESSAGES 2)"


async def test_renaming_inbox_copies_its_annotations() -> None:
    """RFC 5464 4.1: they are preserved on INBOX as well."""
    async with World() as world:
        client = await world.login()
        await client.ok(b'SETMETADATA INBOX (/shared/comment "a" /private/comment "b")')
        await client.ok(b"RENAME INBOX Vieux")
        for name in (b"INBOX", b"Vieux"):
            lines = await client.ok(b"GETMETADATA %b (/shared/comment /private/comment)" % name)
            assert lines[0] == b'* METADATA %b (/shared/comment "a" /private/comment "b")' % name


async def test_deleting_the_selected_mailbox_closes_it() -> None:
    async with World() as world:
        client, other = await world.login(), await world.login()
        await client.ok(b"CREATE x")
        await client.ok(b"SELECT x")
        await other.ok(b"SELECT x")
        assert (await client.ok(b"DELETE x"))[0].startswith(b"* OK [CLOSED]")
        assert (await client.ask(b"CHECK"))[-1].startswith(b"a BAD")
        await other.raw(b"a NOOP\r\n")  # RFC 2180 3.3
        assert (await other.until(b"a"))[-1].startswith(b"a OK")
        assert (await other.ended()).startswith(b"* BYE")


async def test_status_tells_each_item_once_and_refuses_what_it_does_not_know() -> None:
    async with World() as world:
        account = await world.account()
        account.deliver(MAIL, "INBOX", Flag.SEEN | Flag.DELETED)
        account.deliver(MAIL)
        client = await world.login()
        asked = b"STATUS inbox (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE MESSAGES)"
        assert (await client.ok(asked))[0] == (
            b"* STATUS INBOX (MESSAGES 2 RECENT 0 UIDNEXT 3 UIDVALIDITY 1001 UNSEEN 1 DELETED 1 SIZE 44)"
        )
        assert (await client.ask(b"STATUS x (MESSAGES)"))[-1].startswith(b"a NO [NONEXISTENT]")
        for bad in (b"INBOX ()", b"INBOX MESSAGES", b"INBOX (FOO)", b"INBOX"):
            assert (await client.ask(b"STATUS " + bad))[-1].startswith(b"a BAD")


async def test_what_is_unsubscribed_is_not_listed_by_lsub() -> None:
    async with World() as world:
        client = await world.login()
        await client.ok(b"UNSUBSCRIBE Junk")
        assert b'* LSUB () "/" Junk' not in await client.ok(b'LSUB "" *')
        await client.ok(b"SUBSCRIBE Junk")
        assert b'* LSUB () "/" Junk' in await client.ok(b'LSUB "" *')
        assert (await client.ask(b"SUBSCRIBE nothing"))[-1].startswith(b"a NO [NONEXISTENT]")


async def test_namespace_id_enable_check_unselect() -> None:
    async with World() as world, selected(world) as client:
        assert (await client.ok(b"NAMESPACE"))[0] == b'* NAMESPACE (("" "/")) (("Other Users/" "/")) (("Shared/" "/"))'
        assert (await client.ok(b'ID ("name" "Thunderbird" "vendor" NIL)'))[
            0
        ] == b'* ID ("name" "Beffroi" "version" "1")'
        await client.ok(b"ID NIL")
        await client.ok(b"CHECK")
        await client.ok(b"UNSELECT")
        assert (await client.ask(b"UNSELECT"))[-1].startswith(b"a BAD")
        assert await client.ok(b"ENABLE X-FOO CONDSTORE") == [b"* ENABLED CONDSTORE", b"a OK ENABLE completed"]


async def test_enable_after_select_counts_from_then_on() -> None:
    """RFC 5161 3.1: a client must not, a server need not check."""
    async with World() as world, selected(world, MAIL, MAIL) as client:
        lines = await client.ok(b"ENABLE QRESYNC")
        assert lines[0].startswith(b"* OK [HIGHESTMODSEQ ")
        assert lines[1:] == [b"* ENABLED QRESYNC", b"a OK ENABLE completed"]
        await client.ok(b"STORE 1 +FLAGS.SILENT (\\Deleted)")
        assert b"* VANISHED 1" in await client.ok(b"EXPUNGE")


async def test_h142_id_is_bounded() -> None:
    async with World() as world:
        client = await world.login()
        for fields in (b'"n" "%b"' % (b"x" * 1025), b" ".join([b'"n" "v"'] * 31), b'"%b" "v"' % (b"n" * 31), b'"n"'):
            assert (await client.ask(b"ID (%b)" % fields))[-1].startswith(b"a BAD")


async def test_h142_what_a_client_says_of_itself_is_one_text_in_the_log() -> None:
    """A table of thirty long values once passed by the log's bound of 1 KiB for a text."""
    with capture_logs() as events:
        async with World() as world:
            client = await world.connect()
            await client.ok(b"ID (%b)" % b" ".join(b'"n%d" "%b"' % (number, b"x" * 200) for number in range(30)))
    (event,) = [event for event in events if event["event"] == "imap-client"]
    assert event["client"].startswith("n0=xxx")
    assert event["client"].endswith("x; n29=" + "x" * 200)


async def test_logout_says_bye_then_ok_and_closes() -> None:
    async with World() as world:
        client = await world.login()
        assert await client.ok(b"LOGOUT") == [b"* BYE logging out", b"a OK LOGOUT completed"]
        assert await client.ended() == b""


async def test_mailbox_ids_at_create_and_in_status() -> None:
    """RFC 8474 4.1, 4.3: the same id, which a rename keeps."""
    async with World() as world:
        client = await world.login()
        made = (await client.ok(b"CREATE x"))[-1]
        box = (await world.account()).boxes["x"]
        assert made == b"a OK [MAILBOXID (%b)] CREATE completed" % box.id.encode()
        await client.ok(b"RENAME x y")
        told = b"* STATUS y (MAILBOXID (%b))" % box.id.encode()
        assert (await client.ok(b"STATUS y (MAILBOXID)"))[0] == told
        assert told in await client.ok(b'LIST "" y RETURN (STATUS (MAILBOXID))')
