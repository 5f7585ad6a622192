"""Shared mailboxes over the wire: what is seen, and what is not granted as if absent (RFC 4314, P8)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from directory.rights import ALL, parse
from imap.guarded import GuardedMailbox
from imap.places import Places
from store.store import AccountStore, Mailbox
from tests.imap.sharing import BOX, MAIL, answer, town


def names(lines: list[bytes]) -> list[bytes]:
    return [line.split(b'"/" ', 1)[1] for line in lines if line.startswith(b"* LIST")]


def test_nothing_of_a_mailbox_or_account_goes_round_the_rights() -> None:
    """Deny by default: a method that the store's faces get is refused here until somebody gives it a right."""
    for face, guard in ((Mailbox, GuardedMailbox), (AccountStore, Places)):
        public = {name for name in vars(face) if not name.startswith("_")}
        assert public <= set(vars(guard))
        assert "__getattr__" not in vars(guard)


async def test_rights_that_go_while_a_list_is_made_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who could look a mailbox up had all rights to it for the rest of the command, STATUS among them."""
    async with town() as (here, client):
        here.grant("l")
        subscriptions = Places.subscriptions

        async def late(self: Places) -> Sequence[str]:
            here.sharing.lists.clear()
            return await subscriptions(self)

        monkeypatch.setattr(Places, "subscriptions", late)
        told = b"".join(await client.ask(b'LIST "" "Shared/*" RETURN (STATUS (MESSAGES) MYRIGHTS)'))
        assert b"* STATUS" not in told
        assert all(line.endswith(b' ""') for line in told.split(b"\r\n") if line.startswith(b"* MYRIGHTS"))


async def test_what_is_shared_is_listed_under_its_namespace() -> None:
    async with town() as (here, client):
        here.grant("lr")
        here.grant("lr", owner=here.bob, folder_id=(await here.box("bob")).boxes["Archive"].id)
        listed = names(await client.ok(b'LIST "" "*"'))
        assert b'"Other Users/bob@mairie.test/Archive"' in listed
        assert {b"Shared/mairie@mairie.test/INBOX", b"Shared/mairie@mairie.test/Sent"} <= set(listed)
        assert len([name for name in listed if name.startswith(b'"Other Users/bob@mairie.test/')]) == 1
        assert names(await client.ok(b'LIST "" "%"'))[-2:] == [b'"Other Users"', b"Shared"]
        assert names(await client.ok(b'LIST "" "Shared/%"')) == [b"Shared/mairie@mairie.test"]
        assert names(await client.ok(b'LIST "Shared/mairie@mairie.test/" "%"'))[0] == BOX


async def test_one_sent_folder_is_ours_whatever_else_we_see() -> None:
    """A client files what it sent into the folder that says \\Sent."""
    async with town() as (here, client):
        here.grant("lr")
        lines = await client.ok(b'LIST "" "*"')
        assert sum(b"\\Sent" in line for line in lines) == 1
        assert names(await client.ok(b'LIST (SPECIAL-USE) "" "*"'))[-1] == b"Trash"


async def test_h106_nothing_granted_is_as_if_absent_for_every_command() -> None:
    """The same answers for a mailbox of the commune, one of another commune, one that does not exist."""
    async with town() as (here, client):
        here.sharing.grant(here.mairie, here.bob, ALL)
        here.sharing.lists[(here.eve.id, "")] = {here.alice.id: ALL}  # whatever the table says: another commune
        (await here.box()).deliver(MAIL)
        (await here.world.account()).deliver(MAIL)
        await client.ok(b"SELECT INBOX")
        commands = (
            b'SELECT "%b"', b'EXAMINE "%b"', b'STATUS "%b" (MESSAGES)', b'DELETE "%b"', b'RENAME "%b" Mine',
            b'SUBSCRIBE "%b"', b'UNSUBSCRIBE "%b"', b'CREATE "%b/New"', b'RENAME Archive "%b/New"', b'GETACL "%b"',
            b'MYRIGHTS "%b"', b'LISTRIGHTS "%b" anyone', b'SETACL "%b" anyone lr', b'DELETEACL "%b" anyone',
            b'GETMETADATA "%b" /shared/comment', b'SETMETADATA "%b" (/private/comment NIL)', b'GETQUOTAROOT "%b"',
            b'COPY 1 "%b"', b'MOVE 1 "%b"', b'APPEND "%b" {3+}\r\nabc', b'LIST "" "%b"', b'LSUB "" "%b"',
            b'LIST "" ("%b") RETURN (STATUS (MESSAGES) MYRIGHTS)',
        )  # fmt: skip
        for command in commands:
            answers = set()
            for name in (BOX, b"Shared/nobody@mairie.test/INBOX", b"Other Users/eve@autre.test/INBOX"):
                if b"SELECT" not in command and b"EXAMINE" not in command:
                    await client.ok(b"SELECT INBOX")
                lines = await client.ask(command % name)
                answers.add(b"\n".join(line for line in lines if b"CLOSED" not in line))
            assert len(answers) == 1, command
        assert (await here.box()).boxes["INBOX"].uidnext == 2


async def test_h117_a_right_that_was_taken_back_ends_the_session_in_that_mailbox() -> None:
    """RFC 4314 5.1.1: an untagged BYE; what the client finds when it is back is nothing."""
    async with town() as (here, client):
        here.grant("lr")
        await client.ok(b"SELECT " + BOX)
        here.sharing.lists.clear()
        assert (await client.ask(b"NOOP"))[-1] == b"a OK NOOP completed"
        assert (await client.ended()).startswith(b"* BYE [UNAVAILABLE]")
        again = await here.world.login()
        assert await answer(again, b"SELECT " + BOX) == b"a NO [NONEXISTENT] no such folder"


async def test_rights_are_those_of_the_moment() -> None:
    async with town() as (here, client):
        here.grant("lrw")
        (await here.box()).deliver(MAIL)
        await client.ok(b"SELECT " + BOX)
        await client.ok(b"STORE 1 +FLAGS (\\Flagged)")
        here.grant("lr")
        assert await answer(client, b"STORE 1 -FLAGS (\\Flagged)") == b"a NO [NOPERM] your rights do not allow this"
        assert (await client.ok(b"FETCH 1 FLAGS"))[0] == b"* 1 FETCH (FLAGS (\\Flagged))"


async def test_a_folder_made_in_a_shared_mailbox_takes_over_its_parents_list() -> None:
    async with town() as (here, client):
        inbox = (await here.box()).boxes["INBOX"].id
        here.grant("lrk", folder_id=inbox)
        assert await answer(client, b"CREATE Shared/mairie@mairie.test/Top") == (
            b"a NO [NOPERM] your rights do not allow this"
        )
        await client.ok(b"CREATE " + BOX + b"/2026")
        assert (await client.ok(b"MYRIGHTS " + BOX + b"/2026"))[0] == b"* MYRIGHTS " + BOX + b"/2026 lrkc"
        assert "INBOX/2026" in (await here.box()).boxes


async def test_a_deleted_folder_takes_its_list_along() -> None:
    async with town() as (here, client):
        archive = (await here.box()).boxes["Archive"].id
        here.grant("lrx", folder_id=archive)
        await client.ok(b"DELETE Shared/mairie@mairie.test/Archive")
        assert not here.sharing.lists
        assert await answer(client, b"RENAME Archive Shared/mairie@mairie.test/Archive") == (
            b"a NO [NOPERM] your rights do not allow this"
        )


async def test_folders_do_not_move_from_one_account_to_another() -> None:
    async with town() as (here, client):
        here.grant("lrxk")
        said = await answer(client, b"RENAME Archive Shared/mairie@mairie.test/Old")
        assert said == b"a NO [CANNOT] folders do not move between mailboxes"


async def test_shared_folders_are_subscribed_until_one_says_otherwise() -> None:
    async with town() as (here, client):
        here.grant("lr")
        assert BOX in b"\n".join(await client.ok(b'LSUB "" "*"'))
        await client.ok(b"UNSUBSCRIBE " + BOX)
        assert BOX not in b"\n".join(await client.ok(b'LIST (SUBSCRIBED) "" "*"'))
        assert BOX in b"\n".join(await client.ok(b'LIST "" "*"'))
        await client.ok(b"SUBSCRIBE " + BOX)
        assert BOX in b"\n".join(await client.ok(b'LSUB "" "*"'))


async def test_acl_transcript() -> None:
    async with town() as (_, client):
        assert (await client.ok(b"GETACL INBOX"))[0] == b"* ACL INBOX alice@mairie.test lrswipkxteacd"
        await client.ok(b"SETACL INBOX bob@mairie.test lrswida")
        assert (await client.ok(b"GETACL INBOX"))[0] == (
            b"* ACL INBOX alice@mairie.test lrswipkxteacd bob@mairie.test lrswitead"
        )
        await client.ok(b"SETACL INBOX bob@mairie.test -d")
        await client.ok(b"SETACL INBOX BOB@mairie.test +k")
        await client.ok(b"SETACL INBOX anyone l")
        assert (await client.ok(b"GETACL INBOX"))[0] == (
            b"* ACL INBOX alice@mairie.test lrswipkxteacd bob@mairie.test lrswikac anyone l"
        )
        await client.ok(b"DELETEACL INBOX bob@mairie.test")
        assert b"bob" not in (await client.ok(b"GETACL INBOX"))[0]
        assert (await client.ok(b"LISTRIGHTS INBOX bob@mairie.test"))[0] == (
            b'* LISTRIGHTS INBOX bob@mairie.test "" l r s w i p k x t e a c d'
        )
        assert (await client.ok(b"LISTRIGHTS INBOX alice@mairie.test"))[0] == (
            b"* LISTRIGHTS INBOX alice@mairie.test lrswipkxteacd"
        )
        assert (await client.ok(b"MYRIGHTS INBOX"))[0] == b"* MYRIGHTS INBOX lrswipkxteacd"


async def test_negative_rights_transcript() -> None:
    """RFC 4314 2, 3.2: what is denied is an entry of its own, which DELETEACL of the other does not touch."""
    async with town() as (here, client):
        await client.ok(b"SETACL INBOX anyone lrs")
        await client.ok(b"SETACL INBOX -bob@mairie.test rs")
        await client.ok(b"SETACL INBOX -bob@mairie.test -s")
        await client.ok(b"SETACL INBOX bob@mairie.test r")
        assert (await client.ok(b"GETACL INBOX"))[0] == (
            b"* ACL INBOX alice@mairie.test lrswipkxteacd anyone lrs -bob@mairie.test r bob@mairie.test r"
        )
        bob = await here.world.login("bob")
        alice = b'"Other Users/alice@mairie.test/INBOX"'
        assert (await bob.ok(b"MYRIGHTS " + alice))[0].endswith(b" ls")
        assert (await answer(bob, b"SELECT " + alice)).startswith(b"a NO [NOPERM] ")
        await client.ok(b"DELETEACL INBOX bob@mairie.test")
        assert (await bob.ok(b"MYRIGHTS " + alice))[0].endswith(b" ls")
        await client.ok(b"DELETEACL INBOX -bob@mairie.test")
        assert (await bob.ok(b"MYRIGHTS " + alice))[0].endswith(b" lrs")
        await client.ok(b"SETACL INBOX -anyone lrs")
        assert await answer(bob, b"MYRIGHTS " + alice) == b"a NO [NONEXISTENT] no such folder"
        lists = [(await client.ok(b"LISTRIGHTS INBOX -%b@mairie.test" % who))[0] for who in (b"bob", b"alice")]
        assert [each.partition(b"@mairie.test ")[2] for each in lists] == [b'"" l r s w i p k x t e a c d', b'""']


async def test_an_account_whose_name_begins_with_a_hyphen_is_no_negative_right() -> None:
    """RFC 4314 2: new accounts may not be called so (`directory/rules.py`); of older ones the local part is quoted."""
    async with town() as (here, client):
        for local in ("x", "-x"):
            here.world.directory.add(local)
        await client.ok(b'SETACL INBOX "\\"-x\\"@mairie.test" lrs')
        await client.ok(b"SETACL INBOX -x@mairie.test s")
        await client.ok(b'SETACL INBOX "-\\"-x\\"@mairie.test" s')
        assert (await client.ok(b"GETACL INBOX"))[0] == (
            b'* ACL INBOX alice@mairie.test lrswipkxteacd "\\"-x\\"@mairie.test" lrs -x@mairie.test s'
            b' "-\\"-x\\"@mairie.test" s'
        )
        mine = await (await here.world.login("-x")).ok(b'MYRIGHTS "Other Users/alice@mairie.test/INBOX"')
        assert mine[0].endswith(b" lr")
        await client.ok(b'DELETEACL INBOX "\\"-x\\"@mairie.test"')
        assert (await client.ok(b"GETACL INBOX"))[0].count(b"lrs") == 1  # the owner's


async def test_acl_refusals() -> None:
    async with town() as (_, client):
        for command, said in (
            (b"SETACL INBOX bob@mairie.test lrQ", b"a BAD [CLIENTBUG] there is no such right"),
            (b"SETACL INBOX bob@mairie.test lrq", b"a BAD [CLIENTBUG] there is no such right"),
            (b'SETACL INBOX "" lr', b"a BAD [CLIENTBUG] malformed identifier"),
            (b"SETACL INBOX eve@autre.test lr", b"a NO [CANNOT] nobody of that name here"),
            (b"SETACL INBOX nobody@mairie.test lr", b"a NO [CANNOT] nobody of that name here"),
            (b"SETACL INBOX -eve@autre.test lr", b"a NO [CANNOT] nobody of that name here"),
            (b"SETACL INBOX -nobody@mairie.test lr", b"a NO [CANNOT] nobody of that name here"),
            (b"SETACL INBOX - lr", b"a NO [CANNOT] nobody of that name here"),
            (b"SETACL INBOX -alice@mairie.test l", b"a NO [CANNOT] the owner always has every right"),
            (b"SETACL INBOX alice@mairie.test l", b"a NO [CANNOT] the owner always has every right"),
            (b"SETACL Absent anyone l", b"a NO [NONEXISTENT] no such folder"),
            (b"GETACL Absent", b"a NO [NONEXISTENT] no such folder"),
        ):
            assert await answer(client, command) == said


async def test_list_myrights() -> None:
    """RFC 8440 3.2."""
    async with town() as (here, client):
        here.grant("lrs")
        lines = await client.ok(b'LIST "" "*" RETURN (MYRIGHTS STATUS (MESSAGES))')
        at = next(index for index, line in enumerate(lines) if line.endswith(b" " + BOX))
        assert lines[at + 1 : at + 3] == [b"* STATUS %b (MESSAGES 0)" % BOX, b"* MYRIGHTS %b lrs" % BOX]
        assert b"* MYRIGHTS INBOX lrswipkxteacd" in lines
        assert not [line for line in lines if line.startswith(b'* MYRIGHTS "Shared"')]


async def test_list_status_tells_nothing_of_what_one_may_not_read() -> None:
    async with town() as (here, client):
        here.grant("l")
        lines = await client.ok(b'LIST "" Shared/* RETURN (STATUS (MESSAGES))')
        assert len(names(lines)) == 7
        assert not [line for line in lines if line.startswith(b"* STATUS")]


async def test_idle_on_a_shared_mailbox_hears_its_owner() -> None:
    async with town() as (here, client):
        here.grant("lr")
        await client.ok(b"SELECT " + BOX)
        await client.raw(b"a IDLE\r\n")
        await client.line()
        (await here.box()).deliver(MAIL)
        assert await client.line() == b"* 1 EXISTS"
        await client.raw(b"DONE\r\n")
        await client.until(b"a")


async def test_seen_is_shared_by_all_who_read_a_mailbox() -> None:
    async with town() as (here, client):
        here.sharing.grant(here.mairie, here.bob, parse("lr"))
        here.grant("lrs")
        (await here.box()).deliver(MAIL)
        await client.ok(b"SELECT " + BOX)
        await client.ok(b"FETCH 1 BODY[]")
        bob = await here.world.login("bob")
        await bob.ok(b"SELECT " + BOX)
        assert (await bob.ok(b"FETCH 1 FLAGS"))[0] == b"* 1 FETCH (FLAGS (\\Seen))"
