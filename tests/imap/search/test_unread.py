"""Searches of a mailbox whose messages are not read yet wait for those messages alone that file names do not decide."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from message import facts
from message.content import Content
from message.facts import Facts
from store.service import MaildirStore, initialise
from tests.fakes.imap_world import Client, World

COUNT = 6
MAIL = b"Subject: number %d\r\nFrom: a@b.test\r\nDate: Mon, 0%d Nov 2026 10:00:00 +0000\r\n\r\nbody\r\n"


@contextlib.asynccontextmanager
async def selected(path: Path, read: list[int]) -> AsyncIterator[Client]:
    """Of six messages the second is flagged, the third longer, the fourth of an earlier day; the index is lost.
    `read`: those that are read from then on."""

    def gather(content: Content) -> Facts:
        read.append(int(content.read(16, 17)))
        return facts.gather(content)

    initialise(path / "data")
    store = MaildirStore(path / "data", gather=gather)
    await store.open()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        client = await (await stack.enter_async_context(World(store=store))).login()
        for number in range(1, COUNT + 1):
            flags = b"(\\Flagged $Work) " if number == 2 else b""
            date = b'"01-Jan-2020 10:00:00 +0000" ' if number == 4 else b'"01-Nov-2026 10:00:00 +0000" '
            await client.append(b"INBOX", MAIL % (number, number) + b"x" * 100 * (number == 3), flags + date)
        for file in (path / "data").rglob("index*"):
            file.unlink()
        await client.ok(b"SELECT INBOX")
        read.clear()
        yield client


@pytest.mark.parametrize(
    ("criterion", "found", "wanted"),
    [
        (b"FLAGGED", [2], []),
        (b"NOT KEYWORD $Work", [1, 3, 4, 5, 6], []),
        (b"UID 3:* LARGER 100", [3], []),
        (b"OR BEFORE 1-Jan-2025 SMALLER 10", [4], []),
        (b"SAVEDSINCE 1-Jan-2025 MODSEQ 1", [1, 2, 3, 4, 5, 6], []),
        (b"FLAGGED FROM a@b", [2], [2]),
        (b"FROM a@b FLAGGED", [2], [2]),
        (b"BEFORE 1-Jan-2025 SENTSINCE 3-Nov-2026", [4], [4]),
        (b"SENTSINCE 3-Nov-2026 LARGER 100", [3], [3]),
        (b"OR FLAGGED SUBJECT number", [1, 2, 3, 4, 5, 6], [1, 3, 4, 5, 6]),
        (b"UNFLAGGED UID 5:6 TEXT body", [5, 6], []),  # which reads, and remembers nothing
        (b"FLAGGED HEADER List-Id x", [], [2]),
        (b"KEYWORD $Work EMAILID M0123", [], [2]),
    ],
)
async def test_only_what_names_do_not_decide_is_read(
    tmp_path: Path, criterion: bytes, found: list[int], wanted: list[int]
) -> None:
    read: list[int] = []
    async with selected(tmp_path, read) as client:
        lines = await client.ok(b"UID SEARCH " + criterion)
        told = next(line for line in lines if line.startswith(b"* SEARCH")).partition(b"(MODSEQ")[0]
        assert [int(word) for word in told.split()[2:]] == found
        assert sorted(read) == wanted


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (b"SORT (ARRIVAL) UTF-8 ALL", []),
        (b"SORT (REVERSE SIZE ARRIVAL) UTF-8 ALL", []),
        (b"SORT (ARRIVAL) UTF-8 FLAGGED", []),
        (b"SORT (DATE) UTF-8 UID 5", [5]),
        (b"THREAD REFERENCES UTF-8 UID 5", [5]),
        (b"SORT (SUBJECT) UTF-8 ALL", [1, 2, 3, 4, 5, 6]),
    ],
)
async def test_orders_too(tmp_path: Path, command: bytes, wanted: list[int]) -> None:
    read: list[int] = []
    async with selected(tmp_path, read) as client:
        await client.ok(command)
        assert sorted(read) == wanted
