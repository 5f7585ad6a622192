"""Shared mailboxes over the wire: every command behind its right, what is not granted as if absent (RFC 4314, P8)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from core.clock import ManualClock
from directory.rights import ALL, Right, parse
from directory.types import Account
from imap.guarded import GuardedMailbox
from imap.places import Places
from store.service import MaildirStore, initialise
from store.store import AccountStore, Mailbox
from store.types import AccountRef, Flag
from tests.fakes.imap_world import Client, World
from tests.fakes.memory_store import MemoryAccount

MAIL = b"Subject: un\r\nFrom: a@b.test\r\n\r\ncorps\r\n"
BOX = b"Shared/mairie@mairie.test/INBOX"


class Town:
    """Alice reads; the mailbox of the mairie is a function's, bob's a person's; eve is of another commune."""

    def __init__(self, world: World) -> None:
        self.world = world
        directory = world.directory
        self.alice = world.alice
        self.mairie = directory.add("mairie", shared=True)
        self.bob = directory.add("bob")
        self.eve = directory.add("eve", organisation="autre")
        self.sharing = directory.sharing

    def grant(self, letters: str, folder_id: str = "", owner: Account | None = None) -> None:
        self.sharing.grant(owner or self.mairie, self.alice, parse(letters), folder_id)

    async def box(self, local: str = "mairie") -> MemoryAccount:
        return await self.world.account(local)


@contextlib.asynccontextmanager
async def town() -> AsyncIterator[tuple[Town, Client]]:
    async with World() as world:
        told = Town(world)
        yield told, await world.login()


async def answer(client: Client, command: bytes) -> bytes:
    return (await client.ask(command))[-1]


def names(lines: list[bytes]) -> list[bytes]:
    return [line.split(b'"/" ', 1)[1] for line in lines if line.startswith(b"* LIST")]


# --- the choke point ---


def test_nothing_of_a_mailbox_or_account_goes_round_the_rights() -> None:
    """Deny by default: a method that the store's faces get is refused here until somebody gives it a right."""
    for face, guard in ((Mailbox, GuardedMailbox), (AccountStore, Places)):
        public = {name for name in vars(face) if not name.startswith("_")}
        assert public <= set(vars(guard))
        assert "__getattr__" not in vars(guard)


# --- what is seen ---


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


# --- RFC 4314 4, row by row ---

NEEDED = {
    b"SELECT %b": "r",
    b"EXAMINE %b": "r",
    b"STATUS %b (MESSAGES)": "r",
    b"GETACL %b": "a",
    b"LISTRIGHTS %b anyone": "a",
    b"SETACL %b anyone lr": "a",
    b"DELETEACL %b anyone": "a",
    b"CREATE %b/New": "k",
    b"DELETE Shared/mairie@mairie.test/Archive": "x",
    b"RENAME Shared/mairie@mairie.test/Archive Shared/mairie@mairie.test/Old": "xk",
    b"APPEND %b {3+}\r\nabc": "i",
    b"COPY 1 %b": "i",
    b"SUBSCRIBE %b": "l",
    b'LIST "" %b': "",
    b"UNSUBSCRIBE %b": "",
    b"MYRIGHTS %b": "",
    b"GETQUOTAROOT %b": "",
}


@pytest.mark.parametrize("command", NEEDED, ids=lambda command: command.split(b" ")[0].decode())
async def test_each_command_needs_its_right_and_no_other(command: bytes) -> None:
    needed = NEEDED[command]
    line = command.replace(b"%b", BOX)
    for letters, good in ((needed + ("l" if set(needed) - set("rikxa") or not needed else ""), True), *missing(needed)):
        async with town() as (here, client):
            here.grant(letters)
            (await here.world.account()).deliver(MAIL)
            await client.ok(b"SELECT INBOX")
            said = await answer(client, line)
            assert said.startswith(b"a OK") == good, (letters, said)
            if not good and b"SUBSCRIBE" not in command:
                assert said.startswith(b"a NO [NOPERM]"), (letters, said)


def missing(needed: str) -> list[tuple[str, bool]]:
    """All rights but one of those that are needed."""
    return [("lrswipkxtea".replace(letter, ""), False) for letter in needed]


async def test_flags_need_s_t_and_w_each_for_its_own() -> None:
    """RFC 4314 4, STORE: what is allowed of it is done; NO only when nothing is."""
    cases = {
        "s": b"\\Seen", "t": b"\\Deleted", "w": b"\\Answered \\Flagged \\Draft $Mine",
        "st": b"\\Deleted \\Seen", "": b"",
    }  # fmt: skip
    for letters, kept in cases.items():
        async with town() as (here, client):
            here.grant("lri" + letters)
            (await here.box()).deliver(MAIL)
            await client.ok(b"SELECT " + BOX)
            said = await client.ask(b"STORE 1 FLAGS (\\Seen \\Deleted \\Answered \\Flagged \\Draft $Mine)")
            assert said[-1].startswith(b"a OK" if letters else b"a NO [NOPERM]")
            flags = (await client.ok(b"FETCH 1 FLAGS"))[0].split(b"FLAGS (")[1].rstrip(b")")
            assert set(flags.split()) == set(kept.split())


