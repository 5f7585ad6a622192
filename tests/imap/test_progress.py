"""INPROGRESS on the wire (RFC 9585): commands that take long say so, between two responses and never after the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.config import Imap
from imap import progress
from imap.responses import in_progress
from tests.fakes.imap_world import Client, World, selected
from tests.fakes.memory_store import MemoryBox

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
        assert await signs(client, 1) == [b'* OK [INPROGRESS ("B03" 3 5)] still working']
        gate.set()
        assert b"* SEARCH 1" in await client.until(b"B03")


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
