"""Statements of every message's way: text and order of their values made once for each dialect.

Seam to the driver beneath SQLAlchemy. What SQLAlchemy does around one execution on SQLite takes five times what SQLite
does, and a message that enters asks eight times. PostgreSQL is asked through SQLAlchemy: there the way is longer.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Boolean, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

Row = Sequence[Any]


class Prepared:
    """`values` by the names of the bound parameters, of what is written also by those of the columns: the same names
    each time. Values come and go as the driver has them, but in `mappings`: a boolean is 0 or 1 on SQLite. Expanding
    parameters take any number of values. Raises as SQLAlchemy does."""

    def __init__(self, statement: Select[*tuple[Any, ...]] | UpdateBase) -> None:
        self._statement = statement
        self._text = ""
        self._names: tuple[str, ...] = ()
        self._fixed: Mapping[str, Any] = {}
        self._lists: frozenset[str] = frozenset()
        self._columns: tuple[str, ...] = ()
        self._booleans: tuple[str, ...] = ()

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[Row]:
        if connection.dialect.name != "sqlite":
            return [tuple(row) for row in connection.execute(self._statement, values)]
        return fetched(connection, self._ready(connection, values), self._ordered(values))

    def mappings(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Of a selection: the rows by the names of its columns."""
        if connection.dialect.name != "sqlite":
            return [dict(row) for row in connection.execute(self._statement, values).mappings()]
        text = self._ready(connection, values)
        found = [dict(zip(self._columns, row, strict=True)) for row in fetched(connection, text, self._ordered(values))]
        for name in self._booleans:
            for row in found:
                row[name] = bool(row[name])
        return found

    def one(self, connection: Connection, values: Mapping[str, Any]) -> Row | None:
        found = self.rows(connection, values)
        return found[0] if found else None

    def run(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """How many rows it concerned."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._statement, values).rowcount
        return driven(connection, self._ready(connection, values), self._ordered(values)).rowcount

    def _ready(self, connection: Connection, values: Mapping[str, Any]) -> str:
        if not self._text:
            self._prepare(connection, values)
        return self._text

    def _ordered(self, values: Mapping[str, Any]) -> list[Any]:
        fixed = self._fixed
        ordered = [values[name] if name in values else fixed[name] for name in self._names]
        if self._lists:
            ordered = [
                json.dumps(list(value)) if name in self._lists else value
                for name, value in zip(self._names, ordered, strict=True)
            ]
        return ordered

    def _prepare(self, connection: Connection, values: Mapping[str, Any]) -> None:
        compiled: Any = self._statement.compile(dialect=connection.dialect, column_keys=self._written(values))
        self._names = tuple(compiled.positiontup)
        self._fixed = {name: value for name, value in compiled.params.items() if not compiled.binds[name].required}
        self._lists = frozenset(name for name in self._names if compiled.binds[name].expanding)
        if isinstance(self._statement, Select):
            columns = list(self._statement.selected_columns)
            self._columns = tuple(str(column.key) for column in columns)
            self._booleans = tuple(str(column.key) for column in columns if isinstance(column.type, Boolean))
        # A list is one value, so that the text is the same for any length.
        self._text = re.sub(r"\(__\[POSTCOMPILE_\w+\]\)", "(SELECT value FROM json_each(?))", str(compiled))

    def _written(self, values: Mapping[str, Any]) -> list[str] | None:
        """The columns that `values` names."""
        if isinstance(self._statement, Select) or self._statement.is_delete:
            return None
        return [name for name in values if name in self._statement.table.c] or None


def driven(connection: Connection, words: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
    """Said to SQLite's driver; its errors are SQLAlchemy's."""
    try:
        return _driver(connection).execute(words, values)
    except sqlite3.Error as error:
        raise _told(connection, words, error) from error


def fetched(connection: Connection, words: str, values: Sequence[Any] = ()) -> list[Row]:
    """As `driven`, with all rows: each is a step of SQLite's that may fail (a page of the disk that cannot be read)."""
    try:
        return _driver(connection).execute(words, values).fetchall()
    except sqlite3.Error as error:
        raise _told(connection, words, error) from error


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _told(connection: Connection, words: str, error: sqlite3.Error) -> BaseException:
    return DBAPIError.instance(words, None, error, sqlite3.Error, hide_parameters=True, dialect=connection.dialect)