async def test_replacing_flags_leaves_alone_what_one_may_not_change() -> None:
    async with town() as (here, client):
        (await here.box()).deliver(MAIL, "INBOX", Flag.SEEN | Flag.FLAGGED, "$Old")
        here.grant("lrw")
        await client.ok(b"SELECT " + BOX)
        await client.ok(b"STORE 1 FLAGS.SILENT ($New)")
        assert (await client.ok(b"FETCH 1 FLAGS"))[0] == b"* 1 FETCH (FLAGS (\\Seen $New))"


async def test_permanentflags_and_read_only_tell_the_rights() -> None:
    """RFC 4314 5.1.1 and 5.2."""
    cases = {
        "lr": (b"()", b"READ-ONLY"),
        "lri": (b"()", b"READ-WRITE"),
        "lre": (b"()", b"READ-WRITE"),
        "lrs": (b"(\\Seen)", b"READ-WRITE"),
        "lrwt": (b"(\\Answered \\Flagged \\Deleted \\Draft \\*)", b"READ-WRITE"),
    }
    for letters, (flags, mode) in cases.items():
        async with town() as (here, client):
            here.grant(letters)
            lines = await client.ok(b"SELECT " + BOX)
            assert b"* OK [PERMANENTFLAGS %b] Flags that stay" % flags in lines
            assert lines[-1].startswith(b"a OK [%b]" % mode)


async def test_permanentflags_are_told_again_when_rights_change() -> None:
    """RFC 4314 5.1.1; RFC 9051 7.1: READ-ONLY when "access while selected has changed"."""
    async with town() as (here, client):
        here.grant("lrswt")
        (await here.box()).deliver(MAIL)
        await client.ok(b"SELECT " + BOX)
        assert await client.ok(b"NOOP") == [b"a OK NOOP completed"]
        here.grant("lrs")
        assert (await client.ok(b"NOOP"))[:-1] == [b"* OK [PERMANENTFLAGS (\\Seen)] Flags that stay"]
        here.grant("lr")
        assert (await client.ok(b"NOOP"))[:-1] == [
            b"* OK [READ-ONLY] your rights have changed",
            b"* OK [PERMANENTFLAGS ()] Flags that stay",
        ]
        assert await answer(client, b"STORE 1 +FLAGS (\\Seen)") == b"a NO [READ-ONLY] mailbox is read-only"
        here.grant("lrs")
        assert (await client.ok(b"NOOP"))[0] == b"* OK [READ-WRITE] your rights have changed"
        await client.ok(b"STORE 1 +FLAGS (\\Seen)")


async def test_an_examined_mailbox_stays_read_only_whatever_the_rights() -> None:
    async with town() as (here, client):
        here.grant("lr")
        await client.ok(b"EXAMINE " + BOX)
        here.grant("lrswt")
        assert (await client.ok(b"NOOP"))[:-1] == [b"* OK [PERMANENTFLAGS ()] Flags that stay"]


async def test_fetching_marks_nothing_seen_without_the_right() -> None:
    async with town() as (here, client):
        here.grant("lri")
        (await here.box()).deliver(MAIL)
        await client.ok(b"SELECT " + BOX)
        await client.ok(b"FETCH 1 BODY[]")
        assert (await client.ok(b"FETCH 1 FLAGS"))[0] == b"* 1 FETCH (FLAGS ())"


async def test_expunge_needs_e_and_close_closes_without() -> None:
    async with town() as (here, client):
        here.grant("lrt")
        box = await here.box()
        box.deliver(MAIL, "INBOX", Flag.DELETED)
        await client.ok(b"SELECT " + BOX)
        assert await answer(client, b"EXPUNGE") == b"a NO [NOPERM] your rights do not allow this"
        await client.ok(b"CLOSE")
        assert len(box.boxes["INBOX"].messages) == 1
        here.grant("lrte")
        await client.ok(b"SELECT " + BOX)
        assert (await client.ok(b"EXPUNGE"))[0] == b"* 1 EXPUNGE"


async def test_move_out_needs_t_and_e() -> None:
    for letters, good in (("lrte", True), ("lrt", False), ("lre", False)):
        async with town() as (here, client):
            here.grant(letters)
            (await here.box()).deliver(MAIL)
            await client.ok(b"SELECT " + BOX)
            said = await client.ask(b"MOVE 1 Archive")
            assert said[-1].startswith(b"a OK") == good, (letters, said)
            assert len((await here.world.account()).boxes["Archive"].messages) == good


