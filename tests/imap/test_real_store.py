"""The main transcripts again, on the real store in a temporary directory, with a second process' worth of delivery."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from imap.session import Services
from message import facts
from message.content import BytesContent, Content
from message.facts import Facts
from store import changes, records
from store.catalog import FolderRow
from store.fsops import FileSystem
from store.index import Connection
from store.service import MaildirStore, initialise
from store.types import AccountRef, Message, Placement
from tests.fakes.imap_world import Client, World

MAIL = b"Subject: one\r\nFrom: a@b.test\r\n\r\nbody\r\n"


@contextlib.asynccontextmanager
async def real(
    path: Path, fs: FileSystem | None = None, gather: Callable[[Content], Facts] = facts.gather
) -> AsyncIterator[tuple[World, MaildirStore]]:
    initialise(path / "data")
    store = MaildirStore(path / "data", fs=fs, gather=gather)
    await store.open()
    try:
        async with World(store=store) as world:
            yield world, store
    finally:
        await store.close()


async def deliver(store: MaildirStore, services: Services, raw: bytes = MAIL) -> None:
    account = await services.directory.account_by_id("id-alice")
    assert account is not None
    ref = AccountRef.of(account)
    async with await store.stage(b"", BytesContent(raw), first=ref) as staged:
        await staged.deliver(ref, Placement())


async def test_a_day_in_a_mailbox(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, store):
        client = await world.login()
        lines = await client.ok(b'LIST "" *')
        assert b'* LIST (\\HasNoChildren \\Trash) "/" Trash' in lines
        assert len(lines) == 7
        await client.ok(b"SELECT INBOX")
        await deliver(store, world.services)
        assert b"* 1 EXISTS" in await client.ok(b"NOOP")
        assert (await client.append(b"INBOX", MAIL, b"(\\Seen $Work) "))[0] == b"* 2 EXISTS"
        assert (await client.ok(b"FETCH 2 (FLAGS BODY.PEEK[])"))[-2].endswith(b"BODY[] {%d}\r\n%b)" % (len(MAIL), MAIL))
        assert (await client.ok(b"STORE 1 +FLAGS (\\Deleted)"))[0] == b"* 1 FETCH (FLAGS (\\Deleted \\Recent))"
        assert (await client.ok(b"COPY 1:2 Archive"))[-1].endswith(b" 1:2 1:2] COPY completed")
        assert await client.ok(b"EXPUNGE") == [b"* 1 EXPUNGE", b"* 1 RECENT", b"a OK EXPUNGE completed"]
        assert (await client.ok(b"MOVE 1 Trash"))[-3:] == [b"* 1 EXPUNGE", b"* 0 RECENT", b"a OK MOVE completed"]
        assert (await client.ok(b"STATUS Archive (MESSAGES UNSEEN SIZE)"))[0] == (
            b"* STATUS Archive (MESSAGES 2 UNSEEN 1 SIZE %d)" % (2 * len(MAIL))
        )
        await client.ok(b"CREATE D&AOk-cisions/2026")
        await client.ok(b"RENAME D&AOk-cisions Archives")
        assert b'* LIST (\\HasNoChildren) "/" Archives/2026' in await client.ok(b'LIST "" Archives/*')
        await client.ok(b"UNSUBSCRIBE Archives/2026")
        assert b'* LSUB () "/" Archives/2026' not in await client.ok(b'LSUB "" *')
        await client.ok(b"DELETE Archives/2026")
        for name in (b"..", b"a/../b", b"&AAA-", b'"%b"' % (b"x" * 4096), b"/".join([b"l"] * 200)):
            assert (await client.ask(b"CREATE " + name))[-1].startswith(b"a NO [CANNOT]"), name


async def test_idle_hears_a_delivery(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, store):
        client = await world.login()
        await client.ok(b"SELECT INBOX")
        await client.raw(b"a IDLE\r\n")
        await client.line()
        loop, late = asyncio.get_running_loop(), list[float]()
        for number in range(1, 4):  # the quickest counts: the rest is what else the machine does
            await deliver(store, world.services)
            delivered = loop.time()
            while await client.line() != b"* %d EXISTS" % number:
                pass
            late.append(loop.time() - delivered)
        assert min(late) < 1  # long before the look that heals a lost hint
        await client.raw(b"DONE\r\n")
        assert (await client.until(b"a"))[-1].startswith(b"a OK")


async def test_what_was_answered_is_there_after_a_restart(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, _):
        client = await world.login()
        await client.append(b"INBOX", MAIL, b'($Work) "17-Jul-1996 02:44:25 -0700" ')
        before = [line for line in await client.ok(b"SELECT INBOX") if b"UID" in line]
    async with real(tmp_path) as (world, _):
        client = await world.login()
        assert [line for line in await client.ok(b"SELECT INBOX") if b"UID" in line] == before
        assert (await client.ok(b"FETCH 1 (FLAGS INTERNALDATE)"))[0] == (
            b'* 1 FETCH (FLAGS ($Work) INTERNALDATE "17-Jul-1996 09:44:25 +0000")'
        )


async def test_a_folder_below_new_holds_what_was_put_into_it(tmp_path: Path) -> None:
    """Cause: its directory began like one that is being made, and it was gone as soon as it was made."""
    async with real(tmp_path) as (world, _):
        client = await world.login()
        await client.ok(b"CREATE new/x")
        await client.append(b"new/x", MAIL)
        await client.ok(b"RENAME new/x new/y")
    async with real(tmp_path) as (world, _):
        client = await world.login()
        lines = await client.ok(b'LIST "" "new*" RETURN (STATUS (MESSAGES))')
        assert lines[:4] == [
            b'* LIST (\\HasChildren) "/" new', b"* STATUS new (MESSAGES 0)",
            b'* LIST (\\HasNoChildren) "/" new/y', b"* STATUS new/y (MESSAGES 1)",
        ]  # fmt: skip


RACING = [
    b"STORE 1:3 +FLAGS.SILENT \\Deleted",
    b"EXPUNGE",
    b"UID MOVE 2:4 Trash",
    b"COPY 1:2 INBOX",
    b"UID FETCH 1:* FLAGS",
    b"FETCH 1:* UID",
    b"UID STORE 1:* -FLAGS \\Deleted",
]


async def believed(client: Client) -> list[bytes]:
    """Without \\Recent, which one session alone has."""
    lines = await client.ask(b"FETCH 1:* (UID FLAGS)")
    return [line.replace(b" \\Recent", b"").replace(b"\\Recent", b"") for line in lines]


async def test_h104_racing_sessions_end_with_the_same_mailbox(tmp_path: Path) -> None:
    """While mail arrives and INBOX is renamed: all sessions agree at the end, and no message is lost or doubled."""
    async with real(tmp_path) as (world, store):
        clients = [await world.login() for _ in range(4)]
        for client in clients:
            await client.ok(b"SELECT INBOX")

        async def work(client: Client, seed: random.Random) -> None:
            for _ in range(15):
                lines = await client.ask(seed.choice(RACING))
                assert b"SERVERBUG" not in lines[-1]

        async def mail() -> None:
            for number in range(20):
                await deliver(store, world.services, MAIL + b"%d\r\n" % number)

        async def rename() -> None:
            mover = await world.login()
            await mover.ok(b"RENAME INBOX Vieux")

        await asyncio.gather(*(work(c, random.Random(n)) for n, c in enumerate(clients)), mail(), rename())
        for client in clients:
            await client.ok(b"NOOP")
        beliefs = [await believed(client) for client in clients]
        assert all(belief == beliefs[0] for belief in beliefs)
        fresh = await world.login()
        await fresh.ok(b"EXAMINE INBOX")
        assert await believed(fresh) == beliefs[0]


async def test_another_process_is_heard_in_idle_and_by_notify_without_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stores on one directory are two front processes. The look that heals lost hints is put off for ever, so what
    comes, comes by the hint, which is sent with the commit (wanted: within 100 ms)."""
    monkeypatch.setattr(changes, "LOOK_EVERY", 1e9)
    monkeypatch.setattr(changes, "PEERS_EVERY", 0.0)
    async with real(tmp_path) as (world, _):
        other = MaildirStore(tmp_path / "data")
        await other.open()
        async with World(store=other) as neighbour:
            one, two = await world.login(), await world.login()
            three = await neighbour.login()
            await one.ok(b"SELECT INBOX")
            await one.raw(b"a IDLE\r\n")
            assert await one.line() == b"+ idling"
            await two.ok(b"NOTIFY SET (personal (MessageNew MessageExpunge FlagChange MailboxName))")
            await three.append(b"INBOX", MAIL)
            assert [await one.line(), await one.line()] == [b"* 1 EXISTS", b"* 1 RECENT"]
            assert (await two.line()).startswith(b"* STATUS INBOX (MESSAGES 1 UIDNEXT 2 ")
            await three.ok(b"SELECT INBOX")
            await three.ok(b"STORE 1 +FLAGS.SILENT (\\Seen)")
            assert await one.line() == b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent))"
            assert b" UNSEEN 0" in await two.line()
            await three.ok(b"CREATE Neuf")
            assert await two.line() == b'* LIST (\\HasNoChildren) "/" Neuf'
            await three.ok(b"MOVE 1 Neuf")
            assert [await one.line(), await one.line()] == [b"* 1 EXPUNGE", b"* 0 RECENT"]
            told = sorted([await two.line(), await two.line()])
            assert [line.split(b" (")[0] for line in told] == [b"* STATUS INBOX", b"* STATUS Neuf"]
            await three.ok(b"UNSUBSCRIBE Neuf")
            await three.ok(b"RENAME Neuf Vieux")
            assert await two.line() == b'* LIST (\\HasNoChildren) "/" Vieux ("OLDNAME" (Neuf))'
            await three.ok(b"DELETE Vieux")
            assert await two.line() == b'* LIST (\\NonExistent) "/" Vieux'
        await other.close()


