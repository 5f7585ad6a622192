"""FLAGS of whole stretches of a mailbox (`imap.commands.fetch.stretches`): what is told is what every message tells.

On the real store. `alone` asks for FLAGS, with or without the UID; `row_by_row` asks for something more, which is
answered message by message.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from imap.commands.fetch import stretches
from store.mailbox import FolderView
from store.store import UidRanges
from store.types import Column, Message
from tests.fakes.imap_world import Client
from tests.imap.test_real_store import MAIL, real

MESSAGES = 3 * stretches.LEAST
_DATE = re.compile(rb" INTERNALDATE \"[^\"]*\"")


@contextlib.asynccontextmanager
async def two_clients(path: Path) -> AsyncIterator[tuple[Client, Client]]:
    """Both have INBOX with `MESSAGES` selected; nothing is recent."""
    async with real(path) as (world, _):
        one, two = await world.login(), await world.login()
        literal = b"(\\Seen) {%d+}\r\n%b" % (len(MAIL), MAIL)
        await one.ok(b"APPEND INBOX " + b" ".join([literal] * MESSAGES))
        for client in (one, one, two):
            await client.ok(b"SELECT INBOX")
        yield one, two


async def alone(client: Client, command: bytes = b"FETCH 1:*") -> list[bytes]:
    return await client.ok(command + b" FLAGS")


async def row_by_row(client: Client, command: bytes = b"FETCH 1:*") -> list[bytes]:
    return [_DATE.sub(b"", line) for line in await client.ok(command + b" (FLAGS INTERNALDATE)")]


async def agree(client: Client) -> list[bytes]:
    """Both ways tell the same, by number and by UID; the lines."""
    by_uid = await alone(client, b"UID FETCH 1:*")
    assert by_uid == await row_by_row(client, b"UID FETCH 1:*")
    assert by_uid != await alone(client)
    assert await alone(client) == await row_by_row(client)
    return by_uid


async def test_all_alike(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (one, _):
        lines = await agree(one)
        assert lines[:-1] == [b"* %d FETCH (UID %d FLAGS (\\Seen))" % (at, at) for at in range(1, MESSAGES + 1)]


async def test_whatever_flags_they_have(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (one, _):
        for step, flag in enumerate((b"\\Answered", b"\\Flagged", b"\\Deleted", b"\\Seen", b"\\Draft"), 2):
            numbers = b",".join(b"%d" % number for number in range(step, MESSAGES, step))
            await one.ok(b"STORE %b %bFLAGS.SILENT %b" % (numbers, b"-" if flag == b"\\Seen" else b"+", flag))
        assert len({line.partition(b"FLAGS")[2] for line in await agree(one)}) > 8


async def test_keywords_that_all_have_and_those_that_some_have(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (one, _):
        await one.ok(b"STORE 1:* +FLAGS.SILENT (NonJunk $Label1)")
        assert all(b"NonJunk $Label1" in line for line in (await agree(one))[:-1])
        await one.ok(b"STORE 7 +FLAGS.SILENT $Forwarded")
        assert sum(b"$Forwarded" in line for line in await agree(one)) == 1


async def test_where_messages_are_missing(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (one, two):
        await one.ok(b"STORE 3,5,40 +FLAGS.SILENT \\Deleted")
        await one.ok(b"EXPUNGE")
        lines = await agree(one)
        assert lines[2] == b"* 3 FETCH (UID 4 FLAGS (\\Seen))"
        # `two` was not told: these numbers have no answer, and it looks again (RFC 2180 4.1.2)
        answer = await two.ask(b"FETCH 1:* FLAGS")
        assert [int(line.split()[1]) for line in answer[:-1]] == [*sorted({*range(1, MESSAGES + 1)} - {3, 5, 40})]
        assert b"NO [EXPUNGEISSUED]" in answer[-1]
        await two.ok(b"NOOP")
        assert await agree(two) == lines


async def test_flags_that_another_session_changed_are_told_once(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (one, two):
        await one.ok(b"STORE 9 +FLAGS.SILENT \\Flagged")
        told = [line for line in await alone(two) if line.startswith(b"* 9 ")]
        assert told == [b"* 9 FETCH (FLAGS (\\Flagged \\Seen))"]
        assert len(await two.ok(b"NOOP")) == 1


async def test_a_keyword_that_another_session_made_is_announced(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (one, two):
        await one.ok(b"STORE 9 +FLAGS.SILENT (\\Flagged $New)")
        lines = await alone(two)
        assert b"* 9 FETCH (FLAGS (\\Flagged \\Seen $New))" in lines
        assert [line for line in lines if line.startswith(b"* FLAGS")]  # the new keyword is announced
        assert len(await two.ok(b"NOOP")) == 1
        await agree(two)


async def test_recent_ones_among_others(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (one, _):
        await one.append(b"INBOX", MAIL)
        await one.ok(b"NOOP")
        assert sum(b"\\Recent" in line for line in await agree(one)) == 1


async def test_all_recent(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, _):
        one = await world.login()
        literal = b"{%d+}\r\n%b" % (len(MAIL), MAIL)
        await one.ok(b"APPEND INBOX " + b" ".join([literal] * MESSAGES))
        await one.ok(b"SELECT INBOX")
        assert sum(b"(\\Recent)" in line for line in await agree(one)) == MESSAGES


async def test_uid_only(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (one, _):
        await one.ok(b"ENABLE UIDONLY")
        lines = await alone(one, b"UID FETCH 1:*")
        assert lines == await row_by_row(one, b"UID FETCH 1:*")
        assert lines[0] == b"* 1 UIDFETCH (FLAGS (\\Seen))"


async def test_no_row_is_made_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_clients(tmp_path) as (one, _):
        rows = FolderView.rows

        def counted(
            self: FolderView, ranges: UidRanges, columns: Column, *, blank: bool = False
        ) -> AsyncIterator[Sequence[Message]]:
            assert ranges == [], "row by row"
            return rows(self, ranges, columns, blank=blank)

        monkeypatch.setattr(FolderView, "rows", counted)
        assert len(await alone(one)) == MESSAGES + 1
        few = await alone(one, b"FETCH 1:%d" % stretches.LEAST)
        assert len(few) == stretches.LEAST + 1


@pytest.mark.parametrize("most", [stretches.LEAST, stretches.LEAST + 1])
async def test_several_stretches_join_to_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(stretches, "MOST", most)
    async with two_clients(tmp_path) as (one, _):
        await one.ok(b"STORE 33 +FLAGS.SILENT \\Flagged")
        assert await alone(one, b"FETCH 2:40,42,50:*") == await row_by_row(one, b"FETCH 2:40,42,50:*")
        await agree(one)
