"""A message whose file cannot be read, on the wire: its contents are refused, after all others were answered."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store.service import MaildirStore, initialise
from tests.fakes.imap_world import Client, World
from tests.fakes.odd_disk import Disk

REFUSAL = b"a NO [UNAVAILABLE] 1 message is unreadable on the server for now; all others were answered"
MAIL = b"Subject: %s\r\nFrom: a@b.test\r\nDate: Mon, 30 Nov 2026 0%d:00:00 +0000\r\n\r\nbody\r\n"


@contextlib.asynccontextmanager
async def selected(path: Path, disk: Disk, *, lost: bool) -> AsyncIterator[Client]:
    """Three messages; the second cannot be read. `lost`: and the index is lost."""
    initialise(path / "data")
    store = MaildirStore(path / "data", fs=disk)
    await store.open()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        client = await (await stack.enter_async_context(World(store=store))).login()
        await client.ok(b"SELECT INBOX")
        for number, subject in enumerate((b"one", b"two", b"three"), 1):
            await client.append(b"INBOX", MAIL % (subject, number))
        await client.ok(b"NOOP")
        if lost:
            for file in (path / "data").rglob("index*"):
                file.unlink()
        disk.part = "U=2,"
        await client.ok(b"SELECT INBOX")
        yield client


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("at_open", [False, True])
async def test_its_text_is_refused_when_all_others_were_told(tmp_path: Path, *, lost: bool, at_open: bool) -> None:
    """Cause: FETCH ended with the first that could not be read, or the connection did."""
    disk = Disk()
    disk.at_open = at_open
    async with selected(tmp_path, disk, lost=lost) as client:
        for command in (b"FETCH 1:* (UID BODY.PEEK[])", b"UID FETCH 1:* BODY.PEEK[TEXT]", b"FETCH 1:* (BODY.PEEK[1])"):
            told = await client.ask(command)
            assert [line.split()[1] for line in told if line.startswith(b"* ")] == [b"1", b"3"]
            assert told[-1] == REFUSAL
        assert (await client.ask(b"FETCH 2 BODY.PEEK[]")) == [REFUSAL]
        assert (await client.ok(b"FETCH 2 (FLAGS INTERNALDATE RFC822.SIZE)"))[0].startswith(b"* 2 FETCH (FLAGS (")
        disk.part = "nothing"
        assert (await client.ok(b"FETCH 2 BODY.PEEK[]"))[0].startswith(b"* 2 FETCH")


@pytest.mark.parametrize("lost", [False, True])
async def test_what_could_not_be_read_stays_unseen(tmp_path: Path, *, lost: bool) -> None:
    """Cause: it became \\Seen with the others, and the client was not told that it had."""
    disk = Disk()
    async with selected(tmp_path, disk, lost=lost) as client:
        for command in (b"FETCH 1:* (FLAGS BODY[])", b"FETCH 2 (ENVELOPE BODY[])"):
            told = await client.ask(command)
            assert told[-1] == REFUSAL
            assert not any(b"\\Seen" in line for line in told if line.startswith(b"* 2 "))
        assert (await client.ok(b"SEARCH UNSEEN"))[0] == b"* SEARCH 2"
        disk.part = "nothing"
        assert b"\\Seen" in b"".join(await client.ok(b"FETCH 2 (BODY[])"))
        assert (await client.ok(b"SEARCH UNSEEN"))[0] == b"* SEARCH"


async def test_what_only_its_octets_tell_is_refused_and_every_order_has_it(tmp_path: Path) -> None:
    disk = Disk()
    async with selected(tmp_path, disk, lost=True) as client:
        told = await client.ask(b"FETCH 1:* (ENVELOPE)")
        assert [line.split()[1] for line in told if line.startswith(b"* ")] == [b"1", b"3"]
        assert told[-1] == REFUSAL
        assert (await client.ok(b"SORT (SUBJECT) UTF-8 ALL"))[0] == b"* SORT 2 1 3"
        assert (await client.ok(b"THREAD REFERENCES UTF-8 ALL"))[0] == b"* THREAD (1)(3)(2)"
        assert (await client.ok(b"SEARCH SUBJECT o"))[0] == b"* SEARCH 1"
        assert (await client.ok(b"SEARCH NOT SUBJECT one"))[0] == b"* SEARCH 2 3"
        assert (await client.ok(b"SEARCH SENTSINCE 1-Jan-2020"))[0] == b"* SEARCH 1 3"
        assert (await client.ok(b"SEARCH HEADER X-Nobody x"))[0] == b"* SEARCH"
        assert (await client.ok(b"SEARCH NOT HEADER X-Nobody x"))[0] == b"* SEARCH 1 2 3"
        assert (await client.ok(b"SEARCH TEXT body"))[0] == b"* SEARCH 1 3"
        assert (await client.ok(b"STORE 1:3 +FLAGS.SILENT (\\Seen)"))[-1] == b"a OK STORE completed"
        assert (await client.ok(b"COPY 1:3 Archive"))[-1].endswith(b"COPY completed")


async def test_a_disk_that_gives_nothing_is_told_rather_than_asked_for_all(tmp_path: Path) -> None:
    disk = Disk()
    async with selected(tmp_path, disk, lost=False) as client:
        for _ in range(110):
            await client.append(b"INBOX", MAIL % (b"more", 4))
        disk.part, disk.tried = "U=", 0
        told = await client.ask(b"FETCH 1:* BODY.PEEK[]")
        assert told == [b"a NO [UNAVAILABLE] more than 100 messages are unreadable on the server for now"]
        assert disk.tried == 101 + 2  # the first one of two runs (`small`) is asked for once more


LARGE = 700 * 1024  # octets: three blocks
GOOD = 300 * 1024  # of them the disk gives


@contextlib.asynccontextmanager
async def large(path: Path, disk: Disk) -> AsyncIterator[tuple[World, Client]]:
    """Two messages; the first is large, and only its first block can be read."""
    initialise(path / "data")
    store = MaildirStore(path / "data", fs=disk)
    await store.open()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        world = await stack.enter_async_context(World(store=store))
        client = await world.login()
        await client.ok(b"SELECT INBOX")
        await client.append(
            b"INBOX", MAIL % (b"large", 1) + b"x" * 76 + b"\r\n" + (b"y" * 76 + b"\r\n") * (LARGE // 78)
        )
        await client.append(b"INBOX", MAIL % (b"small", 2))
        await client.ok(b"NOOP")
        disk.part, disk.good = "U=1,", GOOD
        yield world, client


async def test_f151_text_that_cannot_be_read_past_its_first_block_is_refused_before_its_size_is_told(
    tmp_path: Path,
) -> None:
    """Cause: the size of its literal was told, so that nothing but closing was left, and who came back met it again."""
    disk = Disk()
    async with large(tmp_path, disk) as (_, client):
        for command in (b"FETCH 1:2 BODY.PEEK[]", b"FETCH 1:2 (BODY.PEEK[HEADER] BODY.PEEK[TEXT])"):
            told = await client.ask(command)
            assert [line.split()[1] for line in told if line.startswith(b"* ")] == [b"2"]
            assert told[-1] == REFUSAL
        assert b"* 1 FETCH" in (await client.ok(b"FETCH 1 BODY.PEEK[]<0.1000>"))[0]
        disk.part = "nothing"
        assert (await client.ok(b"FETCH 1 BODY.PEEK[]"))[0].startswith(b"* 1 FETCH")


async def test_f151_a_disk_that_forgets_what_it_gave_ends_the_one_connection_that_is_told_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a literal cannot be ended any more. Others of the same mailbox go on, and who comes back is refused."""
    disk = Disk()
    async with large(tmp_path, disk) as (world, client):
        other = await world.login()
        await other.ok(b"SELECT INBOX")
        disk.forgets = True
        await client.raw(b"b FETCH 1 BODY.PEEK[]\r\n")
        assert 0 < len(await client.ended()) < LARGE
        disk.forgets = False
        assert (await other.ok(b"FETCH 2 BODY.PEEK[]"))[0].startswith(b"* 2 FETCH")
        again = await world.login()
        await again.ok(b"SELECT INBOX")
        assert (await again.ask(b"FETCH 1 BODY.PEEK[]")) == [REFUSAL]
        out = capsys.readouterr().out
        assert "message-read-failed" in out
        assert "store-message-unread" in out
        assert "U=1," in out
