"""A rebuild that reads messages in other processes comes to what one process comes to, also when they die."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.clock import ManualClock
from store import readers
from store.readers import Answer, Readers
from store.service import MaildirStore
from tests.store.helpers import MAIRIE, all_rows, cur, deliver, inbox_of

COUNT = 130


async def test_processes_read_ahead_and_may_die(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "LEAST", 10)
    monkeypatch.setattr(readers, "_TOGETHER", 10)
    answers: list[bool] = []
    real = Readers.read

    def killing(self: Readers, directory: str, names: Sequence[str]) -> Iterator[Answer]:
        for count, (name, prepared) in enumerate(real(self, directory, names)):
            answers.append(prepared is not None)
            if count == 60 and self._pool is not None:
                for pid in list(self._pool._processes):
                    os.kill(pid, signal.SIGKILL)
            yield name, prepared

    monkeypatch.setattr(Readers, "read", killing)
    store = MaildirStore(data, clock=clock)
    await store.open()
    for number in range(COUNT):
        await deliver(store, MAIRIE, number)
    inbox = await inbox_of(store)
    before = [(row.uid, row.email_id, row.envelope, row.internal_date) for row in await all_rows(inbox)]
    os.truncate(cur(data, MAIRIE)[5], 3)  # not what its name says: adopted as another message
    with capture_logs() as logs:
        assert await store.rebuild(None) == COUNT
    assert [entry["event"] for entry in logs].count("store-reader-died") == 1
    after = [(row.uid, row.email_id, row.envelope, row.internal_date) for row in await all_rows(inbox)]
    assert len(set(before) - set(after)) == 1
    assert len(after) == COUNT
    assert answers[:61] == [True] * 61
    assert len(answers) == COUNT
    await store.close()
