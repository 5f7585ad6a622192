"""Whether anybody has written to a database since the last look."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from core.sqlite import LOOK, Watch, backup


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "a?b#c%20.db"  # a name, not a URI
    with closing(sqlite3.connect(made)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (x)")
    return made


def test_a_commit_of_another_connection_or_process_is_seen_once(file: Path) -> None:
    watch = Watch(file)
    assert watch.moved()
    assert not watch.moved()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO t VALUES (1)")
        assert not watch.moved()
        other.execute("ROLLBACK")
        assert not watch.moved()
        other.execute("INSERT INTO t VALUES (2)")
        assert watch.moved()
        assert not watch.moved()
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("INSERT INTO t VALUES (3)")
        assert watch.moved()
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('DELETE FROM t'); c.commit()"
    subprocess.run([sys.executable, "-c", script, str(file)], check=True)
    assert watch.moved()
    assert not watch.moved()
    watch.close()


def test_what_cannot_be_known_counts_as_a_change(tmp_path: Path) -> None:
    absent = Watch(tmp_path / "absent.db")
    assert [absent.moved() for _ in range(3)] == [True] * 3
    assert not (tmp_path / "absent.db").exists()
    watch = Watch(tmp_path / "journal.db")
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE t (x)")
        assert [watch.moved() for _ in range(2)] == [True, False]
        other.execute("BEGIN EXCLUSIVE")
        assert watch.moved()  # and nobody waited
        other.execute("COMMIT")
    assert watch.moved()
    assert not watch.moved()
    watch.close()


def test_another_file_of_that_name_is_noticed_within_two_seconds(file: Path, tmp_path: Path) -> None:
    """A connection keeps to the file it opened: a backup that was put in its place was never seen."""
    now = 0.0
    watch = Watch(file, lambda: now)
    assert [watch.moved() for _ in range(2)] == [True, False]
    backup(file, tmp_path / "other.db")
    (tmp_path / "other.db").rename(file)
    now += LOOK
    assert [watch.moved() for _ in range(2)] == [True, False]
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("INSERT INTO t VALUES (1)")
    assert watch.moved()
    file.unlink()
    now += LOOK
    assert [watch.moved() for _ in range(3)] == [True] * 3
    watch.close()
