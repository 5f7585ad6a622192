"""Indexes of older versions brought up in place: from their own rows, without a look at the files.

A step reads what it needs from the tables of its version and leaves those of the next, in one transaction, under the
account's lock. A version without a step is made again from the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from message import sorting
from message.header import split
from store.keys import SORT_ROW, sort_row
from store.schema import BORROWED, NEW_LIFE, SORTING, UNJOINED, UNREADABLE, UNSCANNED

BATCH = 1000


class Database(Protocol):
    """What a step needs of `store.index.Connection`."""

    def all(self, sql: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]: ...

    def run(self, sql: str, values: Sequence[object] = ()) -> None: ...

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> None: ...


def _to_2(db: Database) -> None:
    """Sort keys from the header fields that are kept anyway; a life for the text index to hold on to."""
    db.run(f"ALTER TABLE state ADD COLUMN life TEXT NOT NULL DEFAULT ''; UPDATE state SET life = {NEW_LIFE}")  # noqa: S608 - constants
    db.run(f"DROP TABLE sorting; {SORTING}")
    last: object = -1
    while rows := db.all("SELECT key, headers FROM heads WHERE key > ? ORDER BY key LIMIT ?", (last, BATCH)):
        db.many(SORT_ROW, [(key, *sort_row(sorting.keys(split(bytes(head))))) for key, head in rows])  # type: ignore[call-overload]  # a BLOB
        last = rows[-1][0]


def _to_3(db: Database) -> None:
    """Contents that copies share: so far every message has its own."""
    db.run("ALTER TABLE messages ADD COLUMN content INTEGER NOT NULL DEFAULT 0")
    db.run(f"UPDATE messages SET content = key; {BORROWED}")  # noqa: S608 - constants


def _to_4(db: Database) -> None:
    """Every message was read; from here on some may be known by name alone."""
    db.run(UNSCANNED)


def _to_5(db: Database) -> None:
    """Some may turn out to be unreadable, or wait for their thread; so far none does."""
    db.run(f"{UNREADABLE}{UNJOINED}")


MIGRATIONS: Mapping[int, Callable[[Database], None]] = {1: _to_2, 2: _to_3, 3: _to_4, 4: _to_5}
