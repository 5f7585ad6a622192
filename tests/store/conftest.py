"""One store per test in a directory of its own, in memory where the machine offers that: syncs cost nothing there, and
the tests of faults use a real disk."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from core.clock import ManualClock
from store.service import MaildirStore, initialise
from store.types import AccountRef

MAIRIE = AccountRef("acc1", "org1", "mairie.test", "maire")
VOISIN = AccountRef("acc2", "org1", "mairie.test", "secretariat")
AUTRE = AccountRef("acc3", "org2", "autre.test", "maire")
MEMORY = Path("/dev/shm")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def data() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="store", dir=MEMORY if MEMORY.is_dir() else None) as directory:
        initialise(Path(directory) / "data")
        yield Path(directory) / "data"


@pytest.fixture
async def store(data: Path, clock: ManualClock) -> AsyncIterator[MaildirStore]:
    store = MaildirStore(data, clock=clock)
    await store.open()
    yield store
    await store.close()
