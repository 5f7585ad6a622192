"""NOTIFY as transcripts of two connections (RFC 5465). Long: one command, whose events and filters meet in each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pytest

from core.errors import StorageError
from directory.rights import parse
from directory.types import Account
from imap import annotations as kept
from imap import notify
from store.types import Flag
from tests.fakes.imap_world import World, selected
from tests.fakes.memory_store import MemoryAccount

MAIL = b"Subject: one\r\nFrom: a@b.test\r\n\r\nbody\r\n"
MESSAGES = b"(MessageNew MessageExpunge FlagChange)"
BOX = b"Shared/mairie@mairie.test/INBOX"


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rights and annotations are looked at again at once."""
    monkeypatch.setattr(notify, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(kept, "EVERY", 0.01)


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rights and annotations are not looked at by the clock."""
    monkeypatch.setattr(notify, "LOOK_EVERY", 3600)
    monkeypatch.setattr(kept, "EVERY", 3600)


async def mairie(world: World, letters: str) -> MemoryAccount:
    """A shared mailbox in which alice has these rights."""
    owner = world.directory.accounts.get("mairie@mairie.test") or world.directory.add("mairie", shared=True)
    world.directory.sharing.grant(owner, world.alice, parse(letters))
    return await world.account("mairie")


async def test_selected_mailbox_without_a_command() -> None:
    async with World() as world, selected(world, MAIL, MAIL) as one:
        await one.ok(b"NOTIFY SET (selected %b)" % MESSAGES)
        (await world.account()).deliver(MAIL)
        assert await one.line() == b"* 3 EXISTS"
        two = await world.login()
        await two.ok(b"SELECT INBOX")
        await two.ok(b"STORE 1 +FLAGS (\\Deleted)")
        assert await one.line() == b"* 1 FETCH (UID 1 FLAGS (\\Deleted))"
        await two.ok(b"EXPUNGE")
        assert await one.line() == b"* 1 EXPUNGE"
        assert await one.ok(b"NOTIFY NONE") == [b"a OK NOTIFY completed"]
        await two.ok(b"STORE 1 +FLAGS (\\Seen)")
        assert await one.ok(b"NOOP") == [b"a OK NOOP completed"]


@pytest.mark.parametrize(
    "asked", [b"NONE", b"SET (selected NONE)", b"SET (mailboxes Archive (MessageNew MessageExpunge))"]
)
async def test_who_wants_no_events_hears_of_none_at_the_end_of_commands_either(asked: bytes) -> None:
    """RFC 5465 3.1, 4, 5: but for what its own commands remove, and until it asks again, which is a NOOP."""
    async with World() as world, selected(world, MAIL, MAIL, MAIL) as one:
        account, two = await world.account(), await world.login()
        await one.ok(b"NOTIFY " + asked)
        await two.ok(b"SELECT INBOX")
        await two.ok(b"STORE 1 +FLAGS.SILENT (\\Deleted)")
        await two.ok(b"EXPUNGE")
        account.deliver(MAIL)
        await two.ok(b"STORE 1 +FLAGS.SILENT (\\Flagged)")
        for command in (b"NOOP", b"CHECK", b"UID SEARCH FLAGGED", b"STATUS Archive (MESSAGES)"):
            assert not [
                line for line in await one.ok(command) if line.endswith((b"EXISTS", b"EXPUNGE")) or b"FETCH" in line
            ]
        assert (await one.ask(b"FETCH 1 FLAGS"))[-1].startswith(
            b"a NO [EXPUNGEISSUED]"
        )  # numbers are as they were told
        assert (await one.ok(b"FETCH 2 FLAGS"))[0] == b"* 2 FETCH (FLAGS (\\Flagged))"
        await one.raw(b"a IDLE\r\n")
        assert await one.line() == b"+ idling"
        await one.raw(b"DONE\r\n")
        assert await one.until(b"a") == [b"a OK IDLE terminated"]
        assert (await one.ok(b"NOTIFY SET (selected NONE)"))[:2] == [b"* 1 EXPUNGE", b"* 3 EXISTS"]
        await one.ok(b"STORE 3 +FLAGS.SILENT (\\Deleted)")
        assert (await one.ok(b"EXPUNGE"))[0] == b"* 3 EXPUNGE"


@pytest.mark.parametrize("command", [b"STORE 1 +FLAGS.SILENT (\\Seen)", b"COPY 1 Archive"])
async def test_what_is_not_told_has_no_number_yet(command: bytes) -> None:
    """Though the command looked at what happened: FETCH would answer for a message that no EXISTS has counted."""
    async with World() as world, selected(world, MAIL) as one:
        await one.ok(b"NOTIFY NONE")
        (await world.account()).deliver(MAIL)
        await one.ok(command)
        assert len(await one.ok(b"FETCH 1:* UID")) == 2
        assert (await one.ask(b"FETCH 2 UID"))[-1].startswith(b"a BAD")
        assert (await one.ok(b"NOTIFY SET (selected NONE)"))[0] == b"* 2 EXISTS"
        assert len(await one.ok(b"FETCH 1:* UID")) == 3


async def test_flags_that_were_not_asked_for_wait_until_they_are() -> None:
    async with World() as world, selected(world, MAIL) as one:
        two = await world.login()
        await one.ok(b"NOTIFY SET (selected (MessageNew MessageExpunge))")
        await two.ok(b"SELECT INBOX")
        await two.ok(b"STORE 1 +FLAGS (\\Seen)")
        assert await one.ok(b"NOOP") == [b"a OK NOOP completed"]
        (await world.account()).deliver(MAIL)
        assert await one.line() == b"* 2 EXISTS"
        assert (await one.ok(b"NOTIFY SET (selected %b)" % MESSAGES))[0] == b"* 1 FETCH (UID 1 FLAGS (\\Seen))"


async def test_messages_that_come_during_a_command_bring_the_items_too_but_ones_own_do_not() -> None:
    """RFC 5465 5.2."""
    async with World() as world, selected(world, MAIL) as one:
        account, two = await world.account(), await world.login()
        await one.ok(b"NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge))")
        assert await one.append(b"INBOX", MAIL) == [b"* 2 EXISTS", b"a OK [APPENDUID 1001 2] APPEND completed"]
        assert (await one.ok(b"COPY 1 INBOX"))[:-1] == [b"* 3 EXISTS"]
        await one.raw(b"b NOOP\r\na APPEND INBOX {%d}\r\n" % len(MAIL))  # its literal is waited for: the command runs
        assert (await one.until(b"b"))[-1] == b"b OK NOOP completed"
        assert (await one.line()).startswith(b"+")
        await two.append(b"INBOX", MAIL)
        await one.raw(MAIL + b"\r\n")
        assert await one.until(b"a") == [
            b"* 5 EXISTS", b"* 4 FETCH (UID 4 FLAGS ())", b"a OK [APPENDUID 1001 5] APPEND completed",
        ]  # fmt: skip
        account.deliver(MAIL)
        assert [await one.line(), await one.line()] == [b"* 6 EXISTS", b"* 6 FETCH (UID 6 FLAGS ())"]


async def test_selected_delayed_withholds_removals_until_a_command() -> None:
    async with World() as world, selected(world, MAIL, MAIL) as one:
        await one.ok(b"NOTIFY SET (selected-delayed %b)" % MESSAGES)
        two = await world.login()
        await two.ok(b"SELECT INBOX")
        await two.ok(b"STORE 1 +FLAGS (\\Deleted)")
        assert await one.line() == b"* 1 FETCH (UID 1 FLAGS (\\Deleted))"
        await two.ok(b"EXPUNGE")
        (await world.account()).deliver(MAIL)
        assert await one.line() == b"* 3 EXISTS"
        assert await one.ok(b"NOOP") == [b"* 1 EXPUNGE", b"a OK NOOP completed"]


async def test_new_messages_bring_the_items_asked_for() -> None:
    async with World() as world, selected(world, MAIL) as one:
        await one.ok(b"NOTIFY SET (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (Subject)]) MessageExpunge))")
        account = await world.account()
        account.deliver(MAIL)
        assert await one.line() == b"* 2 EXISTS"
        assert (await one.line()).startswith(b"* 2 FETCH (UID 2 BODY[HEADER.FIELDS (Subject)] {")
        two = await world.login()
        await two.ok(b"SELECT INBOX")
        await two.ok(b"STORE 1 +FLAGS (\\Seen)")  # FlagChange was not asked for
        account.deliver(MAIL)
        lines = [await one.line() for _ in range(2)]
        assert lines[0] == b"* 3 EXISTS"
        assert lines[1].startswith(b"* 3 FETCH (UID 3 BODY[HEADER.FIELDS (Subject)] {")


async def test_new_messages_bring_their_mod_sequence_to_who_follows_it() -> None:
    """RFC 7162 3.1: in all FETCH responses that nobody asked for."""
    async with World() as world:
        one = await world.login()
        await one.ok(b"SELECT INBOX (CONDSTORE)")
        await one.ok(b"NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge))")
        (await world.account()).deliver(MAIL)
        assert await one.line() == b"* 1 EXISTS"
        assert re.fullmatch(rb"\* 1 FETCH \(UID 1 FLAGS \(\) MODSEQ \(\d+\)\)", await one.line())


async def test_other_mailboxes_are_told_by_status() -> None:
    async with World() as world, selected(world) as one:
        account = await world.account()
        account.deliver(MAIL, "Archive")
        lines = await one.ok(b"NOTIFY SET STATUS (mailboxes (Archive Trash) %b) (personal NONE)" % MESSAGES)
        assert lines == [
            b"* STATUS Archive (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1002 HIGHESTMODSEQ 2)",
            b"* STATUS Trash (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 1006 HIGHESTMODSEQ 1)",
            b"a OK NOTIFY completed",
        ]
        account.deliver(MAIL, "Sent")  # (personal NONE): nothing
        account.deliver(MAIL, "Archive", Flag.SEEN)
        assert await one.line() == b"* STATUS Archive (MESSAGES 2 UIDNEXT 3 UIDVALIDITY 1002 UNSEEN 1)"
        two = await world.login()
        await two.ok(b"SELECT Archive")
        await two.ok(b"STORE 1 +FLAGS (\\Seen)")
        assert await one.line() == b"* STATUS Archive (MESSAGES 2 UIDNEXT 3 UIDVALIDITY 1002 UNSEEN 0)"
        await one.ok(b"NOTIFY SET (subtree Archive (MessageNew MessageExpunge)) (inboxes %b)" % MESSAGES)
        await two.ok(b"STORE 1 -FLAGS (\\Seen)")  # no FlagChange there
        account.deliver(MAIL, "Junk")
        assert (await one.line()).startswith(b"* STATUS Junk (MESSAGES 1 ")
        await one.ok(b"SELECT Archive")
        account.deliver(MAIL, "Archive")  # selected, and no group for the selected mailbox
        account.deliver(MAIL, "Junk")
        assert (await one.line()).startswith(b"* STATUS Junk (MESSAGES 2 ")


async def test_ones_own_messages_are_told_once_where_selected_and_by_status_elsewhere() -> None:
    """RFC 5465 5 would rather not have them told at all; but a client shows the counts of others, and Dovecot, asked
    the same, tells them. Of the selected mailbox neither sends a STATUS."""
    async with World() as world, selected(world) as one:
        await one.ok(b"NOTIFY SET (selected %b) (personal %b)" % (MESSAGES, MESSAGES))
        lines = await one.ok(b"APPEND INBOX {%d+}\r\n%b" % (len(MAIL), MAIL))
        assert [line for line in lines if not line.startswith(b"a OK")] == [b"* 1 EXISTS"]
        assert await one.ok(b"STORE 1 +FLAGS (\\Seen)") == [
            b"* 1 FETCH (FLAGS (\\Seen))",
            b"a OK STORE completed",
        ]
        await one.ok(b"COPY 1 Archive")
        assert (await one.line()).startswith(b"* STATUS Archive (MESSAGES 1 ")
        lines = await one.ok(b"MOVE 1 Archive")
        assert [line for line in lines if b"EXPUNGE" in line or b"STATUS INBOX" in line] == [b"* 1 EXPUNGE"]
        assert (await one.line()).startswith(b"* STATUS Archive (MESSAGES 2 ")
        await one.ok(b"CREATE Autre")  # whatever else was due would come before its answer
        assert await one.ok(b"NOOP") == [b"a OK NOOP completed"]


async def test_highestmodseq_is_told_to_those_who_follow_it() -> None:
    async with World() as world:
        one = await world.login()
        await one.ok(b"ENABLE CONDSTORE")
        await one.ok(b"NOTIFY SET (subscribed %b)" % MESSAGES)
        account = await world.account()
        account.deliver(MAIL, "Sent")
        assert b" HIGHESTMODSEQ %d)" % account.boxes["Sent"].modseq in await one.line()


async def test_names_and_subscriptions() -> None:
    async with World() as world:
        one, two = await world.login(), await world.login()
        await one.ok(b"NOTIFY SET (personal (MailboxName SubscriptionChange))")
        await two.ok(b"CREATE x")
        assert await one.line() == b'* LIST (\\HasNoChildren) "/" x'
        await two.ok(b"RENAME x y")
        assert await one.line() == b'* LIST (\\HasNoChildren) "/" y ("OLDNAME" (x))'
        await two.ok(b"SUBSCRIBE y")
        assert await one.line() == b'* LIST (\\Subscribed \\HasNoChildren) "/" y'
        await two.ok(b"UNSUBSCRIBE y")
        assert await one.line() == b'* LIST (\\HasNoChildren) "/" y'
        await two.ok(b"DELETE y")
        assert await one.line() == b'* LIST (\\NonExistent) "/" y'


async def test_in_idle_other_mailboxes_are_told_too() -> None:
    async with World() as world, selected(world, MAIL) as one:
        await one.ok(b"NOTIFY SET (selected-delayed %b) (personal %b)" % (MESSAGES, MESSAGES))
        await one.raw(b"a IDLE\r\n")
        assert await one.line() == b"+ idling"
        account = await world.account()
        account.deliver(MAIL, "Sent")
        assert (await one.line()).startswith(b"* STATUS Sent (MESSAGES 1 ")
        two = await world.login()
        await two.ok(b"SELECT INBOX")
        await two.ok(b"STORE 1 +FLAGS.SILENT (\\Deleted)")
        await two.ok(b"EXPUNGE")
        assert (await one.line()).startswith(b"* 1 ")
        await one.raw(b"DONE\r\n")
        assert (await one.until(b"a"))[-1] == b"a OK IDLE terminated"
        account.deliver(MAIL, "Sent")
        assert (await one.line()).startswith(b"* STATUS Sent (MESSAGES 2 ")


async def test_events_that_are_not_supported_are_badevent() -> None:
    async with World() as world:
        client = await world.login()
        answer = (await client.ask(b"NOTIFY SET (personal (MessageNew MessageExpunge AnnotationChange))"))[-1]
        assert answer.startswith(
            b"a NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange "
            b"MailboxMetadataChange ServerMetadataChange)] "
        )


@pytest.mark.parametrize(
    "wrong",
    [
        b"", b"SET", b"FOO", b"NONE x", b"SET STATUS", b"SET (foo NONE)", b"SET (personal)",
        b"SET (personal (MessageNew))", b"SET (personal (MessageExpunge))", b"SET (personal (FlagChange))",
        b"SET (personal (MessageNew (UID) MessageExpunge))", b"SET (selected (MailboxName))", b"SET (mailboxes NONE)",
        b"SET (selected NONE) (selected-delayed NONE)", b"SET (personal ())", b"SET (subtree () NONE)",
        b"SET (selected (MessageNew (FOO) MessageExpunge))", b"SET (personal NONE) ",
    ],
)  # fmt: skip
async def test_what_the_grammar_refuses(wrong: bytes) -> None:
    async with World() as world:
        client = await world.login()
        assert (await client.ask(b"NOTIFY " + wrong))[-1].startswith(b"a BAD")


async def test_notifications_end_with_the_login_and_the_connection() -> None:
    async with World() as world:
        account = await world.account()
        client, other = await world.login(), await world.login()
        await client.ok(b"NOTIFY SET (personal %b)" % MESSAGES)
        await client.ok(b"NOTIFY SET (personal %b)" % MESSAGES)
        await other.ok(b"NOTIFY SET (personal %b)" % MESSAGES)
        assert account.listeners == 2
        await client.ok(b"UNAUTHENTICATE")
        assert account.listeners == 1
        await other.raw(b"a LOGOUT\r\n")
        await other.ended()
        assert account.listeners == 0


async def test_a_store_that_fails_ends_the_notifications(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World() as world:
        account = await world.account()
        client = await world.login()
        await client.ok(b"NOTIFY SET (personal %b)" % MESSAGES)

        async def fails() -> None:
            raise StorageError("the disk failed")

        monkeypatch.setattr(account, "folders", fails)
        account.deliver(MAIL)
        assert (await client.line()).startswith(b"* OK [NOTIFICATIONOVERFLOW]")
        assert account.listeners == 0
        await client.ok(b"NOOP")


async def test_a_notify_that_fails_leaves_what_was_asked_for_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cause: nothing of the first was left, and half of the second was."""
    async with World() as world, selected(world, MAIL) as client:
        account = await world.account()
        await client.ok(b"NOTIFY SET (selected-delayed NONE) (personal %b)" % MESSAGES)

        async def fails() -> None:
            raise StorageError("the disk failed")

        with monkeypatch.context() as patch:
            patch.setattr(account, "folders", fails)
            answer = await client.ask(b"NOTIFY SET (selected %b) (personal (MailboxName))" % MESSAGES)
            assert answer[-1].startswith(b"a NO [")
        account.deliver(MAIL)
        account.deliver(MAIL, "Sent")
        assert (await client.line()).startswith(b"* STATUS Sent (MESSAGES 1 ")


# --- what others share (RFC 5465 5, 5.9; RFC 4314) ---


async def test_shared_mailboxes_are_told_by_status() -> None:
    async with World() as world:
        box = await mairie(world, "lr")
        one = await world.login()
        lines = await one.ok(b"NOTIFY SET STATUS (mailboxes %b %b)" % (BOX, MESSAGES))
        assert lines[0].startswith(b"* STATUS %b (MESSAGES 0 " % BOX)
        box.deliver(MAIL)
        assert (await one.line()).startswith(b"* STATUS %b (MESSAGES 1 UIDNEXT 2 " % BOX)


@pytest.mark.parametrize("where", [b"subscribed", b"subtree Shared", b"subtree (Shared/mairie@mairie.test)"])
async def test_filters_reach_shared_mailboxes(where: bytes) -> None:
    async with World() as world:
        box = await mairie(world, "lr")
        one = await world.login()
        await one.ok(b"NOTIFY SET (%b %b)" % (where, MESSAGES))
        box.deliver(MAIL)
        assert (await one.line()).startswith(b"* STATUS %b (MESSAGES 1 " % BOX)


@pytest.mark.parametrize("where", [b"personal", b"inboxes", b"mailboxes INBOX"])
async def test_filters_of_ones_own_do_not(where: bytes) -> None:
    async with World() as world:
        box = await mairie(world, "lr")
        one = await world.login()
        await one.ok(b"NOTIFY SET (%b %b)" % (where, MESSAGES))
        box.deliver(MAIL)
        (await world.account()).deliver(MAIL)
        assert (await one.line()).startswith(b"* STATUS INBOX (MESSAGES 1 ")


async def test_h117_rights_that_are_lost_end_it_and_rights_that_come_begin_it(quickly: None) -> None:
    async with World() as world:
        box = await mairie(world, "lr")
        one = await world.login()
        events = b"(MessageNew MessageExpunge MailboxName)"
        await one.ok(b"NOTIFY SET (mailboxes %b %b)" % (BOX, events))
        await mairie(world, "")
        assert await one.line() == b'* LIST (\\NonExistent) "/" %b' % BOX
        box.deliver(MAIL)
        assert await one.ok(b"NOOP") == [b"a OK NOOP completed"]
        await mairie(world, "lr")
        assert await one.line() == b'* LIST (\\Subscribed \\HasNoChildren) "/" %b' % BOX
        assert (await one.line()).startswith(b"* STATUS %b (MESSAGES 1 " % BOX)
        box.deliver(MAIL)
        assert (await one.line()).startswith(b"* STATUS %b (MESSAGES 2 " % BOX)


async def test_what_may_be_looked_up_and_not_read_has_no_access(quickly: None) -> None:
    """RFC 5465 3.1, 5.9."""
    async with World() as world:
        box = await mairie(world, "l")
        one = await world.login()
        lines = await one.ok(b"NOTIFY SET STATUS (mailboxes %b %b)" % (BOX, MESSAGES))
        assert lines == [b'* LIST (\\NoAccess) "/" %b' % BOX, b"a OK NOTIFY completed"]
        box.deliver(MAIL)
        await mairie(world, "lr")
        assert await one.line() == b'* LIST (\\Subscribed \\HasNoChildren) "/" %b' % BOX
        box.deliver(MAIL)
        assert (await one.line()).startswith(b"* STATUS %b (MESSAGES 2 " % BOX)
        await mairie(world, "l")
        assert await one.line() == b'* LIST (\\NoAccess) "/" %b' % BOX


async def test_what_could_be_looked_up_alone_is_gone_when_that_right_goes_too(quickly: None) -> None:
    """RFC 5465 5.4: losing the right to look it up counts as a deletion, also of what had no access before."""
    async with World() as world:
        await mairie(world, "lr")
        one = await world.login()
        await one.ok(b"NOTIFY SET (mailboxes %b (MessageNew MessageExpunge MailboxName))" % BOX)
        await mairie(world, "l")
        assert await one.line() == b'* LIST (\\NoAccess) "/" %b' % BOX
        await mairie(world, "")
        assert await one.line() == b'* LIST (\\NonExistent) "/" %b' % BOX
        assert await one.ok(b"NOOP") == [b"a OK NOOP completed"]


async def test_h106_what_may_not_be_looked_up_is_ignored(quickly: None) -> None:
    async with World() as world:
        box = await mairie(world, "r")
        one = await world.login()
        lines = await one.ok(
            b"NOTIFY SET STATUS (mailboxes (%b Shared/mairie@mairie.test/Nowhere) %b)" % (BOX, MESSAGES)
        )
        assert lines == [b"a OK NOTIFY completed"]
        box.deliver(MAIL)
        (await world.account()).deliver(MAIL)
        await one.ok(b"NOTIFY SET (personal %b)" % MESSAGES)
        (await world.account()).deliver(MAIL)
        assert (await one.line()).startswith(b"* STATUS INBOX (MESSAGES 2 ")


@pytest.mark.parametrize(
    ("most", "too_much"),
    [
        (b" (PERSONAL NONE)" * 50, b" (PERSONAL NONE)" * 51),
        (b" (MAILBOXES (%b) NONE)" % b" ".join([b"x"] * 1000), b" (MAILBOXES (%b) NONE)" % b" ".join([b"x"] * 1001)),
    ],
)
async def test_rfc5465_what_is_too_much_to_watch_is_refused_as_such(most: bytes, too_much: bytes) -> None:
    async with World() as world:
        client = await world.login()
        await client.ok(b"NOTIFY SET" + most)
        assert await client.ask(b"NOTIFY SET" + too_much) == [b"a NO [NOTIFICATIONOVERFLOW] this is too much to watch"]


async def test_rfc5465_what_the_client_does_to_names_itself_is_not_told() -> None:
    """RFC 5465 5; what somebody else does meanwhile is."""
    async with World() as world:
        one, two = await world.login(), await world.login()
        await one.ok(b"NOTIFY SET (personal (MailboxName SubscriptionChange))")
        for command in (
            b"CREATE a/b/c",
            b"SUBSCRIBE a/b/c",
            b"RENAME a x",
            b"UNSUBSCRIBE x/b/c",
            b"DELETE x/b/c",
            b"DELETE x/b",
            b"CREATE mine",
            b"RENAME INBOX old",
        ):
            assert len(await one.ok(command)) == 1
        await two.ok(b"CREATE x/theirs")
        assert await one.line() == b'* LIST (\\HasNoChildren) "/" x/theirs'
        assert await one.line() == b'* LIST (\\HasChildren) "/" x'
        await two.ok(b"RENAME mine theirs")
        assert await one.line() == b'* LIST (\\HasNoChildren) "/" theirs ("OLDNAME" (mine))'


async def test_rfc5465_a_mailbox_in_several_groups_has_the_events_of_all() -> None:
    """RFC 5465 6: the example."""
    async with World() as world:
        one, two = await world.login(), await world.login()
        await one.ok(b"NOTIFY SET (mailboxes INBOX (Messagenew messageExpunge)) (personal (SubscriptionChange))")
        (await world.account()).deliver(MAIL)
        assert (await one.line()).startswith(b"* STATUS INBOX (MESSAGES 1 ")
        await two.ok(b"UNSUBSCRIBE INBOX")
        assert await one.line() == b'* LIST (\\HasNoChildren) "/" INBOX'
        (await world.account()).deliver(MAIL, "Sent")
        await two.ok(b"UNSUBSCRIBE Sent")
        assert await one.line() == b'* LIST (\\HasNoChildren \\Sent) "/" Sent'


# --- annotations (RFC 5464 4.4.2, RFC 5465 5.6, 5.7) ---


async def test_rfc5465_changed_annotations_are_told_by_name(quickly: None) -> None:
    async with World() as world:
        one, two = await world.login(), await world.login()
        await one.ok(b"NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange))")
        await two.ok(b'SETMETADATA INBOX (/shared/comment "a" /private/comment "b")')
        assert await one.line() == b"* METADATA INBOX /private/comment /shared/comment"
        await two.ok(b"SETMETADATA INBOX (/shared/comment NIL)")
        assert await one.line() == b"* METADATA INBOX /shared/comment"
        await two.ok(b'SETMETADATA "" (/private/comment "c")')
        assert await one.line() == b'* METADATA "" /private/comment'


async def test_annotations_are_told_as_soon_as_the_directory_tells_that_something_changed(untimed: None) -> None:
    async with World() as world:
        one, two, three = await world.login(), await world.login(), await world.login()
        await one.ok(b"NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange))")
        await three.ok(b"ENABLE METADATA")
        await two.ok(b'SETMETADATA "" (/private/comment "a")')
        world.directory.ring()
        assert await one.line() == b'* METADATA "" /private/comment'
        await two.ok(b'SETMETADATA INBOX (/private/comment "a")')
        world.directory.ring()
        assert await one.line() == b"* METADATA INBOX /private/comment"
        lines = await three.ok(b"NOOP")
        assert lines[:-1] == [b"* METADATA INBOX /private/comment", b'* METADATA "" /private/comment']
        await one.ok(b"NOTIFY NONE")
        assert world.directory.listeners == []


async def test_rights_that_come_are_told_as_soon_as_the_directory_tells_that_something_changed(untimed: None) -> None:
    async with World() as world:
        await mairie(world, "")
        one = await world.login()
        await one.ok(b"NOTIFY SET (subtree Shared (MailboxName))")
        await mairie(world, "lr")
        world.directory.ring()
        assert b"Shared/mairie@mairie.test" in await one.line()


async def test_rights_that_come_while_notifications_begin_are_told(
    untimed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World() as world:
        await mairie(world, "")
        one, read = await world.login(), world.directory.annotations.read

        async def reading(reader: Account, owner: Account, folders: Sequence[str]) -> Mapping[str, Mapping[str, bytes]]:
            monkeypatch.setattr(world.directory.annotations, "read", read)
            await mairie(world, "lr")
            world.directory.ring()
            return await read(reader, owner, folders)

        monkeypatch.setattr(world.directory.annotations, "read", reading)
        await one.ok(b"NOTIFY SET (subtree Shared (MailboxName)) (personal (MailboxMetadataChange))")
        assert b"Shared/mairie@mairie.test" in await one.line()


async def test_ones_own_changes_of_annotations_are_not_told(quickly: None) -> None:
    async with World() as world:
        one, two = await world.login(), await world.login()
        await one.ok(b"ENABLE METADATA")
        await one.ok(b"NOTIFY SET (personal (MailboxMetadataChange))")
        assert await one.ok(b'SETMETADATA INBOX (/shared/comment "a")') == [b"a OK SETMETADATA completed"]
        await two.ok(b'SETMETADATA Sent (/shared/comment "a")')
        assert await one.line() == b"* METADATA Sent /shared/comment"


async def test_rfc5464_once_enabled_changes_are_told_with_noop(quickly: None) -> None:
    async with World() as world:
        one, two = await world.login(), await world.login()
        assert (await one.ok(b"ENABLE METADATA"))[0] == b"* ENABLED METADATA"
        await two.ok(b'SETMETADATA "" (/private/comment "x")')
        await two.ok(b'SETMETADATA INBOX (/shared/comment "x" /private/comment "y")')
        lines: list[bytes] = []
        while len(lines) < 2:
            lines += (await one.ok(b"NOOP"))[:-1]
        assert sorted(lines) == [
            b'* METADATA "" /private/comment',
            b"* METADATA INBOX /private/comment /shared/comment",
        ]


async def test_annotations_of_shared_mailboxes_need_the_right_to_read(quickly: None) -> None:
    async with World() as world:
        await mairie(world, "l")
        owner = await world.login("mairie")
        one = await world.login()
        await one.ok(b"NOTIFY SET (subtree (Shared INBOX) (MailboxMetadataChange))")
        await owner.ok(b'SETMETADATA INBOX (/shared/comment "secret")')
        await (await world.login()).ok(b'SETMETADATA INBOX (/shared/comment "mine")')
        line = b""
        while not line.startswith(b"* METADATA"):
            line = await one.line()
        assert line == b"* METADATA INBOX /shared/comment"
