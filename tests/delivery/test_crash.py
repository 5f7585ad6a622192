"""kill -9 at any moment: what was acknowledged is there, whole and once; what leaves leaves at most twice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from core.address import parse
from core.clock import SystemClock
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient, StoredMessage
from message.content import BytesContent
from tests.delivery.crash_child import SIZE, CrashAgent, mail_of, make_scheduler
from tests.fakes.postgres import running as postgres

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]


def start(task: str, data: Path, *more: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "tests.delivery.crash_child", task, str(data), *more]
    return subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_until_killed(task: str, data: Path, lines: int) -> list[str]:
    """What the child said before it was killed, after `lines` lines, without warning."""
    with start(task, data) as child:
        assert child.stdout is not None
        said = [child.stdout.readline().strip() for _ in range(lines)]
        os.kill(child.pid, signal.SIGKILL)
        return said + child.stdout.read().split()


async def test_f144_what_was_acknowledged_survives_a_kill_whole_and_once(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    for lines in (1, 33):
        acknowledged.update(run_until_killed("enqueue", tmp_path, lines))
    queue = Queue(tmp_path / "queue" / "queue.db", tmp_path / "run", clock=SystemClock())
    await queue.open()
    found = {item.queue_id for item in await queue.administration.list(None)}
    assert acknowledged <= found
    for queue_id in sorted(found):
        stored = StoredMessage(queue_id, None, "", SIZE, 0, 0.0, False, "7BIT", "", "", False, b"")
        content = await queue.content(stored)
        assert await asyncio.to_thread(content.read, 0, content.size) == mail_of(queue_id)
    await queue.close()


async def test_f146_a_runner_killed_while_it_delivers_loses_nothing_and_doubles_at_most_once(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue" / "queue.db", tmp_path / "run", clock=SystemClock(), lease=1.0)
    run_until_killed("enqueue", tmp_path, 40)
    await queue.open()
    expected = {item.queue_id for item in await queue.administration.list(None)}
    kills = 1
    for _ in range(kills):
        run_until_killed("deliver", tmp_path, 10)
    agent = CrashAgent(tmp_path / "delivered")
    scheduler = make_scheduler(queue, agent, tmp_path)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(scheduler.run())
        async with asyncio.timeout(30):
            while await queue.administration.list(None):
                await asyncio.sleep(0.05)
        scheduler.stop()
        await task
    await queue.close()
    delivered = Counter((tmp_path / "delivered").read_text().split())
    assert set(delivered) == expected
    assert max(delivered.values()) <= 1 + kills
    assert sum(delivered.values()) - len(delivered) <= kills * 200


async def test_f146_f158_of_two_runners_on_one_postgresql_either_may_be_killed_and_the_other_doubles_nothing_else(
    tmp_path: Path,
) -> None:
    """Each is on a machine of its own for the other: what the dead one had in hand waits for its lease, then comes
    again; what it had written down, or never had, comes once."""
    with postgres() as server:
        url = await asyncio.to_thread(server.create, "shared")
        queue = Queue(tmp_path / "none", tmp_path / "run", clock=SystemClock(), url=url)
        await queue.open()
        try:
            expected = {f"m{number:04}" for number in range(300)}
            for queue_id in sorted(expected):
                to = (NewRecipient(parse(f"x@d{int(queue_id[1:]) % 40}.test")),)
                await queue.enqueue(NewMessage(queue_id, None, BytesContent(b"A: b\r\n\r\n"), to))
            with start("share", tmp_path, "one", url) as one, start("share", tmp_path, "two", url) as two:
                await asyncio.to_thread(_begin, one, two)
                told = [await asyncio.to_thread(_kill, one)]
                with start("share", tmp_path, "three", url) as three:
                    await asyncio.to_thread(_begin, three)
                    told.append(await asyncio.to_thread(_kill, two))
                    async with asyncio.timeout(120):
                        while await queue.administration.list(None):
                            await asyncio.sleep(0.2)
                    three.kill()
        finally:
            await queue.close()
    delivered: dict[str, list[str]] = {queue_id: [] for queue_id in expected}
    for line in (tmp_path / "delivered").read_text().split():
        queue_id, _, name = line.partition("/")
        delivered[queue_id].append(name)
    assert not [queue_id for queue_id, names in delivered.items() if not names], "lost"
    assert told == [40, 40], "each was at work when it was killed"
    for queue_id, names in delivered.items():
        assert set(names[:-1]) <= {"one", "two"}, (queue_id, names)  # whoever was not the last was killed
        assert len(set(names)) == len(names), (queue_id, names)  # and nobody delivered it twice himself
    assert {name for names in delivered.values() for name in names} == {"one", "two", "three"}


def _begin(*children: subprocess.Popen[str]) -> None:
    """All at once, when each is ready."""
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline(), "it did not start"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()


def _kill(child: subprocess.Popen[str]) -> int:
    """-9 after some deliveries; how many it had told."""
    assert child.stdout is not None
    told = sum(bool(child.stdout.readline()) for _ in range(40))
    child.kill()
    return told
