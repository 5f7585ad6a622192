"""What mail programs do beside the standard, one test a row (docs/quirks.md): each speaks as the program does."""

from __future__ import annotations

import asyncio

import pytest

from imap import capability
from message import charset
from tests.fakes.imap_world import World, selected

MAIL = b"Subject: one\r\nX-Spam-Flag: NO\r\n\r\nbody\r\n"
CONTAINER = (
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain\r\n\r\nfirst\r\n--b\r\nContent-Type: text/plain\r\n\r\nsecond\r\n--b--\r\n"
)


async def test_imaplib_keeps_the_first_list_of_capabilities() -> None:
    """It asks once, before login: what is missing there it never uses."""
    async with World() as world:
        client = await world.connect()
        told = client.greeting.partition(b"[CAPABILITY ")[2].partition(b"]")[0].decode().split()
        listed = {name.partition("=")[0] for name in (*capability.BASE, *capability.MAIL)} - {
            "MESSAGELIMIT",
            "SAVELIMIT",
        }
        assert listed - {"I18NLEVEL"} <= {name.partition("=")[0] for name in told}


@pytest.mark.parametrize("numbers", [b"1:*", b"*", b"*:1"])
@pytest.mark.parametrize("prefix", [b"", b"UID "])
async def test_everything_of_an_empty_mailbox_is_nothing_and_no_error(prefix: bytes, numbers: bytes) -> None:
    async with World() as world, selected(world) as client:
        for command in (b"FETCH %b (UID FLAGS)", b"STORE %b +FLAGS.SILENT (\\Seen)", b"SEARCH UID %b"):
            lines = await client.ok(prefix + command % numbers)
            assert [line for line in lines if line.startswith(b"* ")] in ([], [b"* SEARCH"])


async def test_thunderbird_hears_of_an_expunge_at_the_end_of_uid_fetch() -> None:
    """RFC 9051 7.5.1 forbids it during FETCH, STORE and SEARCH, not during their UID forms."""
    async with World() as world, selected(world, MAIL, MAIL) as client:
        other = await world.login()
        await other.ok(b"SELECT INBOX")
        await other.ok(b"UID STORE 1 +FLAGS.SILENT (\\Deleted)")
        await other.ok(b"UID EXPUNGE 1")
        lines = await client.ok(b"UID FETCH 2:* (FLAGS)")
        assert lines[-2:] == [b"* 1 EXPUNGE", b"a OK FETCH completed"]


async def test_header_is_searched_whether_its_name_has_a_colon_or_not() -> None:
    async with World() as world, selected(world, MAIL, b"Subject: two\r\n\r\n") as client:
        for field in (b"X-Spam-Flag", b"X-Spam-Flag:", b'"x-spam-flag:"'):
            assert (await client.ok(b"SEARCH HEADER %b NO" % field))[0] == b"* SEARCH 1"


async def test_eight_bits_in_quoted_strings_are_read_where_people_type() -> None:
    """Passwords, what is searched for, names of devices; not in names of mailboxes, which have an encoding."""
    async with World() as world, selected(world, MAIL, "Subject: Fête\r\n\r\n".encode()) as client:
        for charset in (b"CHARSET UTF-8 ", b""):
            assert (await client.ok(b'SEARCH %bSUBJECT "f\xc3\xaate"' % charset))[0] == b"* SEARCH 2"
        assert (await client.ok(b'SORT (ARRIVAL) UTF-8 SUBJECT "f\xc3\xaate"'))[0] == b"* SORT 2"
        assert (await client.ok(b'SEARCH CHARSET ISO-8859-1 SUBJECT "f\xeate"'))[0] == b"* SEARCH 2"
        assert (await client.ask(b'SEARCH CHARSET UTF-8 SUBJECT "f\xeate"'))[-1].startswith(b"a NO [BADCHARSET ")
        await client.ok(b'ID ("name" "T\xc3\xa9l\xc3\xa9phone d\'Ana\xc3\xafs")')
        assert (await client.ask(b'SELECT "f\xc3\xaate"'))[-1].startswith(b"a BAD ")
        stranger = await world.connect(tls=True)
        for wrong in (b'"gar\xc3\xa7on"', b'"gar\xe7on"'):  # a password like any other
            lines = await stranger.ask(b"LOGIN alice@mairie.test " + wrong)
            assert lines[-1].startswith(b"a NO [AUTHENTICATIONFAILED] ")


async def test_a_script_appends_bare_line_feeds() -> None:
    async with World() as world, selected(world) as client:
        await client.append(b"INBOX", b"Subject: one\n\nfirst\nsecond\r\n")
        assert (await client.ok(b"FETCH 1 BODY.PEEK[]"))[0].endswith(b"Subject: one\r\n\r\nfirst\r\nsecond\r\n)")


