"""Statements of every message's way: text and order of their values made once for each dialect.

Seam to the driver beneath SQLAlchemy. What SQLAlchemy does around one execution on SQLite takes five times what SQLite
does, and a message that enters asks eight times. PostgreSQL is asked through SQLAlchemy: there the way is longer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

Row = Sequence[Any]


class Prepared:
    """`values` by the names of the bound parameters, of an insertion by those of the columns: the same names each time.
    Values come and go as the driver has them: a boolean is 0 or 1 on SQLite. Raises as SQLAlchemy does."""

    def __init__(self, statement: Select[*tuple[Any, ...]] | UpdateBase) -> None:
        self._statement = statement
        self._text = ""
        self._names: tuple[str, ...] = ()
        self._fixed: Mapping[str, Any] = {}

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[Row]:
        if connection.dialect.name != "sqlite":
            return [tuple(row) for row in connection.execute(self._statement, values)]
        return self._execute(connection, values).fetchall()

    def one(self, connection: Connection, values: Mapping[str, Any]) -> Row | None:
        found = self.rows(connection, values)
        return found[0] if found else None

    def run(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """How many rows it concerned."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._statement, values).rowcount
        return self._execute(connection, values).rowcount

    def _execute(self, connection: Connection, values: Mapping[str, Any]) -> sqlite3.Cursor:
        if not self._text:
            self._prepare(connection, values)
        fixed = self._fixed
        return driven(connection, self._text, [values[name] if name in values else fixed[name] for name in self._names])

    def _prepare(self, connection: Connection, values: Mapping[str, Any]) -> None:
        keys = list(values) if isinstance(self._statement, UpdateBase) and self._statement.is_insert else None
        compiled: Any = self._statement.compile(dialect=connection.dialect, column_keys=keys)
        self._names = tuple(compiled.positiontup)
        self._fixed = {name: value for name, value in compiled.params.items() if not compiled.binds[name].required}
        self._text = str(compiled)


def driven(connection: Connection, words: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
    """Said to SQLite's driver; its errors are SQLAlchemy's."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    try:
        return driver.execute(words, values)
    except sqlite3.Error as error:
        raise DBAPIError.instance(
            words, None, error, sqlite3.Error, hide_parameters=True, dialect=connection.dialect
        ) from error
