"""Sixteen writers and sixteen readers in four processes on one mailbox: counts, order of UIDs, octets accounted for.

`python -m tests.torture.crowd DATA NAME WRITERS READERS SECONDS` is one of the processes; it says what it wrote and
read, and `bad …` for what must not be.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from message.content import BytesContent
from store.service import MaildirStore, initialise
from store.store import Mailbox
from store.types import Placement, Uid
from tests.torture.checker import Told, examine
from tests.torture.kills import environment
from tests.torture.load import identity_of, mail, said, say
from tests.torture.workload import MAIRIE

PATIENCE = 120.0


async def write(store: MaildirStore, name: str, end: float) -> None:
    number = 0
    while time.monotonic() < end:
        identity, number = f"{name}.{number}", number + 1
        say("start", identity)
        async with await store.stage(b"", BytesContent(mail(identity)), first=MAIRIE) as staged:
            appended = await staged.deliver(MAIRIE, Placement(delivery_id=identity))
        said(MAIRIE, identity, appended)


async def read(store: MaildirStore, name: str, end: float) -> None:
    """Nothing is removed here, so what was seen stays, and what comes has higher UIDs."""
    mailbox = await (await store.account(MAIRIE)).mailbox("INBOX")
    dice, known, count = random.Random(name), [0], 0
    while time.monotonic() < end:
        snapshot = await mailbox.snapshot()
        uids = [int(uid) for uid in await mailbox.uids(snapshot)]
        if len(uids) != snapshot.messages or uids != sorted(set(uids)):
            say("bad", f"{snapshot.messages} messages, UIDs {uids[-5:]}")
        if uids[: len(known) - 1] != known[1:]:
            say("bad", "UIDs came or went below what was seen")
        known = [0, *uids]
        if uids:
            await _read_one(mailbox, dice.choice(uids))
            count += 1
        await asyncio.sleep(0.005)
    say("read", count)


async def _read_one(mailbox: Mailbox, uid: int) -> None:
    file = await mailbox.open(Uid(uid))
    try:
        data = await file.read(0, file.size + 1)
    finally:
        file.close()
    if data != mail(identity_of(data)):
        say("bad", f"UID {uid} is not whole")


async def one_process(data: Path, name: str, writers: int, readers: int, seconds: float) -> None:
    store = MaildirStore(data)
    await store.open()
    await store.account(MAIRIE)
    end = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for number in range(writers):
            group.create_task(write(store, f"{name}w{number}", end))
        for number in range(readers):
            group.create_task(read(store, f"{name}r{number}", end))
    await store.close()
    say("done")


@dataclass(slots=True)
class Counted:
    written: int = 0
    looked: int = 0
    violations: list[str] = field(default_factory=list)


def crowd(room: Path, seconds: float, *, processes: int = 4, each: int = 4) -> Counted:
    """`each` writers and readers in each of the processes."""
    data, told, counted = room / "crowd", Told(), Counted()
    initialise(data)
    with contextlib.ExitStack() as stack:
        outs = [stack.enter_context((room / f"crowd{number}").open("w")) for number in range(processes)]
        started = [_start(data, number, each, seconds, out) for number, out in enumerate(outs)]
        codes = [process.wait(seconds + PATIENCE) for process in started]
    counted.violations += [f"process {number} ended with {code}" for number, code in enumerate(codes) if code]
    lines = [line for number in range(processes) for line in (room / f"crowd{number}").read_text().splitlines()]
    told.hear(lines)
    counted.looked = sum(int(line.split()[1]) for line in lines if line.startswith("read "))
    counted.written = len(told.ok)
    counted.violations += [line for line in lines if line.startswith("bad ")]
    uids = [int(line.split()[3]) for line in lines if line.startswith("ok ")]
    if sorted(uids) != list(range(1, len(uids) + 1)):
        counted.violations.append("UIDs are not one for each message, without gaps")
    lost, _ = asyncio.run(examine(data, told, 0, {}))
    counted.violations += lost
    return counted


def _start(data: Path, number: int, each: int, seconds: float, out: TextIO) -> subprocess.Popen[str]:
    arguments = [str(data), f"p{number}", str(each), str(each), str(seconds)]
    command = [sys.executable, "-m", "tests.torture.crowd", *arguments]
    return subprocess.Popen(command, env=environment(), stdout=out, text=True)


if __name__ == "__main__":
    import core.log

    core.log.configure("error", stream=sys.stderr)
    _data, _name, _writers, _readers, _seconds = sys.argv[1:6]
    asyncio.run(one_process(Path(_data), _name, int(_writers), int(_readers), float(_seconds)))
