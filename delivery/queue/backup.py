"""The queue's database copied for a backup, with nothing in it due: mail that waits in a restored queue may have left
since, so an operator looks and releases it (fault 167)."""

from __future__ import annotations

from pathlib import Path

from core.sqlite import backup
from delivery.queue.holds import Hold
from delivery.queue.schema import State, recipient

HOLD = (
    f"UPDATE {recipient.name} SET held = 1, holds = holds | {Hold.ADMINISTRATOR.value} "  # noqa: S608
    f"WHERE state IN ('{State.WAITING.value}', '{State.ACTIVE.value}')"
)


def copy(source: Path, target: Path) -> None:
    """Raises OSError, sqlite3.Error."""
    backup(source, target, HOLD)
