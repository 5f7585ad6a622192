"""A long queue: 100,000 messages at a restart, half of them for one dead domain, and what that costs the others.

The whole runner on its real database file; the agent is a stand-in, because servers would be what is measured. Dead
means: each attempt takes `SILENCE` seconds and reaches nobody. The others take `TALK` seconds.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from core import log
from core.address import parse
from core.clock import SystemClock
from core.status import accepted, deferred
from delivery.agents import Agents
from delivery.next_hop import Routes
from delivery.outcome import Backoff, Rules
from delivery.queue import entering
from delivery.queue.leases import NONE
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.reporter import Reporter
from delivery.scheduler import Means, Scheduler
from delivery.types import Job, Result, ResultKind
from message.content import BytesContent
from tests.fakes.delivery_world import CountingIds, FakeDirectory

COUNT = 100_000
DOMAINS = 500
SILENCE, TALK = 0.5, 0.01
PROBES = 200
MAIL = b"From: maire@ville.test\r\nTo: x@far.test\r\nSubject: Essai\r\n\r\n" + b"Texte du registre.\r\n" * 200
UNREACHED = deferred("no host answers", "unreachable", "4.4.1")


class Agent:
    """Notes when each queue id was delivered."""

    def __init__(self) -> None:
        self.done: dict[str, float] = {}
        self.tried = 0

    async def deliver(self, job: Job) -> list[Result]:
        if job.next_hop == "dead.test":
            self.tried += 1
            await asyncio.sleep(SILENCE)
            return [Result(item.id, ResultKind.DEFERRED, UNREACHED) for item in job.recipients]
        await asyncio.sleep(TALK)
        self.done[job.queue_id] = time.monotonic()
        return [Result(item.id, ResultKind.DELIVERED, accepted()) for item in job.recipients]


def resident() -> int:
    """MiB of this process now."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) // 1024


async def fill(queue: Queue, dead: int, well: int) -> None:
    now = time.time()
    wanted = ["x@dead.test"] * dead + [f"x@d{n % DOMAINS}.test" for n in range(well)]
    random.Random(1).shuffle(wanted)
    for start in range(0, len(wanted), 1000):

        def put(connection: Any, first: int = start) -> None:
            for number, text in enumerate(wanted[first : first + 1000], first):
                to = (NewRecipient(parse(text), f"o{number % 40}"),)
                new = NewMessage(f"b{number:07}", parse("maire@ville.test"), BytesContent(MAIL), to)
                entering.enqueue(connection, new, now=now, lease=NONE)

        await queue._database.write(put)


@asynccontextmanager
async def runner(data: Path, agent: Agent) -> Any:
    clock, directory, ids = SystemClock(), FakeDirectory(), CountingIds()
    queue = Queue(data / "queue.db", data / "run", clock=clock)
    await queue.open()
    rules = Rules(Backoff((300, 900), 432_000, 14_400), now=clock.now, chance=random.random)
    reporter = Reporter(queue, directory, hostname="mx.test", lifetime=1.0, clock=clock, ids=ids)  # type: ignore[arg-type]  # fakes
    means = Means(Agents(agent, agent), rules, reporter, Routes({}))
    scheduler = Scheduler(queue, means, run_dir=data / "run", clock=clock)
    task = asyncio.create_task(scheduler.run())
    try:
        yield queue
    finally:
        scheduler.stop()
        await task
        await queue.close()


async def delays(queue: Queue, agent: Agent, name: str) -> list[float]:
    """Seconds from entering the queue to delivery, for fresh mail to domains nobody else writes to."""
    entered: dict[str, float] = {}
    for number in range(PROBES):
        queue_id = f"{name}{number}"
        to = (NewRecipient(parse(f"x@fresh{number}.test"), f"fresh{number % 20}"),)
        entered[queue_id] = time.monotonic()
        await queue.enqueue(NewMessage(queue_id, parse("maire@ville.test"), BytesContent(MAIL), to))
        await asyncio.sleep(0.02)
    async with asyncio.timeout(60):
        while not entered.keys() <= agent.done.keys():
            await asyncio.sleep(0.05)
    return sorted(agent.done[key] - at for key, at in entered.items())


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="beffroi-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)


async def _run() -> list[Figure]:
    with open(os.devnull, "w") as nowhere:  # log lines are made as the suite makes them, and thrown away
        log.configure("info", stream=nowhere)
        return await _measured()


async def _measured() -> list[Figure]:
    with folder() as data:
        async with runner(data, Agent()) as queue:  # makes the file
            agent = Agent()
        async with runner(data, agent) as queue:
            calm = await delays(queue, agent, "calm")
        filler = Queue(data / "queue.db", data / "run", clock=SystemClock())
        await filler.open()
        begun = time.monotonic()
        await fill(filler, COUNT // 2, COUNT // 2)
        filled = time.monotonic() - begun
        await filler.close()
        before, peak = resident(), 0
        agent, begun = Agent(), time.monotonic()
        async with runner(data, agent) as queue:
            while not agent.done:
                await asyncio.sleep(0.01)
            first = time.monotonic() - begun
            while len(agent.done) < 2000:
                await asyncio.sleep(0.05)
                peak = max(peak, resident())
            rate = len(agent.done) / (time.monotonic() - begun)
            await queue._database.write(_settle_the_living)
            busy = await delays(queue, agent, "busy")
            peak = max(peak, resident())
            stopping = time.monotonic()
        stopped = time.monotonic() - stopping
    calm99, busy99 = calm[int(PROBES * 0.99)], busy[int(PROBES * 0.99)]
    return [
        Figure("queue: messages put into the queue", COUNT / filled, "/s"),
        Figure("queue: first delivery after a start with 100,000", first, "s", target="<= 60", met=first <= 60),
        Figure("queue: deliveries while 50,000 for one dead domain wait", rate, "/s"),
        Figure("queue: memory that the long queue adds, at most", peak - before, "MiB", target="<= 100",
               met=peak - before <= 100),
        Figure("queue: attempts at the dead domain meanwhile", agent.tried, ""),
        Figure("queue: delay of fresh mail, p99, nothing else queued", calm99 * 1000, "ms"),
        Figure("queue: the same beside 50,000 for a dead domain, p99", busy99 * 1000, "ms", target="<= 2 s",
               met=busy99 <= 2.0),
        Figure("queue: clean stop", stopped, "s"),
    ]  # fmt: skip


def _settle_the_living(connection: Any) -> None:
    """The rest of the living backlog goes later: what is left to look past is the dead domain's."""
    from sqlalchemy import update

    from delivery.queue.schema import recipient

    later = time.time() + 3000
    connection.execute(update(recipient).where(recipient.c.domain != "dead.test").values(next_attempt=later))
    connection.execute(update(recipient).where(recipient.c.domain == "dead.test").values(next_attempt=time.time() - 1))


def run() -> Iterator[Figure]:
    yield from asyncio.run(_run())
