"""What a message keeps in memory while its peer stands still."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from core.clock import ManualClock
from core.status import Status
from smtp.data import ChunkDecoder, DataDecoder
from smtp.guards import RateMeter
from smtp.intake import BLOCK, Intake

LINES = (b"x" * 76 + b"\r\n") * 3000


class Peer:
    """Sends one block, then stands still."""

    def __init__(self) -> None:
        self.stalled = asyncio.Event()
        self._never = asyncio.Event()
        self._sent = False

    def acknowledge(self) -> None:
        pass

    async def block(self, size: int) -> bytes:
        if self._sent:
            self.stalled.set()
            await self._never.wait()
        self._sent = True
        return bytes(bytearray(LINES))  # nobody else has it


class Kept:
    def __init__(self) -> None:
        self.blocks: list[bytes] = []

    async def feed(self, block: bytes) -> None:
        self.blocks.append(block)


@pytest.mark.parametrize(
    ("decoder", "arrive"),
    [
        (DataDecoder(998), lambda intake: intake.run()),
        (ChunkDecoder(998), lambda intake: intake.chunk(2 * BLOCK, last=True)),
    ],
)
async def test_p7_who_stands_still_in_a_message_keeps_no_block_of_it_in_memory(
    decoder: Any, arrive: Callable[[Any], Any]
) -> None:
    """A thousand who do would keep a thousand times 256 KiB for five minutes."""
    peer, kept = Peer(), Kept()
    reader: Any = peer
    reception: Any = kept
    intake: Intake[Any] = Intake(
        reader, reception, decoder, RateMeter(0), ManualClock(), 10 * BLOCK, wait=lambda: None, rest=lambda: None
    )
    task: asyncio.Task[Status | None] = asyncio.create_task(arrive(intake))
    await peer.stalled.wait()
    references = sys.getrefcount(kept.blocks[0])
    assert references == 2  # the list, and the argument of that call
    assert len(kept.blocks[0]) > len(LINES) - 3
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
