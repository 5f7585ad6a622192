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

from core.clock import SystemClock
from delivery.queue.queue import Queue
from delivery.queue.rows import StoredMessage
from tests.delivery.crash_child import SIZE, CrashAgent, mail_of, make_scheduler

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]


def start(task: str, data: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "tests.delivery.crash_child", task, str(data)]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)


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
