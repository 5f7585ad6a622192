"""RFC 4314 4, row by row: each command behind its right, flags behind s, t and w; rights that change meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.clock import ManualClock
from directory.rights import ALL, Right
from store.service import MaildirStore, initialise
from store.types import AccountRef, Flag
from tests.fakes.imap_world import World
from tests.imap.sharing import BOX, MAIL, Town, answer, town

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
