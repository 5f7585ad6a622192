"""One store per test in a directory of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.clock import ManualClock
from store.service import MaildirStore, initialise
from store.types import AccountRef

MAIRIE = AccountRef("acc1", "org1", "mairie.test", "maire")
VOISIN = AccountRef("acc2", "org1", "mairie.test", "secretariat")
AUTRE = AccountRef("acc3", "org2", "autre.test", "maire")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    initialise(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
async def store(data: Path, clock: ManualClock) -> AsyncIterator[MaildirStore]:
    store = MaildirStore(data, clock=clock)
    await store.open()
    yield store
    await store.close()