def test_latin_1_is_read_as_windows_1252_and_eight_bits_without_a_charset_as_utf_8() -> None:
    assert charset.decode(b"\x80 \x93a\x94", "iso-8859-1") == "€ “a”"
    assert charset.decode("é€".encode(), "") == "é€"
    assert charset.decode(b"\xe9", "iso-8859-1x") == "é"


async def test_a_part_of_a_part_that_has_none_is_nil() -> None:
    """Dovecot answers 2.1 with part 2; RFC 9051 6.4.5.1 numbers no such part."""
    async with World() as world, selected(world, CONTAINER) as client:
        assert (await client.ok(b"FETCH 1 BODY.PEEK[2]"))[0].endswith(b"\r\nsecond)")
        assert (await client.ok(b"FETCH 1 BODY.PEEK[2.1]"))[0] == b"* 1 FETCH (BODY[2.1] NIL)"


async def test_return_behind_the_charset_of_sort_is_read() -> None:
    """RFC 5267 3 puts it before the criteria."""
    async with World() as world, selected(world, MAIL, MAIL, MAIL) as client:
        told = [
            (await client.ok(command))[0]
            for command in (
                b"SORT RETURN (PARTIAL 2:3) (REVERSE ARRIVAL) US-ASCII ALL",
                b"SORT (REVERSE ARRIVAL) US-ASCII RETURN (PARTIAL 2:3) ALL",
            )
        ]
        assert told[0] == told[1] == b'* ESEARCH (TAG "a") PARTIAL (2:3 2:3)'


async def test_imaplib_sends_the_end_of_a_command_apart_from_its_literal() -> None:
    async with World() as world, selected(world) as client:
        await client.raw(b"a APPEND INBOX {%d}\r\n" % len(MAIL))
        assert await client.line() == b"+ OK"
        await client.raw(MAIL)
        await asyncio.sleep(0.05)
        await client.raw(b"\r\n")
        assert b"[APPENDUID" in (await client.until(b"a"))[-1]


async def test_a_client_unsubscribes_what_is_gone_and_asks_for_lists_in_the_old_way() -> None:
    """Outlook and old Apple Mail work on LSUB, and clean up after a folder that another program deleted."""
    async with World() as world:
        client = await world.login()
        for command in (b"CREATE Dossier", b"SUBSCRIBE Dossier", b"DELETE Dossier"):
            await client.ok(command)
        assert b"Dossier" in b" ".join(await client.ok(b'LSUB "" "*"'))
        await client.ok(b"UNSUBSCRIBE Dossier")
        await client.ok(b"UNSUBSCRIBE Dossier")
        assert b"Dossier" not in b" ".join(await client.ok(b'LSUB "" "*"'))


async def test_mutt_and_others_write_inbox_as_they_like() -> None:
    async with World() as world, selected(world, MAIL) as client:
        for name in (b"inbox", b'"Inbox"', b"{5+}\r\niNbOx"):
            assert b"* 1 EXISTS" in await client.ok(b"SELECT " + name)
        assert (await client.ok(b"STATUS inBox (MESSAGES)"))[0].endswith(b"(MESSAGES 1)")
        await client.ok(b"CREATE Inbox/Projets")
        assert b'* LIST (\\HasNoChildren) "/" INBOX/Projets' in await client.ok(b'LIST "inbox/" %')
        await client.ok(b"SELECT inbox/Projets")
        assert (await client.ask(b"SELECT inbox/projets"))[-1].startswith(b"a NO [NONEXISTENT]")


async def test_apple_mail_keeps_its_colours_and_its_opinion_of_junk_in_keywords() -> None:
    marks = (b"$MailFlagBit0", b"$MailFlagBit2", b"$NotJunk", b"JunkRecorded", b"$Forwarded")
    async with World() as world, selected(world, MAIL) as client:
        await client.ok(b"UID STORE 1 +FLAGS.SILENT (\\Flagged %b)" % b" ".join(marks))
        await client.ok(b"LOGOUT")
        again = await world.login()
        told = b"\r\n".join(await again.ok(b"SELECT INBOX"))
        assert b"\\*)]" in told  # PERMANENTFLAGS: without it Apple Mail keeps them to itself
        (line, _) = await again.ok(b"UID FETCH 1 (FLAGS)")
        assert {b"\\Flagged", *marks} <= set(line[line.index(b"(\\") + 1 : line.index(b")")].split())


