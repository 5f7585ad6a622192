"""NOTIFY as transcripts of two connections (RFC 5465)."""

from __future__ import annotations

import pytest

from core.errors import StorageError
from store.types import Flag
from tests.fakes.imap_world import World, selected

MAIL = b"Subject: one\r\nFrom: a@b.test\r\n\r\nbody\r\n"
MESSAGES = b"(MessageNew MessageExpunge FlagChange)"


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
        assert (await one.ok(b"NOOP"))[0] == b"* 1 FETCH (UID 2 FLAGS (\\Seen))"


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
        lines = [await one.line() for _ in range(3)]
        assert lines[0] == b"* 3 EXISTS"


async def test_other_mailboxes_are_told_by_status() -> None:
    async with World() as world, selected(world) as one:
        account = await world.account()
        account.deliver(MAIL, "Archive")
        lines = await one.ok(b"NOTIFY SET STATUS (mailboxes (Archive Trash) %b) (personal NONE)" % MESSAGES)
        assert lines == [
            b"* STATUS Archive (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1002 UNSEEN 1)",
            b"* STATUS Trash (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 1006 UNSEEN 0)",
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
        assert await one.line() == b'* LIST () "/" x'
        await two.ok(b"RENAME x y")
        assert await one.line() == b'* LIST () "/" y ("OLDNAME" (x))'
        await two.ok(b"UNSUBSCRIBE y")
        assert await one.line() == b'* LIST () "/" y'
        await two.ok(b"SUBSCRIBE y")
        assert await one.line() == b'* LIST (\\Subscribed) "/" y'
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
        for event in (b"AnnotationChange", b"MailboxMetadataChange"):
            answer = (await client.ask(b"NOTIFY SET (personal (MessageNew MessageExpunge %b))" % event))[-1]
            assert answer.startswith(b"a NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName "), answer


@pytest.mark.parametrize(
    "wrong",
    [
        b"", b"SET", b"FOO", b"NONE x", b"SET STATUS", b"SET (foo NONE)", b"SET (personal)", b"SET (personal (Foo))",
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
