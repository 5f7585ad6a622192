"""Leases of processes that are gone: free at once on this host, after their time elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from delivery.queue.claims import Candidate, Choice
from delivery.queue.owners import is_dead, new_owner
from tests.delivery.conftest import World
from tests.delivery.runner import put

SAY_OWNER = "from delivery.queue.owners import new_owner; print(new_owner(), flush=True); input()"


def owner_of_another() -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SAY_OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, process.stdout.readline().strip()


def test_only_a_process_that_is_certainly_gone_is_dead() -> None:
    process, owner = owner_of_another()
    assert len(owner) <= 64
    assert not is_dead(owner)
    assert not is_dead(new_owner())
    process.kill()
    process.wait()
    if process.stdin and process.stdout:
        process.stdin.close()
        process.stdout.close()
    assert is_dead(owner)
    host, boot, rest = owner.split("-", 2)
    elsewhere = host.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
    assert not is_dead(f"{elsewhere}-{boot}-{rest}"), "another host: nobody knows"
    assert not is_dead(f"{elsewhere}-{boot}-{rest}", one_machine=True), "another container of this machine, perhaps"
    for strange in ("", "abc", "a-b-c-d", "a-b-c-d-e", "0123456789abcdef"):
        assert not is_dead(strange, one_machine=True)


@pytest.mark.parametrize("one_machine", [False, True])
def test_no_process_outlives_the_start_of_its_machine(one_machine: bool) -> None:
    """On PostgreSQL it may be one of another machine, which lives."""
    host, boot, rest = new_owner().split("-", 2)
    former = boot.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
    for where in (host, "0123456789ab"):
        assert is_dead(f"{where}-{former}-{rest}", one_machine=one_machine) is one_machine


def test_a_number_given_again_is_another_process() -> None:
    host, boot, pid, start, rest = new_owner().split("-")
    assert int(pid) == os.getpid()
    assert is_dead(f"{host}-{boot}-{pid}-{int(start) + 1}-{rest}")


async def test_f146_what_a_dead_process_held_is_taken_over_at_once(world: World) -> None:
    """It waited for its lease: 60 s for a delivery worker, 600 s for a front's local recipients."""
    process, owner = owner_of_another()
    dying = world.another_queue()
    await dying.open()
    dying.owner = owner
    queue_id = await put(world, "x@far.test", "y@far.test")

    def everything(page: Sequence[Candidate]) -> Choice:
        return Choice((tuple(item.id for item in page),) if page else (), frozenset())

    [taken] = await dying.claim(everything)
    assert len(taken.recipients) == 2
    await world.queue.renew()
    assert await world.queue.next_due() is None, "a living process keeps what it holds"
    process.communicate(timeout=60)
    await world.queue.renew()
    [again] = await world.queue.claim(everything)
    assert again.message.queue_id == queue_id
    await dying.close()
