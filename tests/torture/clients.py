"""Many IMAP clients at one mailbox, over several server processes: each believes what it is told, and must be right.

Each client does random commands (seeded) and keeps a `Believer`. After every round all stop, look, and are compared
with each other and with the mailbox: the same messages under the same numbers with the same flags, none lost, mod-
sequences that only rise, and who comes back with QRESYNC knows exactly what is there, be it that he names what he
knows, brings match data, or lost his connection.

`python -m tests.torture.clients DATA` is one server process: it says its port and ends with its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from store.service import MaildirStore, initialise
from tests.fakes.imap_world import PASSWORD, Client, World
from tests.torture.kills import environment
from tests.torture.talker import KINDS, Shared, Talker

STEPS = 25  # commands of each client between two comparisons


@dataclass
class Counted:
    commands: int = 0
    rounds: int = 0
    violations: list[str] = field(default_factory=list)


async def compare(talkers: list[Talker], shared: Shared) -> list[str]:
    """All at rest."""
    for talker in talkers:
        await talker.settle()
    faults = [fault for talker in talkers for fault in talker.view.faults]
    truth = await talkers[0].truth() if talkers[0].view.messages else []
    for talker in talkers:
        if talker.belief() != truth:
            wrong = [pair for pair in zip(talker.belief(), truth, strict=False) if pair[0] != pair[1]]
            faults.append(f"{talker.view.name} ({talker.kind}) believes otherwise: {wrong[:3]}, {len(truth)} messages")
        for uid, subject in talker.view.subjects.items():
            if shared.subjects.setdefault(uid, subject) != subject:
                faults.append(f"UID {uid} is {subject!r} to {talker.view.name}, was {shared.subjects[uid]!r}")
    present = {uid for uid, _ in truth}
    if lost := shared.appended - present - shared.doomed:
        faults.append(f"lost: {sorted(lost)[:5]}")
    if strange := present - shared.appended:
        faults.append(f"nobody appended {sorted(strange)[:5]}")
    return faults


# --- processes -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def servers(data: Path, processes: int) -> Iterator[list[int]]:
    """Their ports."""
    command = [sys.executable, "-m", "tests.torture.clients", str(data)]
    started = [
        subprocess.Popen(
            command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for _ in range(processes)
    ]
    try:
        yield [int((each.stdout.readline() if each.stdout else b"") or b"0") for each in started]
    finally:
        for each in started:
            if each.stdin:
                each.stdin.close()
            each.wait(30)
            if each.stdout:
                each.stdout.close()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    client = Client(reader, writer)
    try:
        client.greeting = await client.line()
        await client.ok(f'LOGIN alice@mairie.test "{PASSWORD}"'.encode())
        yield client
    finally:
        await client.close()


async def _connected_anew(own: contextlib.AsyncExitStack, port: int) -> Client:
    await own.aclose()
    return await own.enter_async_context(connected(port))


async def run(ports: list[int], seed: int, seconds: float, each: int) -> Counted:
    counted, shared, end = Counted(), Shared(), time.monotonic() + seconds
    async with contextlib.AsyncExitStack() as stack:
        talkers = []
        for number in range(each * len(ports)):
            own = await stack.enter_async_context(contextlib.AsyncExitStack())
            again = partial(_connected_anew, own, ports[number % len(ports)])
            kind, dice = KINDS[number // len(ports) % len(KINDS)], random.Random(f"{seed}/{number}")
            talkers.append(Talker(await again(), again, f"client {number}", kind, dice, shared))
        for talker in talkers:
            await talker.begin()

        async def some(talker: Talker) -> None:
            for _ in range(STEPS):
                await talker.step()

        while not counted.rounds or time.monotonic() < end:
            await asyncio.gather(*map(some, talkers))
            counted.violations = await compare(talkers, shared)
            counted.rounds += 1
            if counted.violations:
                break
        counted.commands = sum(talker.commands for talker in talkers)
    return counted


def torture(room: Path, seed: int, seconds: float, processes: int = 2, each: int = 6) -> Counted:
    data = room / f"clients{seed}"
    initialise(data)
    with servers(data, processes) as ports:
        return asyncio.run(run(ports, seed, seconds, each))


async def _serve(data: Path) -> None:
    store = MaildirStore(data)
    await store.open()
    try:
        async with World(store=store) as world:
            print(world.plain_port, flush=True)
            await asyncio.to_thread(sys.stdin.read)
    finally:
        await store.close()


if __name__ == "__main__":
    import core.log

    core.log.configure("error", stream=sys.stderr)
    asyncio.run(_serve(Path(sys.argv[1])))