async def test_numbers_stay_right_while_removals_are_owed_and_after(tmp_path: Path) -> None:
    """The map is made of the gaps that expunged messages left, the lines of whole batches."""
    async with real(tmp_path) as (world, store):
        one, two = await world.login(), await world.login()
        for _ in range(9):
            await deliver(store, world.services)
        await two.ok(b"SELECT INBOX")
        await two.ok(b"STORE 2,5,9 +FLAGS.SILENT \\Deleted")
        await one.ok(b"SELECT INBOX")
        assert len(await one.ok(b"FETCH 1:* UID")) == 10
        await two.ok(b"EXPUNGE")
        await two.ok(b"STORE 1 +FLAGS.SILENT ($Work \\Seen)")
        lines = await one.ask(b"FETCH 1:* (UID FLAGS)")
        assert lines[-1].startswith(b"a NO [EXPUNGEISSUED]")
        told = [line for line in lines if line.endswith(b")") and b"UID" in line]
        assert told == [
            b"* %d FETCH (UID %d FLAGS (%b))" % (uid, uid, b"\\Seen $Work" if uid == 1 else b"")
            for uid in (1, 3, 4, 6, 7, 8)
        ]
        await one.ok(b"NOOP")
        for client in (one, two, await world.login()):
            await client.ok(b"SELECT INBOX")
            assert (await client.ok(b"FETCH 1:* UID"))[:-1] == [
                b"* %d FETCH (UID %d)" % (number, uid) for number, uid in enumerate((1, 3, 4, 6, 7, 8), 1)
            ]


