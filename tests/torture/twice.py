"""A second power loss, while whoever came after the first (or after a kill) recovers, reads, and accepts mail again.

The recovery of a crash state is recorded as a day is, and cut off in front of any of its events. What it had told and
acknowledged by then must still be true for the one that comes third.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.clock import ManualClock
from message.content import BytesContent
from store.service import MaildirStore
from store.types import AccountRef, Placement
from tests.torture.disk import SURVIVALS, Disk, Pending, Replay, apply, inodes
from tests.torture.judge import Found, look
from tests.torture.recorder import Mark, RecordingFileSystem, RecordingVfs, SyncBegin, Tape
from tests.torture.workload import Delivery


@dataclass(slots=True)
class Between:
    """What was told and acknowledged between the two faults."""

    told: dict[AccountRef, Found] = field(default_factory=dict)
    acked: list[Delivery] = field(default_factory=list)
    survival: str = ""
    position: int = 0


@dataclass(frozen=True, slots=True)
class First:
    """The state that the first fault left, written out at `data`; after a kill much of it is not durable."""

    data: Path
    disk: Disk
    durable: Disk
    pending: Pending
    boot: str
    clock: float


async def interrupted(first: First, ref: AccountRef, deliveries: Sequence[Delivery], dice: random.Random) -> Between:
    """Recover `ref` in that tree, and replace the tree by what another power loss leaves of it."""
    numbers, data = inodes(first.disk, first.data), first.data
    tape = Tape()
    await _recovered(first, ref, deliveries, tape)
    where = [n for n, event in enumerate(tape.events) if not isinstance(event, SyncBegin | Mark)]
    between = Between(position=dice.choice(where) if where else 0, survival=dice.choice(list(SURVIVALS)))
    replay = Replay(first.disk, numbers, tape.events)
    replay.not_durable(first.durable, first.pending)
    while replay.position < between.position:
        event = tape.events[replay.position]
        replay.step()
        if isinstance(event, Mark) and event.what == "told":
            between.told[ref] = event.value
        elif isinstance(event, Mark):
            between.acked.append(event.value)
    disk = replay.durable.copy()
    pending: Pending = [change for _, change in replay.pending]
    for change in SURVIVALS[between.survival](dice, pending):
        apply(disk, change)
    shutil.rmtree(data)
    disk.write_to(data)
    return between


async def _recovered(first: First, ref: AccountRef, deliveries: Sequence[Delivery], tape: Tape) -> None:
    vfs, fs = RecordingVfs(tape), RecordingFileSystem(tape)
    store = MaildirStore(first.data, clock=ManualClock(first.clock + 5), fs=fs, boot=first.boot)
    try:
        await store.open()
        try:
            tape.mark("told", await look(await store.account(ref)))
            for item in deliveries:
                async with await store.stage(b"", BytesContent(item.data), first=item.ref) as staged:
                    await staged.deliver(item.ref, Placement(delivery_id=item.delivery_id))
                tape.mark("acked", item)
        finally:
            await store.close()
    finally:
        vfs.unregister()
