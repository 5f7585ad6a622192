"""`smtp.stream.PeerReader` by itself: how much waits unread, and what an end leaves to read."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from core.config import Limits
from smtp.stream import READ, Hangup, LineFault, PeerReader


class Tap(asyncio.Transport):
    """Knows whether it was told to pause."""

    def __init__(self) -> None:
        super().__init__()
        self._open = True

    def reads(self) -> bool:
        return self._open

    def pause_reading(self) -> None:
        assert self._open
        self._open = False

    def resume_reading(self) -> None:
        assert not self._open
        self._open = True


def reader() -> tuple[PeerReader, Tap]:
    tap = Tap()
    return PeerReader(cast(asyncio.Transport, tap), Limits(), lambda: None), tap


async def test_a_peer_that_is_not_read_waits_past_two_blocks() -> None:
    source, tap = reader()
    source.fed(b"x" * 2 * READ)
    assert tap.reads()
    source.fed(b"y")
    assert not tap.reads()
    await source.block(READ)
    assert not tap.reads()  # one octet more than a block is left
    assert await source.block(1) == b"x"
    assert tap.reads()
    assert await source.block(3 * READ) == b"x" * (READ - 1) + b"y"
    assert source.received == 2 * READ + 1


async def test_what_came_with_the_end_of_a_handshake_pauses_the_transport_above() -> None:
    source, below = reader()
    above = Tap()
    source.fed(b"x" * (2 * READ + 1))
    source.moved(above)
    assert below.reads()
    assert not above.reads()
    await source.block(3 * READ)
    assert above.reads()


async def test_a_reader_that_waits_gets_what_comes() -> None:
    source, _ = reader()
    waiting = asyncio.create_task(source.readuntil())
    await asyncio.sleep(0)
    source.fed(b"NOOP")
    await asyncio.sleep(0)
    source.fed(b"\r\nQUIT\r\n")
    assert await waiting == b"NOOP\r\n"
    assert await source.readuntil() == b"QUIT\r\n"
    assert not source.waiting


async def test_what_came_before_the_end_is_read_and_then_it_is_over() -> None:
    source, _ = reader()
    source.fed(b"NOOP\r\nQU")
    source.ended()
    assert await source.readuntil() == b"NOOP\r\n"
    for _ in range(2):  # half a line is none, however often it is asked for
        with pytest.raises(Hangup):
            await source.readuntil()
    assert await source.block(9) == b"QU"


async def test_a_reset_connection_leaves_nothing_to_read() -> None:
    source, _ = reader()
    source.fed(b"NOOP\r\n")
    source.ended(ConnectionResetError())
    with pytest.raises(Hangup):
        await source.readuntil()


async def test_a_reader_that_waits_learns_of_the_end() -> None:
    source, _ = reader()
    waiting = asyncio.create_task(source.block(9))
    await asyncio.sleep(0)
    source.ended()
    with pytest.raises(Hangup):
        await waiting


@pytest.mark.parametrize("octets", [Limits().auth_line, Limits().auth_line + 1])
async def test_so_many_octets_without_a_line_end_are_no_smtp(octets: int) -> None:
    source, _ = reader()
    waiting = asyncio.create_task(source.readuntil())
    source.fed(b"N" * octets)
    await asyncio.sleep(0)
    assert waiting.done() == (octets > Limits().auth_line)
    source.ended()
    with pytest.raises(LineFault if octets > Limits().auth_line else Hangup):
        await waiting
