"""Whole small messages, many in one answer (`imap.commands.fetch.small`): what is told is what each tells alone.

On the real store; `one_by_one` asks for each message with a command of its own, which opens it alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import store.small
from core.errors import NotFoundError
from imap.commands.fetch import small
from store import mailbox
from store.fsops import FileSystem
from store.mailbox import FolderView
from store.store import LARGEST_SMALL
from store.types import Flag, Message, Uid
from tests.fakes.imap_world import Client
from tests.imap.test_real_store import real

HEAD = b"Subject: %d\r\nFrom: a@b.test\r\n\r\n"
MESSAGES = 30
LARGE = 11  # the number of the one that is not small
_NUMBER = re.compile(rb"\* (\d+) ")


def mail(number: int) -> bytes:
    """Of many sizes; what a literal must carry as it is, in some."""
    text = b"0123456789 abcdef %d {12}\r\n)\r\n* 1 EXISTS\r\n\xe9\xff" * (number * 7)
    head = HEAD % number
    return head + (text * 1000)[: LARGEST_SMALL - len(head) + 1] if number == LARGE else head + text


@contextlib.asynccontextmanager
async def filled(path: Path, fs: FileSystem | None = None) -> AsyncIterator[tuple[Client, Client, Path]]:
    """Two clients with INBOX selected, all seen and nothing recent; and the directory of its files."""
    async with real(path, fs) as (world, _):
        one, two = await world.login(), await world.login()
        literals = [b"(\\Seen) {%d+}\r\n%b" % (len(mail(n)), mail(n)) for n in range(1, MESSAGES + 1)]
        await one.ok(b"APPEND INBOX " + b" ".join(literals))
        for client in (one, one, two):
            await client.ok(b"SELECT INBOX")
        yield one, two, path / "data/domains/mairie.test/alice/cur"


async def one_by_one(client: Client, command: bytes, items: bytes) -> list[bytes]:
    return [(await client.ok(b"%b %d %b" % (command, n, items)))[0] for n in range(1, MESSAGES + 1)]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """UIDs of the messages that are opened alone."""
    found: list[int] = []
    original = FolderView.open

    async def noted(self: FolderView, uid: Uid) -> object:
        found.append(uid)
        return await original(self, uid)

    monkeypatch.setattr(mailbox.FolderView, "open", noted)
    return found


@pytest.mark.parametrize("command", [b"FETCH", b"UID FETCH"])
async def test_many_together_tell_what_each_tells_alone(tmp_path: Path, command: bytes) -> None:
    async with filled(tmp_path) as (one, _, _):
        await one.ok(b"ENABLE CONDSTORE")
        await one.ok(b"STORE 3,7 +FLAGS.SILENT (\\Flagged $Word)")
        for items in (
            b"BODY.PEEK[]",
            b"(BODY[])",
            b"RFC822",
            b"(UID RFC822.SIZE FLAGS INTERNALDATE BODY.PEEK[])",
            b"(BODY.PEEK[] FLAGS ENVELOPE MODSEQ)",
            b"(EMAILID SAVEDATE BODY.PEEK[])",
        ):
            together = (await one.ok(command + b" 1:* " + items))[:-1]
            assert together == await one_by_one(one, command, items)
            assert all(mail(n) in line for n, line in enumerate(together, 1))


class Threads(FileSystem):
    """Notes which thread opens messages."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []

    def open_to_read(self, directory: int, name: str) -> int:
        if ",U=" in name:
            self.threads.append(threading.current_thread().name)
        return super().open_to_read(directory, name)


