"""A row that two writers may make at the same moment: PostgreSQL lets them run side by side, and the second's INSERT
would fail its whole operation. Whoever comes second waits for the first and is told that the row is there. SQLite has
one writer; the words are the same."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_once(connection: Connection, table: Table, values: Mapping[str, object]) -> bool:
    """False: another transaction made a row of this key first, and it has been committed."""
    kind = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    making = kind(table).values(**values).on_conflict_do_nothing()
    return connection.execute(making, execution_options={"preserve_rowcount": True}).rowcount == 1