async def test_ios_sends_a_whole_visit_at_once_and_each_command_is_answered_in_its_turn() -> None:
    """Apple's technical note TN3191: commands are pipelined."""
    commands = (
        b'ID ("name" "iPhone Mail" "version" "22A" "os" "iOS" "os-version" "18.0 (22A)")', b"CAPABILITY", b"NAMESPACE",
        b'LIST "" "*" RETURN (SUBSCRIBED SPECIAL-USE STATUS (MESSAGES UNSEEN))', b"SELECT INBOX (CONDSTORE)",
        b"STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)", b"UID SEARCH RETURN (ALL) 1:* NOT DELETED",
        b"UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)",
        b"UID FETCH 2 (BODY.PEEK[1]<0.4>)", b"IDLE",
    )  # fmt: skip
    async with World() as world:
        account = await world.account()
        account.deliver(MAIL)
        account.deliver(MAIL)
        client = await world.login()
        await client.raw(b"".join(b"i%d %b\r\n" % pair for pair in enumerate(commands)) + b"DONE\r\n")
        lines = await client.until(b"i%d" % (len(commands) - 1))
        tagged = [line.split(b" ")[:2] for line in lines if line.startswith(b"i")]
        assert tagged == [[b"i%d" % number, b"OK"] for number in range(len(commands))]
        assert b'* ESEARCH (TAG "i6") UID ALL 1:2' in lines
        assert any(line.startswith(b"* STATUS INBOX (MESSAGES 2 UIDNEXT 3 ") for line in lines)  # of the selected one
        assert b"* 2 FETCH (UID 2 BODY[1]<0> {4}\r\nbody)" in lines


async def test_samsung_and_k9_look_for_what_they_stored_by_its_message_id() -> None:
    """Android's old mail program, of which Samsung's comes, writes the id as an atom, in parentheses."""
    mail = b"Message-ID: <7f.1$x@mairie.test>\r\nSubject: sent\r\n\r\nbody\r\n"
    async with World() as world, selected(world, MAIL, mail) as client:
        for query in (
            b"(HEADER MESSAGE-ID <7f.1$x@mairie.test>)", b"HEADER MESSAGE-ID <7f.1$x@mairie.test>",
            b'HEADER Message-ID "<7f.1$x@mairie.test>"', b"UID 2", b"2:* NOT DELETED", b"2 UNDELETED",
        ):  # fmt: skip
            assert (await client.ok(b"UID SEARCH " + query))[0] == b"* SEARCH 2"


async def test_outlook_asks_for_what_came_behind_its_last_uid_and_marks_what_it_deletes() -> None:
    """`n:*` behind the last message names the last one (RFC 9051 9); what it marks stays until somebody purges it."""
    async with World() as world, selected(world, MAIL, MAIL) as client:
        assert (await client.ok(b"UID FETCH 3:* (UID FLAGS)"))[:-1] == [b"* 2 FETCH (UID 2 FLAGS ())"]
        await client.ok(b"UID STORE 1 +FLAGS.SILENT (\\Deleted \\Seen)")
        lines = await client.append(b"INBOX", MAIL, b'(\\Seen) "01-Dec-2026 08:00:00 +0100" ')
        assert b"* 3 EXISTS" in lines[:-1]  # of a message it stored itself, or it shows the folder without it
        assert await client.ok(b"UID FETCH 3:* (UID FLAGS)") == [
            b"* 3 FETCH (UID 3 FLAGS (\\Seen))",
            b"a OK FETCH completed",
        ]
        await client.ok(b"LOGOUT")
        again = await world.login()
        assert b"* 3 EXISTS" in await again.ok(b"SELECT INBOX")


async def test_gmails_importer_reads_all_and_leaves_it_unread() -> None:
    """It comes again and again and knows messages by UIDVALIDITY and UID."""
    async with World() as world:
        account = await world.account()
        account.deliver(MAIL)
        account.deliver(MAIL)
        seen = []
        for _ in range(2):
            client = await world.login()
            validity = [line for line in await client.ok(b"EXAMINE INBOX") if b"UIDVALIDITY" in line]
            uids = (await client.ok(b"UID SEARCH ALL"))[0]
            told = await client.ok(b"UID FETCH 1:2 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
            assert b"".join(told).count(MAIL) == 2
            assert b"\\Seen" not in b"".join(await client.ok(b"UID FETCH 1:2 (FLAGS RFC822)"))
            seen.append((validity, uids, told))
            await client.ok(b"LOGOUT")
        assert seen[0] == seen[1]


async def test_thunderbird_makes_a_folder_that_is_to_hold_folders_with_a_separator_behind_its_name() -> None:
    async with World() as world:
        client = await world.login()
        await client.ok(b'CREATE "Dossier/"')
        await client.ok(b'CREATE "Dossier/Sous"')
        listed = await client.ok(b'LIST "" "Dossier*"')
        assert listed[:-1] == [b'* LIST (\\HasChildren) "/" Dossier', b'* LIST (\\HasNoChildren) "/" Dossier/Sous']
