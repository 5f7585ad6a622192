"""A consistent copy of an SQLite database that others write to, by SQLite's own backup interface.

A plain copy of the file could tear: half of a transaction, or a database without its WAL.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

BUSY = 30.0  # seconds a writer may hold us up


def backup(source: Path, target: Path, *then: str) -> None:
    """`target` becomes what `source` was at one moment, one file without a WAL, readable by its owner alone; the
    statements of `then` are applied to the copy. It is replaced as a whole, and durable when this returns. Raises
    FileNotFoundError, sqlite3.Error, OSError."""
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such database")
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(source, timeout=BUSY)) as live, closing(sqlite3.connect(temporary)) as copy:
        live.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        for statement in then:
            copy.execute(statement)
        copy.commit()
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(target)
