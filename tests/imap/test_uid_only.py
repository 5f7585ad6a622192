"""UIDONLY on the wire (RFC 9586): no message number in either direction once it is enabled."""

from __future__ import annotations

from core.config import Imap
from tests.fakes.imap_world import Client, World, selected

MAIL = b"Subject: one\r\n\r\nbody\r\n"
NUMBERED = b"a BAD [UIDREQUIRED] message numbers are not used once UIDONLY is enabled"


async def uid_only(world: World, *more: bytes) -> Client:
    """A client with INBOX selected that enabled UIDONLY; the messages there do not begin with UID 1."""
    account = await world.account()
    account.deliver(MAIL)
    other = await world.login()
    await other.ok(b"SELECT INBOX")
    await other.ok(b"UID STORE 1 +FLAGS.SILENT \\Deleted")
    await other.ok(b"CLOSE")
    for _ in range(3):
        account.deliver(MAIL)
    client = await world.login()
    await client.ok(b"ENABLE " + b" ".join((b"UIDONLY", *more)))
    await client.ok(b"SELECT INBOX")
    return client


async def test_it_is_announced_and_enabled_by_name() -> None:
    async with World() as world:
        client = await world.login()
        assert b" UIDONLY" in (await client.ok(b"CAPABILITY"))[0]
        assert (await client.ok(b"ENABLE uidonly"))[0] == b"* ENABLED UIDONLY"


async def test_switched_off_it_is_neither_announced_nor_enabled() -> None:
    async with World(settings=Imap(without=["UIDONLY"])) as world, selected(world, MAIL) as client:
        assert b"UIDONLY" not in (await client.ok(b"CAPABILITY"))[0]
        await client.ok(b"UNSELECT")
        assert (await client.ok(b"ENABLE UIDONLY"))[0] == b"* ENABLED"
        await client.ok(b"SELECT INBOX")
        assert (await client.ok(b"FETCH 1 FLAGS"))[0] == b"* 1 FETCH (FLAGS ())"


async def test_commands_with_message_numbers_are_refused_and_say_why() -> None:
    async with World() as world:
        client = await uid_only(world)
        for command in (
            b"FETCH 1 FLAGS",
            b"STORE 1 +FLAGS (\\Seen)",
            b"COPY 1 Trash",
            b"MOVE 1 Trash",
            b"SEARCH ALL",
            b"SORT (ARRIVAL) UTF-8 ALL",
            b"THREAD REFERENCES UTF-8 ALL",
            b"REPLACE 1 INBOX {22+}\r\n" + MAIL,
        ):
            assert (await client.ask(command))[-1] == NUMBERED, command


async def test_message_numbers_among_search_keys_are_refused() -> None:
    async with World() as world:
        client = await uid_only(world)
        for command in (
            b"UID SEARCH 1:*",
            b"UID SEARCH NOT (SEEN 2)",
            b"UID SORT (ARRIVAL) UTF-8 1",
            b"UID THREAD ORDEREDSUBJECT UTF-8 1",
        ):
            assert (await client.ask(command))[-1].startswith(b"a BAD [UIDREQUIRED] "), command
        assert (await client.ok(b"UID SEARCH UID 2:3"))[0] == b"* SEARCH 2 3"
        await client.ok(b"UID SEARCH RETURN (SAVE) UID 3:*")
        assert (await client.ok(b"UID SEARCH $"))[0] == b"* SEARCH 3 4"


async def test_fetch_is_answered_by_uidfetch() -> None:
    """The UID stands in front; among the items it stands only for who asks for it."""
    async with World() as world:
        client = await uid_only(world)
        lines = await client.ok(b"UID FETCH 1:* FLAGS")
        assert lines[:-1] == [b"* %d UIDFETCH (FLAGS ())" % uid for uid in (2, 3, 4)]
        assert (await client.ok(b"UID FETCH 3 (UID RFC822.SIZE)"))[0] == b"* 3 UIDFETCH (UID 3 RFC822.SIZE 22)"
        lines = await client.ok(b"UID FETCH 4 BODY[TEXT]")
        assert lines[0] == b"* 4 UIDFETCH (FLAGS (\\Seen) BODY[TEXT] {6}\r\nbody\r\n)"


async def test_store_and_changes_of_others_are_told_by_uidfetch() -> None:
    async with World() as world:
        client = await uid_only(world, b"CONDSTORE")
        (line, _) = await client.ok(b"UID STORE 3 +FLAGS (\\Flagged)")
        assert line.startswith(b"* 3 UIDFETCH (FLAGS (\\Flagged) MODSEQ (")
        (line, _) = await client.ok(b"UID STORE 3 +FLAGS.SILENT (\\Draft)")
        assert line.startswith(b"* 3 UIDFETCH (MODSEQ (")
        other = await world.login()
        await other.ok(b"SELECT INBOX")
        assert (await other.ok(b"STORE 3 +FLAGS (\\Seen)"))[0] == b"* 3 FETCH (FLAGS (\\Seen))"
        (line, _) = await client.ok(b"NOOP")
        assert line.startswith(b"* 4 UIDFETCH (FLAGS (\\Seen) MODSEQ (")
        (line, _) = await client.ok(b"UID FETCH 2 BODY[]")
        assert line.startswith(b"* 2 UIDFETCH (FLAGS (\\Seen) MODSEQ (")


async def test_removals_are_told_by_vanished() -> None:
    async with World() as world:
        client = await uid_only(world)
        await client.ok(b"UID STORE 2,4 +FLAGS.SILENT (\\Deleted)")
        assert await client.ok(b"EXPUNGE") == [b"* VANISHED 2,4", b"a OK EXPUNGE completed"]
        lines = await client.ok(b"UID MOVE 3 Trash")
        assert lines[0].startswith(b"* OK [COPYUID ")
        assert lines[1:] == [b"* VANISHED 3", b"a OK MOVE completed"]


async def test_select_tells_no_message_number() -> None:
    async with World() as world:
        client = await uid_only(world, b"QRESYNC")
        lines = await client.ok(b"SELECT INBOX")
        assert b"* 3 EXISTS" in lines
        assert not any(b"[UNSEEN" in line for line in lines)
        (uidvalidity,) = [line.split()[3].rstrip(b"]") for line in lines if b"[UIDVALIDITY" in line]
        refused = await client.ask(b"SELECT INBOX (QRESYNC (%b 1 1:4 (1,2 2,3)))" % uidvalidity)
        assert refused[-1].startswith(b"a BAD [UIDREQUIRED] ")
        lines = await client.ok(b"SELECT INBOX (QRESYNC (%b 1 1:4))" % uidvalidity)
        assert b"* VANISHED (EARLIER) 1" in lines
        assert any(line.startswith(b"* 4 UIDFETCH (FLAGS () MODSEQ (") for line in lines), lines


async def test_who_logs_out_leaves_it_behind() -> None:
    async with World() as world:
        client = await uid_only(world)
        await client.ok(b"UNAUTHENTICATE")
        await client.login()
        await client.ok(b"SELECT INBOX")
        assert (await client.ok(b"FETCH 1 FLAGS"))[0] == b"* 1 FETCH (FLAGS ())"
