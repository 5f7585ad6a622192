"""What the crash tests kill: a process that enqueues, or a runner that delivers into a file. Speaks one id a line."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import core.log
from core.address import parse
from core.clock import SystemClock
from core.ids import RandomIds
from core.status import accepted
from delivery.agents import Agents
from delivery.next_hop import Routes
from delivery.outcome import Backoff, Rules
from delivery.queue import owners
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.reporter import Reporter
from delivery.scheduler import Means, Scheduler
from delivery.types import Job, Result, ResultKind
from message.content import BytesContent
from tests.fakes.delivery_world import FakeDirectory

SIZE = 300_000  # more than one row of bytes


def mail_of(queue_id: str) -> bytes:
    """Bytes that only this message has."""
    head = f"From: a@one.test\r\nMessage-ID: <{queue_id}@one.test>\r\n\r\n".encode()
    line = f"{queue_id}\r\n".encode()
    return (head + line * (SIZE // len(line) + 1))[:SIZE]


class CrashAgent:
    """Delivers into a file that survives us: the world that has said 250."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def deliver(self, job: Job) -> list[Result]:
        with self._file.open("a") as out:
            out.write(job.queue_id + "\n")
            out.flush()
            os.fsync(out.fileno())
        say(job.queue_id)
        return [Result(item.id, ResultKind.DELIVERED, accepted(), "mx") for item in job.recipients]


def make_scheduler(queue: Queue, agent: CrashAgent, data: Path) -> Scheduler:
    directory: Any = FakeDirectory()
    clock = SystemClock()
    rules = Rules(Backoff((60,), 86400, 3600), now=clock.now, chance=lambda: 0.5)
    reporter = Reporter(queue, directory, hostname="mx.test", lifetime=86400, clock=clock, ids=RandomIds())
    means = Means(Agents(agent, agent), rules, reporter, Routes({}))
    return Scheduler(queue, means, run_dir=data / "run", clock=clock, poll=0.1)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def enqueue(queue: Queue) -> None:
    ids = RandomIds()

    async def one() -> None:
        while True:
            queue_id = ids.queue_id()
            to = (NewRecipient(parse("b@two.test")),)
            await queue.enqueue(NewMessage(queue_id, None, BytesContent(mail_of(queue_id)), to))
            say(queue_id)

    await asyncio.gather(*(one() for _ in range(4)))


class Tagged(CrashAgent):
    """Says who delivered, and takes its time, so that a kill finds work in hand."""

    def __init__(self, file: Path, name: str) -> None:
        super().__init__(file)
        self._name = name

    async def deliver(self, job: Job) -> list[Result]:
        results = await super().deliver(replace(job, queue_id=f"{job.queue_id}/{self._name}"))
        await asyncio.sleep(0.05)
        return results


async def share(name: str, data: Path, url: str) -> None:
    """One of several runners of a queue on PostgreSQL, each on a machine of its own as far as the others know. It says
    its name and begins when it is told to: one alone has delivered everything before another has started."""
    core.log.configure("error", stream=sys.stderr)
    owners._host = lambda: name
    queue = Queue(data / "none", data / name, clock=SystemClock(), lease=2.0, url=url)
    await queue.open()
    say(name)
    await asyncio.to_thread(sys.stdin.readline)
    await make_scheduler(queue, Tagged(data / "delivered", name), data / name).run()


async def main(task: str, data: Path, *more: str) -> None:
    if task == "share":
        await share(more[0], data, more[1])
        return
    queue = Queue(data / "queue" / "queue.db", data / "run", clock=SystemClock(), lease=1.0)
    await queue.open()
    if task == "enqueue":
        await enqueue(queue)
    else:
        core.log.configure("error", stream=sys.stderr)
        await make_scheduler(queue, CrashAgent(data / "delivered"), data).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
