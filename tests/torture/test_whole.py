"""A few kills of what `make torture ARGS=suite` does by the hundred."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture import whole

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]


def test_f144_f145_f146_f147_f161_f165_the_suite_killed_under_load_keeps_every_promise(tmp_path: Path) -> None:
    """Letters of every way through it, bounces and forwards among them; a front, the queue's runner and the supervisor
    killed, the name service silent, the world outside closed. Read back over IMAP and from disk, from the sink and the
    queue."""
    told = whole.storm(8, 4, log=tmp_path / "storm.jsonl")
    assert told.account.violations == []
    assert {"front", "delivery", "supervisor"} <= set(told.killer.victims)
    assert told.account.copies > 20
