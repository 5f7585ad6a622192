"""\\Recent of IMAP4rev1 (RFC 3501 2.3.2): the first session that is told of a message has it, and no other.

On the real store. `one` and `two` are clients of one process, `there` of another on the same mail.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from directory.rights import parse
from store.fsops import FileSystem
from store.service import MaildirStore
from tests.fakes.imap_world import Client, World
from tests.imap.test_real_store import MAIL, deliver, real


@contextlib.asynccontextmanager
async def two_clients(path: Path, messages: int) -> AsyncIterator[tuple[Client, Client]]:
    async with real(path) as (world, _):
        one, two = await world.login(), await world.login()
        for _ in range(messages):
            await one.append(b"INBOX", MAIL)
        yield one, two


async def recent(client: Client) -> list[int]:
    """The numbers of the messages that have \\Recent, by FETCH and by SEARCH."""
    lines = await client.ok(b"FETCH 1:* FLAGS")
    found = [int(line.split()[1]) for line in lines if b"\\Recent" in line]
    assert (await client.ok(b"SEARCH RECENT"))[0] == b" ".join([b"* SEARCH", *(b"%d" % number for number in found)])
    old = set(range(1, len(lines))) - set(found)
    assert (await client.ok(b"SEARCH OLD"))[0].split()[2:] == [b"%d" % number for number in sorted(old)]
    return found


def told(lines: list[bytes], word: bytes = b"RECENT") -> list[int]:
    return [int(line.split()[1]) for line in lines if line.endswith(b" " + word)]


async def status(client: Client, name: bytes = b"INBOX") -> bytes:
    return (await client.ok(b"STATUS %b (RECENT)" % name))[0].partition(b"(RECENT ")[2][:-1]


async def test_who_selects_first_has_it_and_the_next_does_not(tmp_path: Path) -> None:
    async with two_clients(tmp_path, 3) as (one, two):
        assert await status(two) == b"3"
        lines = await one.ok(b"SELECT INBOX")
        assert lines[1:3] == [b"* 3 EXISTS", b"* 3 RECENT"]
        assert b"\\Recent" not in b"".join(lines)  # neither in FLAGS nor in PERMANENTFLAGS (RFC 3501 2.3.2)
        assert await recent(one) == [1, 2, 3]
        assert await status(two) == b"0"
        assert told(await two.ok(b"SELECT INBOX")) == [0]
        assert await recent(two) == []
        assert told(await one.ok(b"SELECT INBOX")) == [0]


async def test_examine_and_status_leave_it_to_others(tmp_path: Path) -> None:
    """RFC 3501 6.3.2, 6.3.10."""
    async with two_clients(tmp_path, 2) as (one, two):
        assert told(await two.ok(b"EXAMINE INBOX")) == [2]
        assert await recent(two) == [1, 2]
        assert await status(one) == b"2"
        assert told(await one.ok(b"SELECT INBOX")) == [2]
        assert await recent(one) == [1, 2]
        assert await status(one) == b"2"  # of the selected mailbox: what it is in this session
        assert await recent(two) == [1, 2]
        assert told(await two.ok(b"EXAMINE INBOX")) == [0]


async def test_what_imap4rev2_dropped_is_answered_who_asks_for_it(tmp_path: Path) -> None:
    """RFC 9051 appendices A and E: LSUB as before, and of STATUS (RECENT) that nothing is."""
    async with two_clients(tmp_path, 1) as (one, two):
        subscribed = await two.ok(b'LSUB "" *')
        assert await status(two) == b"1"
        await two.ok(b"ENABLE IMAP4rev2")
        assert await status(two) == b"0"
        assert await two.ok(b'LSUB "" *') == subscribed
        assert len(subscribed) > 1
        assert await status(one) == b"1"


async def test_new_mail_is_recent_for_the_one_that_is_told_first(tmp_path: Path) -> None:
    async with two_clients(tmp_path, 1) as (one, two):
        await one.ok(b"SELECT INBOX")
        await two.ok(b"SELECT INBOX")
        lines = await two.append(b"INBOX", MAIL)
        assert lines[:-1] == [b"* 2 EXISTS", b"* 1 RECENT"]
        lines = await one.ok(b"NOOP")
        assert lines[:-1] == [b"* 2 EXISTS"]  # RECENT is still the one message it was
        await one.append(b"INBOX", MAIL)
        await two.ok(b"NOOP")
        assert (await recent(one), await recent(two)) == ([1, 3], [2])
        for client in (one, two):
            await client.ok(b"UNSELECT")
        assert told(await one.ok(b"SELECT INBOX")) == [0]


async def test_who_examines_does_not_take_new_mail_from_who_selects(tmp_path: Path) -> None:
    async with two_clients(tmp_path, 0) as (one, two):
        await one.ok(b"EXAMINE INBOX")
        await two.ok(b"SELECT INBOX")
        await one.append(b"INBOX", MAIL)
        assert await recent(one) == [1]
        assert told(await two.ok(b"NOOP")) == [1]
        assert await recent(two) == [1]


async def test_idle_tells_how_many_are_recent(tmp_path: Path) -> None:
    async with two_clients(tmp_path, 0) as (one, two):
        await one.ok(b"SELECT INBOX")
        await one.raw(b"a IDLE\r\n")
        assert await one.line() == b"+ idling"
        await two.append(b"INBOX", MAIL)
        assert [await one.line(), await one.line()] == [b"* 1 EXISTS", b"* 1 RECENT"]


async def test_copies_moved_and_appended_messages_are_recent_until_their_mailbox_is_selected(tmp_path: Path) -> None:
    """RFC 3501 6.3.11, 6.4.7: \\Recent SHOULD be set."""
    async with two_clients(tmp_path, 3) as (one, two):
        await one.ok(b"SELECT INBOX")
        await one.ok(b"COPY 1:2 Archive")
        await one.ok(b"MOVE 3 Archive")
        await one.append(b"Archive", MAIL)
        assert await status(two, b"Archive") == b"4"
        lines = await two.ok(b'LIST "" (INBOX Archive Sent) RETURN (STATUS (MESSAGES RECENT))')
        assert [line.partition(b"(MESSAGES ")[2] for line in lines if line.startswith(b"* STATUS")] == [
            b"2 RECENT 0)", b"4 RECENT 4)", b"0 RECENT 0)",
        ]  # fmt: skip
        assert told(await two.ok(b"SELECT Archive")) == [4]
        assert told(await one.ok(b"SELECT Archive")) == [0]


async def test_fewer_are_recent_after_an_expunge(tmp_path: Path) -> None:
    async with two_clients(tmp_path, 4) as (one, two):
        await one.ok(b"SELECT INBOX")
        await two.ok(b"SELECT INBOX")
        await two.append(b"INBOX", MAIL)
        await two.ok(b"STORE 2:3 +FLAGS.SILENT (\\Deleted)")
        assert (await two.ok(b"EXPUNGE"))[:-1] == [b"* 3 EXPUNGE", b"* 2 EXPUNGE"]
        lines = await one.ok(b"NOOP")
        assert (told(lines, b"EXPUNGE"), told(lines, b"EXISTS"), told(lines)) == ([3, 2], [3], [2])
        assert (await recent(one), await recent(two)) == ([1, 2], [3])


async def test_flags_that_are_told_unasked_and_by_store_have_it(tmp_path: Path) -> None:
    async with two_clients(tmp_path, 1) as (one, two):
        await one.ok(b"SELECT INBOX")
        await two.ok(b"SELECT INBOX")
        assert (await one.ok(b"STORE 1 FLAGS (\\Seen $Work)"))[2] == b"* 1 FETCH (FLAGS (\\Seen \\Recent $Work))"
        assert b"* 1 FETCH (UID 1 FLAGS (\\Seen $Work))" in await two.ok(b"NOOP")
        await two.ok(b"STORE 1 -FLAGS.SILENT ($Work)")
        assert b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent))" in await one.ok(b"NOOP")
        assert (await one.ok(b"FETCH 1 (FLAGS BODY.PEEK[TEXT])"))[0].startswith(b"* 1 FETCH (FLAGS (\\Seen \\Recent) ")


async def test_no_client_sets_it_or_takes_it_away(tmp_path: Path) -> None:
    """RFC 3501 2.3.2: "This flag can not be altered by the client." """
    async with two_clients(tmp_path, 1) as (one, two):
        await one.ok(b"SELECT INBOX")
        for command in (b"STORE 1 -FLAGS (\\Recent)", b"STORE 1 FLAGS ()"):
            assert (await one.ok(command))[0] == b"* 1 FETCH (FLAGS (\\Recent))"
        await two.ok(b"SELECT INBOX")
        assert (await two.ok(b"STORE 1 +FLAGS (\\Recent \\Seen)"))[0] == b"* 1 FETCH (FLAGS (\\Seen))"


async def test_new_is_recent_and_unseen(tmp_path: Path) -> None:
    async with two_clients(tmp_path, 3) as (one, _):
        await one.ok(b"SELECT INBOX")
        await one.ok(b"STORE 2 +FLAGS.SILENT (\\Seen)")
        assert (await one.ok(b"SEARCH NEW"))[0] == b"* SEARCH 1 3"
        assert (await one.ok(b"UID SEARCH NOT NEW"))[0] == b"* SEARCH 2"
        assert (await one.ok(b"SORT (ARRIVAL) UTF-8 NEW"))[0] == b"* SORT 1 3"
        await one.append(b"Archive", MAIL)
        lines = await one.ok(b"ESEARCH IN (MAILBOXES (INBOX Archive)) RECENT")
        assert [line.rpartition(b" UID ")[2] for line in lines[:-1]] == [b"ALL 1:3", b"ALL 1"]


async def test_a_result_that_is_kept_up_gains_new_mail(tmp_path: Path) -> None:
    """RFC 5267 4.3: RECENT is looked at again, for a set of numbers would not hold what came later."""
    async with two_clients(tmp_path, 1) as (one, two):
        await one.ok(b"SELECT INBOX")
        await one.ok(b"UID SEARCH RETURN (ALL UPDATE) RECENT")
        await two.append(b"INBOX", MAIL)
        assert b'* ESEARCH (TAG "a") UID ADDTO (0 2)' in await one.ok(b"NOOP")


async def test_imap4rev2_is_told_nothing_of_it_and_takes_it_all_the_same(tmp_path: Path) -> None:
    """RFC 9051 appendix E; who speaks rev1 next is not the first any more."""
    async with two_clients(tmp_path, 2) as (one, two):
        await one.ok(b"ENABLE IMAP4rev2")
        lines = await one.ok(b"SELECT INBOX")
        lines += await one.append(b"INBOX", MAIL)
        lines += await one.ok(b"FETCH 1:* FLAGS")
        assert b"recent" not in b"".join(lines).lower()
        assert (await one.ok(b"SEARCH RETURN (COUNT) RECENT"))[0].endswith(b" COUNT 0")
        await two.append(b"Trash", MAIL)
        assert len(await one.ok(b"ESEARCH IN (mailboxes Trash) RECENT")) == 1
        assert len(await one.ok(b"ESEARCH IN (mailboxes Trash) OLD")) == 2
        assert len(await two.ok(b"ESEARCH IN (mailboxes Trash) RECENT")) == 2
        assert await status(one) == b"0"
        assert told(await two.ok(b"SELECT INBOX")) == [0]


async def test_imap4rev2_enabled_in_a_mailbox_ends_it_there(tmp_path: Path) -> None:
    async with two_clients(tmp_path, 1) as (one, _):
        await one.ok(b"SELECT INBOX")
        await one.ok(b"ENABLE IMAP4rev2")
        assert (await one.ok(b"FETCH 1 FLAGS"))[0] == b"* 1 FETCH (FLAGS ())"
        assert (await one.append(b"INBOX", MAIL))[:-1] == [b"* 2 EXISTS"]


async def test_renamed_mailboxes_keep_it_and_new_ones_of_the_name_begin_anew(tmp_path: Path) -> None:
    async with two_clients(tmp_path, 0) as (one, two):
        await one.ok(b"CREATE A")
        await one.append(b"A", MAIL)
        await one.append(b"A", MAIL)
        await one.ok(b"RENAME A B")
        assert await status(one, b"B") == b"2"
        assert told(await one.ok(b"SELECT B")) == [2]
        await two.ok(b"RENAME B C")
        assert await status(two, b"C") == b"0"
        await two.append(b"C", MAIL)
        assert await status(two, b"C") == b"1"
        await one.ok(b"UNSELECT")
        await two.ok(b"DELETE C")
        await two.ok(b"CREATE C")
        await two.append(b"C", MAIL)
        assert told(await two.ok(b"SELECT C")) == [1]


async def test_renaming_inbox_makes_what_it_held_recent_in_the_new_mailbox(tmp_path: Path) -> None:
    async with two_clients(tmp_path, 2) as (one, _):
        await one.ok(b"SELECT INBOX")
        await one.ok(b"UNSELECT")
        await one.ok(b"RENAME INBOX Vieux")
        assert (await status(one, b"Vieux"), await status(one)) == (b"2", b"0")


async def test_a_shared_mailbox_has_one_recent_for_all(tmp_path: Path) -> None:
    """Who may change nothing there is told as by EXAMINE."""
    async with real(tmp_path) as (world, _):
        directory = world.directory
        owner, bob = directory.add("mairie", shared=True), directory.add("bob")
        directory.sharing.grant(owner, world.alice, parse("lrs"), "")
        directory.sharing.grant(owner, bob, parse("lr"), "")
        alice, reader, mairie = await world.login(), await world.login("bob"), await world.login("mairie")
        await mairie.append(b"INBOX", MAIL)
        box = b"Shared/mairie@mairie.test/INBOX"
        assert await status(reader, box) == b"1"
        assert told(await reader.ok(b"SELECT " + box)) == [1]
        assert told(await alice.ok(b"SELECT " + box)) == [1]
        assert told(await mairie.ok(b"SELECT INBOX")) == [0]


async def test_two_processes_give_a_message_to_one_session(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, store):
        other = MaildirStore(tmp_path / "data")
        await other.open()
        try:
            async with World(store=other) as neighbour:
                here, there = await world.login(), await neighbour.login()
                await deliver(store, world.services)
                assert told(await here.ok(b"SELECT INBOX")) == [1]
                assert told(await there.ok(b"SELECT INBOX")) == [0]
                for client, turn in ((there, 2), (here, 3), (there, 4)):
                    await deliver(store, world.services)
                    assert told(await client.ok(b"NOOP"), b"EXISTS") == [turn]
                for client in (here, there):
                    await client.ok(b"NOOP")
                assert (await recent(here), await recent(there)) == ([1, 3], [2, 4])
        finally:
            await other.close()


async def test_what_an_index_forgot_is_not_recent(tmp_path: Path) -> None:
    """A client that resynchronises is not told that all its mail is new (promise P5)."""
    async with real(tmp_path) as (world, store):
        client = await world.login()
        await client.append(b"INBOX", MAIL)
        await client.append(b"Archive", MAIL)
        await client.ok(b"SELECT INBOX")
        await client.ok(b"UNSELECT")
        await store.rebuild(None)
        assert (await status(client), await status(client, b"Archive")) == (b"0", b"0")
        await client.append(b"INBOX", MAIL)
        assert told(await client.ok(b"SELECT INBOX")) == [1]
        assert await recent(client) == [2]


async def test_a_restart_remembers_what_was_taken(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, _):
        client = await world.login()
        await client.append(b"INBOX", MAIL)
        await client.ok(b"SELECT INBOX")
        await client.append(b"Archive", MAIL)
    store = MaildirStore(tmp_path / "data")
    await store.open()
    try:
        async with World(store=store) as world:
            client = await world.login()
            assert (await status(client), await status(client, b"Archive")) == (b"0", b"1")
    finally:
        await store.close()


async def test_a_disk_that_is_full_lets_people_read_and_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 3501 2.3.2: who cannot tell whether it was the first considers the message recent."""
    async with two_clients(tmp_path, 2) as (one, two):
        with monkeypatch.context() as full:
            full.setattr(FileSystem, "write", _full)
            assert told(await one.ok(b"SELECT INBOX")) == [2]
        assert await recent(one) == [1, 2]
        assert told(await two.ok(b"SELECT INBOX")) == [2]


def _full(self: FileSystem, fd: int, data: bytes, offset: int) -> None:
    raise OSError(28, "No space left on device")
