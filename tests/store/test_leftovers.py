"""What a rebuild or a delivery that was killed leaves in tmp/ is taken away, what lives there is not."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from core.clock import ManualClock
from store import beside, leftovers
from store.service import MaildirStore
from tests.store.helpers import MAIRIE, deliver
from tests.store.picture import opened


async def reopened(data: Path, clock: ManualClock, store: MaildirStore) -> MaildirStore:
    await store.close()
    return await opened(data, clock)


async def rebuilt(_data: Path, _clock: ManualClock, store: MaildirStore) -> MaildirStore:
    await store.rebuild(None)
    return store


@pytest.mark.parametrize("when", [reopened, rebuilt])
async def test_f144_what_a_killed_rebuild_left_is_taken_away(
    data: Path, clock: ManualClock, when: Callable[[Path, ManualClock, MaildirStore], Awaitable[MaildirStore]]
) -> None:
    """Cause: a recovery that looked at everything took it away, after a day, and most accounts never meet one: an index
    of many megabytes lay there for ever."""
    store = await opened(data, clock)
    await deliver(store, MAIRIE, 1)
    handle = (await store._open_accounts.use(MAIRIE)).handle
    tmp = data / "domains/mairie.test/maire/tmp"
    now = clock.now()

    def aged(name: str, seconds: float) -> None:
        os.utime(tmp / name, (now - seconds, now - seconds))

    dead, living = beside.build(handle), beside.build(handle)
    for name in (f"{dead}-wal", f"{living}-wal", "message", "old"):
        (tmp / name).write_bytes(b"x")
    for name, seconds in (
        (dead, leftovers.STALE_INDEX + 60),
        (f"{dead}-wal", leftovers.STALE_INDEX + 1),
        (living, leftovers.STALE_INDEX + 60),
        (f"{living}-wal", leftovers.STALE_INDEX - 60),  # it was written to just now
        ("message", leftovers.STALE - 60),
        ("old", leftovers.STALE + 1),
    ):
        aged(name, seconds)
    store = await when(data, clock, store)
    await store.account(MAIRIE)
    assert {path.name for path in tmp.iterdir()} == {living, f"{living}-wal", "message"}
    await store.close()
