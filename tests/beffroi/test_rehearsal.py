"""A front that has served itself once: what it leaves behind (nothing) and what it may keep from starting (nobody)."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from beffroi.worker import rehearsal
from beffroi.worker.rehearsal import rehearsed
from imap.rehearsal import BEFORE, ROUND, ROUNDS, rehearse
from store.service import MaildirStore, initialise
from tests.fakes.imap_world import World


async def test_every_command_of_a_rehearsal_is_answered_with_ok(tmp_path: Path) -> None:
    initialise(tmp_path)
    store = MaildirStore(tmp_path, standard={})
    await store.open()
    try:
        async with World() as world:
            assert await rehearse(world.services, store) == len(BEFORE) + ROUNDS * len(ROUND)
    finally:
        await store.close()


async def test_a_rehearsal_takes_no_seat_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "rehearsal-0"
    (path / "domains").mkdir(parents=True)  # a killed one's
    (path / "domains" / "left").write_text("behind")
    async with World() as world:
        await rehearsed(world.services, path)
        assert not path.exists()
        assert list(tmp_path.iterdir()) == []
        assert world.server.connections == 0


async def test_a_rehearsal_that_fails_keeps_nobody_from_his_mail(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with World() as world:
        with capture_logs() as events:
            await rehearsed(world.services, tmp_path / "file" / "rehearsal-0")
    assert [(event["event"], event["reason"]) for event in events] == [("rehearsal-failed", "NotADirectoryError")]


async def test_a_rehearsal_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "PATIENCE", 0.0)
    async with World() as world:
        with capture_logs() as events:
            await rehearsed(world.services, tmp_path / "rehearsal-0")
    assert [(event["event"], event["reason"]) for event in events] == [("rehearsal-failed", "TimeoutError")]
    assert list(tmp_path.iterdir()) == []
