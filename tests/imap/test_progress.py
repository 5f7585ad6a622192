"""INPROGRESS on the wire (RFC 9585): commands that take long say so, between two responses and never after the end."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from core.config import Imap
from imap import progress
from imap.responses import in_progress
from message import facts
from message.content import Content
from message.facts import Facts
from store import unscanned
from tests.fakes.imap_world import PATIENCE, Client, World, selected
from tests.fakes.memory_store import MemoryBox
from tests.imap.test_real_store import real

MAIL = b"Subject: one\r\n\r\nbody\r\n"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """What the store does while a test holds it up; signs of life come quickly."""
    monkeypatch.setattr(progress, "EVERY", 0.01)
    return asyncio.Event()


def hold(monkeypatch: pytest.MonkeyPatch, method: str, gate: asyncio.Event, *, after: int = 0) -> None:
    """`MemoryBox.method` waits for the gate, from its call number `after` on."""
    calls = 0
    original = getattr(MemoryBox, method)

    async def held(self: MemoryBox, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            await gate.wait()
        return await original(self, *arguments, **named)

    monkeypatch.setattr(MemoryBox, method, held)


async def signs(client: Client, count: int) -> list[bytes]:
    return [await client.line() for _ in range(count)]


def test_the_four_forms_of_the_rfc() -> None:
    assert in_progress("A001", None, None) == b'* OK [INPROGRESS ("A001" NIL NIL)] still working\r\n'
    assert in_progress("A001", 175, None) == b'* OK [INPROGRESS ("A001" 175 NIL)] still working\r\n'
    assert in_progress("A001", 175, 1000) == b'* OK [INPROGRESS ("A001" 175 1000)] still working\r\n'
    assert in_progress("A]1", 0, 1) == b"* OK [INPROGRESS (NIL 0 1)] still working\r\n"


def test_the_goal_is_never_reached_before_the_end() -> None:
    assert b"999 1000)" in in_progress("A", 1000, 1000)
    assert b"0 NIL)" in in_progress("A", 0, 0)


async def test_a_long_copy_gives_signs_of_life(gate: asyncio.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, "copy", gate)
    async with World() as world, selected(world, MAIL) as client:
        await client.raw(b"B02 COPY 1 Trash\r\n")
        assert await signs(client, 2) == [b'* OK [INPROGRESS ("B02" NIL NIL)] still working'] * 2
        gate.set()
        lines = await client.until(b"B02")
        assert lines[-1].startswith(b"B02 OK [COPYUID ")
        assert all(b"INPROGRESS" in line for line in lines[:-1])
        assert (await client.ok(b"NOOP")) == [b"a OK NOOP completed"]


async def test_a_long_search_counts_its_messages(gate: asyncio.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, "open", gate, after=2)
    async with World() as world, selected(world, *(MAIL,) * 5) as client:
        await client.raw(b"B03 SEARCH OR UID 1 HEADER X-Thing y\r\n")
        while (line := await client.line()) != b'* OK [INPROGRESS ("B03" 3 5)] still working':
            assert b'INPROGRESS ("B03" ' in line  # on a busy machine it has not come so far before the first
        gate.set()
        assert b"* SEARCH 1" in await client.until(b"B03")


async def test_a_fetch_that_waits_for_messages_that_are_not_read_yet_counts_them(
    gate: asyncio.Event, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The index is lost, and the disk is slow. RFC 9585 3: nobody has to ENABLE it, a capability tells of it."""
    monkeypatch.setattr(unscanned, "TURN", 1)
    slow = threading.Event()

    def gather(content: Content) -> Facts:
        if b"two" in content.head:
            slow.wait(PATIENCE)
        return facts.gather(content)

    async with real(tmp_path, gather=gather) as (world, _):
        client = await world.login()
        slow.set()
        for word in (b"one", b"two", b"six"):
            await client.append(b"INBOX", MAIL.replace(b"one", word))
        assert b" INPROGRESS" in (await client.ok(b"CAPABILITY"))[0]
        await client.ok(b"SELECT INBOX")
        slow.clear()
        for file in tmp_path.rglob("index*"):
            file.unlink()
        await client.raw(b"B05 FETCH 1:* (UID ENVELOPE)\r\n")
        try:
            told = [await client.line()]
            while b"INPROGRESS" not in told[-1] or len(told) < 4:
                told.append(await client.line())
        finally:
            slow.set()
        assert next(line for line in told if b"FETCH" in line).startswith(b'* 1 FETCH (UID 1 ENVELOPE (NIL "one"')
        assert told[-1] == b'* OK [INPROGRESS ("B05" 1 3)] still working'
        rest = await client.until(b"B05")
        assert [line[:10] for line in rest if b" ENVELOPE " in line] == [b"* 2 FETCH ", b"* 3 FETCH "]
        assert rest[-1] == b"B05 OK FETCH completed"


async def test_a_fetch_that_waits_to_set_seen_gives_signs_of_life(
    gate: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(monkeypatch, "store_flags", gate)
    async with World() as world, selected(world, MAIL) as client:
        await client.raw(b"B06 FETCH 1 BODY[]\r\n")
        assert await signs(client, 1) == [b'* OK [INPROGRESS ("B06" NIL NIL)] still working']
        gate.set()
        lines = await client.until(b"B06")
        assert lines[-2].startswith(b"* 1 FETCH (FLAGS (\\Seen) BODY[] {")
        assert all(b"INPROGRESS" in line for line in lines[:-2])


async def test_quick_commands_say_nothing() -> None:
    async with World() as world, selected(world, MAIL) as client:
        assert b" INPROGRESS" in (await client.ok(b"CAPABILITY"))[0]
        assert len(await client.ok(b"SEARCH ALL")) == 2


async def test_who_does_not_want_it_hears_nothing(gate: asyncio.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, "copy", gate)
    async with World(settings=Imap(without=["INPROGRESS"])) as world, selected(world, MAIL) as client:
        await client.raw(b"B04 COPY 1 Trash\r\n")
        other = await world.login()
        for _ in range(5):
            await other.ok(b"NOOP")
        await asyncio.sleep(progress.EVERY * 3)
        gate.set()
        (line,) = await client.until(b"B04")
        assert line.startswith(b"B04 OK [COPYUID ")