async def test_a_disk_that_has_to_be_waited_for_is_waited_for_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P7: other sessions go on meanwhile. Past the first message of each run, which told that it takes long."""
    fs, here = Threads(), threading.current_thread().name
    async with filled(tmp_path, fs) as (one, _, _):
        monkeypatch.setattr(store.small, "PATIENCE", 60.0)
        fs.threads.clear()
        quick = await one.ok(b"FETCH 1:* (UID BODY.PEEK[])")
        assert set(fs.threads) == {here}
        monkeypatch.setattr(store.small, "PATIENCE", -1.0)
        fs.threads.clear()
        assert await one.ok(b"FETCH 1:* (UID BODY.PEEK[])") == quick
        assert len(fs.threads) == MESSAGES
        assert fs.threads.count(here) == 3  # a run before the large one, the large one, a run behind it


async def test_f154_without_a_descriptor_for_the_thread_each_is_opened_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Disk(FileSystem):
        def duplicate(self, fd: int) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(store.small, "PATIENCE", -1.0)
    async with filled(tmp_path, Disk()) as (one, two, _):
        assert (await one.ok(b"FETCH 1:* BODY.PEEK[]"))[:-1] == await one_by_one(two, b"FETCH", b"BODY.PEEK[]")


async def test_only_large_ones_are_opened_alone(tmp_path: Path, opened: list[int]) -> None:
    async with filled(tmp_path) as (one, _, _):
        await one.ok(b"FETCH 1:* (FLAGS BODY[])")
        await one.ok(b"UID FETCH 1:* RFC822")
        assert opened == [LARGE, LARGE]


async def test_what_is_not_a_whole_message_is_read_alone(tmp_path: Path, opened: list[int]) -> None:
    async with filled(tmp_path) as (one, _, _):
        for items in (b"BODY.PEEK[TEXT]", b"BODY.PEEK[]<0.10>", b"(BODY.PEEK[] BODY.PEEK[1])", b"BINARY.PEEK[]"):
            opened.clear()
            together = (await one.ok(b"FETCH 1:* " + items))[:-1]
            assert len(opened) == MESSAGES
            assert together == await one_by_one(one, b"FETCH", items)
        opened.clear()
        await one.ok(b"FETCH 1:%d BODY.PEEK[]" % (small.LEAST - 1))
        assert len(opened) == small.LEAST - 1


async def test_those_that_become_seen_are_told_so(tmp_path: Path) -> None:
    async with filled(tmp_path) as (one, _, _):
        await one.ok(b"STORE 4,9 -FLAGS.SILENT \\Seen")
        lines = await one.ok(b"FETCH 1:* BODY[]")
        told = [int(line.split()[1]) for line in lines if b"(FLAGS (\\Seen)" in line]
        assert told == [4, 9]
        assert (await one.ok(b"SEARCH UNSEEN"))[0] == b"* SEARCH"


async def test_expunged_meanwhile_and_not_told_yet(tmp_path: Path) -> None:
    """RFC 2180 4.1.2: what is gone has no answer, and the client looks again."""
    async with filled(tmp_path) as (one, two, _):
        await one.ok(b"STORE 2,20 +FLAGS.SILENT \\Deleted")
        await one.ok(b"EXPUNGE")
        answer = await two.ask(b"FETCH 1:* (UID BODY.PEEK[])")
        numbers = [int(found[1]) for line in answer if (found := _NUMBER.match(line))]
        assert numbers == [n for n in range(1, MESSAGES + 1) if n not in (2, 20)]
        assert answer[-1].startswith(b"a NO [EXPUNGEISSUED]")
        assert all(mail(n) in line for n, line in zip(numbers, answer, strict=False))


async def test_flags_that_another_session_changed_are_told_once(tmp_path: Path) -> None:
    async with filled(tmp_path) as (one, two, _):
        await one.ok(b"STORE 9 +FLAGS.SILENT (\\Flagged $New)")
        lines = await two.ok(b"FETCH 1:* (FLAGS BODY.PEEK[])")
        (told,) = [line for line in lines if line.startswith(b"* 9 ")]
        assert told.startswith(b"* 9 FETCH (FLAGS (\\Flagged \\Seen $New) BODY[] {")
        assert [line for line in lines if line.startswith(b"* FLAGS")]  # the new keyword is announced
        assert len(await two.ok(b"NOOP")) == 1


async def test_recent_ones_among_others(tmp_path: Path) -> None:
    async with filled(tmp_path) as (one, _, _):
        await one.append(b"INBOX", mail(3))
        await one.ok(b"NOOP")
        lines = await one.ok(b"FETCH 1:* (FLAGS BODY.PEEK[])")
        assert [line.split()[1] for line in lines if b"(FLAGS (\\Recent)" in line] == [b"%d" % (MESSAGES + 1)]


async def test_uid_only(tmp_path: Path) -> None:
    async with filled(tmp_path) as (one, _, _):
        await one.ok(b"ENABLE UIDONLY")
        lines = await one.ok(b"UID FETCH 1:* (BODY.PEEK[])")
        assert lines[:-1] == await one_by_one(one, b"UID FETCH", b"(BODY.PEEK[])")
        assert lines[0].startswith(b"* 1 UIDFETCH (BODY[] {")


async def test_a_file_that_another_program_renamed_or_removed(tmp_path: Path) -> None:
    """Another program set a flag in the name, and removed a message, since the index was written."""
    async with filled(tmp_path) as (one, _, cur):
        for path in cur.iterdir():
            if ",U=5," in path.name:
                path.rename(path.with_name(path.name.replace(":2,S", ":2,FS")))
            elif ",U=6," in path.name:
                path.unlink()
        answer = await one.ask(b"FETCH 1:* (UID BODY.PEEK[])")
        numbers = [int(found[1]) for line in answer if (found := _NUMBER.match(line)) and b"EXPUNGE" not in line]
        assert numbers[: MESSAGES - 1] == [n for n in range(1, MESSAGES + 1) if n != 6]
        assert answer[-1].startswith(b"a NO [EXPUNGEISSUED]")


@pytest.mark.parametrize("planted", ["link", "fifo", "directory"])
async def test_what_is_planted_in_the_place_of_a_message_is_told_to_nobody(tmp_path: Path, planted: str) -> None:
    """security.md row 109."""
    async with filled(tmp_path) as (one, _, cur):
        (path,) = [path for path in cur.iterdir() if ",U=5," in path.name]
        path.unlink()
        (tmp_path / "secret").write_bytes(b"Subject: secret\r\n\r\nsecret\r\n")
        if planted == "link":
            path.symlink_to(tmp_path / "secret")
        elif planted == "fifo":
            os.mkfifo(path)
        else:
            path.mkdir()
        answer = await one.ask(b"FETCH 1:* (UID BODY.PEEK[])")
        assert not any(b"secret" in line for line in answer)
        assert sum(b" FETCH (UID " in line for line in answer) == MESSAGES - 1
        assert answer[-1].startswith(b"a NO [")


class Stranger(FileSystem):
    """One of the files is another user's."""

    def __init__(self) -> None:
        super().__init__()
        self._theirs: set[int] = set()
        self.about = "nothing"

    def open_to_read(self, directory: int, name: str) -> int:
        fd = super().open_to_read(directory, name)
        (self._theirs.add if self.about in name else self._theirs.discard)(fd)
        return fd

    def status(self, fd: int) -> os.stat_result:
        found = super().status(fd)
        if fd not in self._theirs:
            return found
        return os.stat_result([*found[:4], found.st_uid + 1, *found[5:]])