async def test_what_a_client_did_itself_is_not_read_again_and_what_another_did_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    changed_since = records.changed_since

    def counted(db: Connection, folder: FolderRow, modseq: int) -> list[Message]:
        asked.append(modseq)
        return changed_since(db, folder, modseq)

    async with real(tmp_path) as (world, _):
        client, other = await world.login(), await world.login()
        for _ in range(4):
            await client.append(b"INBOX", MAIL)
        for each in (client, other):
            await each.ok(b"SELECT INBOX")
        await client.ok(b"NOOP")
        monkeypatch.setattr(records, "changed_since", counted)
        assert await client.ok(b"STORE 1:4 +FLAGS.SILENT (\\Seen)") == [b"a OK STORE completed"]
        assert await client.ok(b"STORE 1:4 +FLAGS.SILENT (\\Seen)") == [b"a OK STORE completed"]  # no change at all
        assert (await client.ok(b"STORE 2 +FLAGS (\\Deleted)"))[-1] == b"a OK STORE completed"
        assert (await client.ok(b"EXPUNGE"))[0] == b"* 2 EXPUNGE"
        await client.append(b"INBOX", MAIL)
        await client.ok(b"NOOP")
        asked.clear()
        assert b"* 4 EXPUNGE" in await client.ok(b"MOVE 4 Archive")
        assert asked == []
        told = await other.ok(b"NOOP")
        assert told[0] == b"* 2 EXPUNGE"
        assert [b"FLAGS (\\Seen" in line for line in told if b"FETCH" in line] == [True] * 3
        await other.ok(b"STORE 3 +FLAGS.SILENT (\\Flagged \\Deleted)")
        told = await client.ok(b"STORE 1 -FLAGS.SILENT (\\Seen)")
        assert [line.startswith(b"* 3 FETCH (UID 4 FLAGS (\\Flagged \\Deleted \\Seen") for line in told] == [
            True,
            False,
        ]
        await other.ok(b"STORE 1 +FLAGS.SILENT (\\Answered)")
        told = await client.ok(b"EXPUNGE")
        assert told[0] == b"* 3 EXPUNGE"
        assert any(line.startswith(b"* 1 FETCH (UID 1 FLAGS (\\Answered") for line in told)
        # A change of nothing has no mod-sequence of its own: what another did meanwhile is still to be told.
        await other.ok(b"STORE 1:2 +FLAGS.SILENT ($Lu)")
        assert await client.ok(b"EXPUNGE") != [b"a OK EXPUNGE completed"]
        await other.ok(b"STORE 1:2 -FLAGS.SILENT ($Lu)")
        told = await client.ok(b"STORE 1 -FLAGS (\\Draft)")
        assert sorted(line[:9] for line in told[:-1]) == [b"* 1 FETCH", b"* 2 FETCH"]
