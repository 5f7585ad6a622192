"""The queue's database copied for a backup, with nothing in it due: mail that waits in a restored queue may have left
since, so an operator looks and releases it (fault 167)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from core.sqlite import backup
from delivery.queue.holds import Hold
from delivery.queue.schema import State, recipient

_REASON = f", holds = holds | {Hold.ADMINISTRATOR.value}"
_WAITS = f"state IN ('{State.WAITING.value}', '{State.ACTIVE.value}')"


def copy(source: Path, target: Path) -> None:
    """Raises OSError, sqlite3.Error."""
    backup(source, target, _hold)


def _hold(copy: sqlite3.Connection) -> None:
    """A queue that this program has not opened yet may be of a version that knew no reasons: a backup before it is
    started is the one wanted most. The upgrade gives what is held its reason."""
    columns = {row[1] for row in copy.execute(f"PRAGMA table_info({recipient.name})")}
    reason = _REASON if recipient.c.holds.name in columns else ""
    copy.execute(f"UPDATE {recipient.name} SET held = 1{reason} WHERE {_WAITS}")  # noqa: S608 - constants