async def test_another_users_file_is_told_to_nobody(tmp_path: Path) -> None:
    fs = Stranger()
    async with filled(tmp_path, fs) as (one, _, _):
        fs.about = ",U=5,"
        answer = await one.ask(b"FETCH 1:* (UID BODY.PEEK[])")
        assert not any(line.startswith(b"* 5 FETCH") for line in answer)
        assert len(answer) == MESSAGES
        assert answer[-1].startswith(b"a NO [UNAVAILABLE]")


async def test_a_longer_file_than_the_index_knows_is_told_whole(tmp_path: Path, opened: list[int]) -> None:
    async with filled(tmp_path) as (one, _, cur):
        (path,) = [path for path in cur.iterdir() if ",U=5," in path.name]
        path.write_bytes(grown := mail(5) + b"x" * LARGEST_SMALL)
        lines = await one.ok(b"FETCH 1:* BODY.PEEK[]")
        assert lines[4] == b"* 5 FETCH (BODY[] {%d}\r\n%b)" % (len(grown), grown)
        assert 5 in opened


async def test_a_folder_that_is_deleted_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with filled(tmp_path) as (one, _, _):

        async def gone(self: FolderView, uids: object) -> list[bytes]:
            raise NotFoundError("no such folder", code="no-folder")

        monkeypatch.setattr(mailbox.FolderView, "small", gone)
        assert len(await one.ok(b"FETCH 1:* BODY.PEEK[]")) == MESSAGES + 1  # each was opened alone


async def test_who_reads_nothing_holds_one_run_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """h037: the store is asked for more once the reader has taken what is there; other sessions go on."""
    monkeypatch.setattr(small, "TOGETHER", LARGEST_SMALL)
    asked: list[int] = []
    original = FolderView.small

    async def noted(self: FolderView, uids: list[int]) -> object:
        asked.append(len(uids))
        return await original(self, uids)

    monkeypatch.setattr(mailbox.FolderView, "small", noted)
    async with real(tmp_path) as (world, _):
        greedy, polite = await world.login(), await world.login()
        text = b"Subject: x\r\n\r\n" + b"0123456789abcd\r\n" * 4000
        await greedy.ok(b"APPEND INBOX " + b" ".join([b"(\\Seen) {%d+}\r\n%b" % (len(text), text)] * 60))
        await greedy.ok(b"SELECT INBOX")
        for _ in range(4):
            await greedy.ok(b"COPY 1:* INBOX")
        monkeypatch.setattr(small, "LEAST", 1)
        await greedy.raw(b"g FETCH 1:* BODY.PEEK[]\r\n")
        async with asyncio.timeout(10):
            while not asked:
                await asyncio.sleep(0)
            await polite.ok(b"SELECT INBOX")
            await polite.ok(b"FETCH 1:* FLAGS")
        seen = 0
        while seen < len(asked):  # until the buffers between them are full
            seen = len(asked)
            for _ in range(50):
                await polite.ok(b"NOOP")
        assert seen < 960 / 2 / 2  # of two messages each
        assert b"".join(await greedy.until(b"g")).count(text) == 960


def test_runs_are_bounded() -> None:
    def stretches(*sizes: int) -> list[tuple[int, int]]:
        return list(small.runs([Message(Uid(n), Flag(0), size=size) for n, size in enumerate(sizes, 1)]))

    limit = LARGEST_SMALL
    assert stretches() == []
    assert stretches(1, 1) == [(0, 2)]
    assert stretches(1, limit, 1) == [(0, 3)]
    assert stretches(1, limit + 1, 1) == [(0, 1), (1, 2), (2, 3)]
    assert stretches(limit + 1, limit + 1) == [(0, 1), (1, 2)]
    assert limit * 3 == small.TOGETHER
    assert stretches(*[limit] * 4) == [(0, 3), (3, 4)]
    assert stretches(limit, limit, limit - 1, limit, 1) == [(0, 4), (4, 5)]
    assert stretches(*[1] * (2 * small.MOST + 1)) == [
        (0, small.MOST),
        (small.MOST, 2 * small.MOST),
        (2 * small.MOST, 2 * small.MOST + 1),
    ]