async def test_copied_and_appended_flags_are_those_one_may_set() -> None:
    """RFC 4314 4, the example of COPY; and RFC 4315 3: no UIDs of a folder one may not read."""
    async with town() as (here, client):
        here.grant("li" + "w")
        (await here.world.account()).deliver(MAIL, "INBOX", Flag.DELETED | Flag.DRAFT | Flag.SEEN, "$Forwarded")
        await client.ok(b"SELECT INBOX")
        assert await answer(client, b"COPY 1 " + BOX) == b"a OK COPY completed"
        assert (await client.append(BOX, MAIL, b"(\\Seen \\Flagged) "))[-1] == b"a OK APPEND completed"
        rows = list((await here.box()).boxes["INBOX"].messages.values())
        assert [(row.flags, row.keywords) for row in rows] == [(Flag.DRAFT, ("$Forwarded",)), (Flag.FLAGGED, ())]
        here.grant("lirs")
        assert b"[COPYUID " in await answer(client, b"COPY 1 " + BOX)
        assert b"[APPENDUID " in (await client.append(BOX, MAIL))[-1]


async def test_a_message_goes_from_account_to_account_and_back() -> None:
    async with town() as (here, client):
        here.grant("lrswite")
        mine, theirs = await here.world.account(), await here.box()
        mine.deliver(MAIL, "INBOX", Flag.SEEN, "$Urgent")
        mine.deliver(b"Subject: deux\r\n\r\n" + b"x" * 300_000 + b"\r\n")
        await client.ok(b"SELECT INBOX")
        lines = await client.ok(b"MOVE 1:2 " + BOX)
        assert lines[0].startswith(b"* OK [COPYUID ")
        assert lines[1:3] == [b"* 2 EXPUNGE", b"* 1 EXPUNGE"]
        assert theirs.boxes["INBOX"].raw[1] == MAIL
        assert len(theirs.boxes["INBOX"].raw[2]) == 300_019
        assert theirs.boxes["INBOX"].messages[1].keywords == ("$Urgent",)
        await client.ok(b"SELECT " + BOX)
        assert b"[COPYUID " in await answer(client, b"UID COPY 1 Archive")
        assert mine.boxes["Archive"].messages[1].flags == Flag.SEEN
        assert b"[COPYUID " in await answer(client, b"COPY 1 Shared/mairie@mairie.test/Sent")


# --- folders and subscriptions ---


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


# --- ACL commands ---


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


async def test_acl_refusals() -> None:
    async with town() as (_, client):
        for command, said in (
            (b"SETACL INBOX bob@mairie.test lrQ", b"a BAD [CLIENTBUG] there is no such right"),
            (b"SETACL INBOX bob@mairie.test lrq", b"a BAD [CLIENTBUG] there is no such right"),
            (b'SETACL INBOX "" lr', b"a BAD [CLIENTBUG] malformed identifier"),
            (b"SETACL INBOX eve@autre.test lr", b"a NO [CANNOT] nobody of that name here"),
            (b"SETACL INBOX nobody@mairie.test lr", b"a NO [CANNOT] nobody of that name here"),
            (b"SETACL INBOX -bob@mairie.test lr", b"a NO [CANNOT] nobody of that name here"),
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


# --- others look on ---


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


# --- METADATA ---


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


# --- on the real store ---


async def test_carried_to_another_account_on_the_real_store(tmp_path: Path) -> None:
    """All or nothing: past the target's quota nothing is left there, and nothing is gone here."""
    initialise(tmp_path / "data")
    store = MaildirStore(tmp_path / "data", clock=ManualClock(1_790_000_000.0))
    await store.open()
    try:
        async with World(store=store) as world:
            here = Town(world)
            small = world.directory.add("petite", quota=5_000)
            here.sharing.grant(small, here.alice, ALL)
            here.grant("lrswite")
            client = await world.login()
            for number in range(3):
                await client.append(b"INBOX", b"Subject: %d\r\n\r\n" % number + b"y" * 2000 + b"\r\n", b"(\\Seen) ")
            await client.ok(b"SELECT INBOX")
            box = b'"Other Users/petite@mairie.test/INBOX"'
            assert await answer(client, b"COPY 1:3 " + box) == b"a NO [OVERQUOTA] mailbox is over quota"
            assert await answer(client, b"MOVE 1:3 " + box) == b"a NO [OVERQUOTA] mailbox is over quota"
            assert (await client.ok(b"STATUS %b (MESSAGES)" % box))[0].endswith(b"(MESSAGES 0)")
            assert (await client.ok(b"MOVE 1:3 " + BOX))[-1].startswith(b"a OK")
            account = await store.account(AccountRef.of(here.mairie))
            folder = await account.folder("INBOX")
            assert folder is not None
            assert (folder.messages, folder.unseen) == (3, 0)
            assert Right.READ in ALL
    finally:
        await store.close()
