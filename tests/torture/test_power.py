"""A smoke of `make torture ARGS=power`: two hundred crash states of one recorded day, and three mutants (fault 155)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture import mutants, power
from tests.torture.__main__ import room
from tests.torture.disk import Replay
from tests.torture.workload import Trace, record

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
SEED, ROUNDS, STATES = 20, 25, 200
ENOUGH_TO_CATCH = 400


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with room() as directory:
        yield directory


@pytest.fixture(scope="module")
def day(directory: Path) -> Trace:
    return asyncio.run(record(directory / "day", SEED, ROUNDS))


def test_the_recorded_disk_is_the_real_one(day: Trace, directory: Path) -> None:
    """With nothing lost, the model holds what the workload left."""
    replay = Replay(day.baseline, day.numbers, day.events)
    while replay.position < len(day.events):
        replay.step()
    replay.now.write_to(directory / "model")
    real, model = (_tree(directory / name) for name in ("day", "model"))
    assert real == model


def _tree(root: Path) -> dict[str, bytes]:
    plain = (path for path in root.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {str(path.relative_to(root)): path.read_bytes() for path in plain}


def test_f155_power_loss_anywhere_breaks_no_promise(day: Trace, directory: Path) -> None:
    report = power.explore_in(day, SEED, STATES, directory)
    assert report.violations == []
    assert report.states == STATES


@pytest.mark.parametrize("name", mutants.SMOKE)
def test_f155_a_missing_sync_is_caught(day: Trace, directory: Path, name: str) -> None:
    assert mutants.catch(day, mutants.MUTANTS[name], SEED, ENOUGH_TO_CATCH, directory) is not None
