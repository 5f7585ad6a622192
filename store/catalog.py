"""Folders as the index knows them: one mutable row while a transaction holds it, a `Folder` value for others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple, Protocol

from core.errors import NotFoundError
from store import contents
from store.index import Connection, Row
from store.names import LONG
from store.sidefile import FolderFile
from store.types import INBOX, Folder

_SELECT = "SELECT * FROM folders"  # the fields of a `FolderRow`; the text of a statement is read each time
_NAMED, _KNOWN = f"{_SELECT} WHERE name = ?", f"{_SELECT} WHERE id = ?"
_BY_NAME = "ORDER BY name <> 'INBOX', name"
_VALUES = (
    "SELECT id, name, uidvalidity, uidnext, modseq, messages, unseen, deleted, size, special_use, subscribed "
    "FROM folders"
)
_NAME = itemgetter(1)
_BRIEF = "SELECT number, uidvalidity, uidnext, messages FROM folders"
_SUBSCRIBED = f"SELECT name FROM folders WHERE subscribed {_BY_NAME}"  # noqa: S608 - constant text
_INSERT = (
    "INSERT INTO folders (id, name, directory, uidvalidity, uidnext, uid_floor, modseq, modseq_floor, forgotten, "
    "special_use, subscribed, keywords, messages, unseen, deleted, size, changed) "
    "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
_UPDATE = (
    "UPDATE folders SET uidvalidity=?, uidnext=?, uid_floor=?, modseq=?, modseq_floor=?, forgotten=?, special_use=?, "
    "subscribed=?, keywords=?, messages=?, unseen=?, deleted=?, size=?, changed=? WHERE number=?"
)
_RENAME = "UPDATE folders SET name=?, directory=? WHERE number=?"


class Extent(Protocol):
    """Which folder, and how far it reaches: all that it takes to count in it."""

    @property
    def number(self) -> int: ...

    @property
    def uidvalidity(self) -> int: ...

    @property
    def uidnext(self) -> int: ...

    @property
    def messages(self) -> int: ...


class Brief(NamedTuple):
    """An `Extent` that is quick to read, for many folders at once."""

    number: int
    uidvalidity: int
    uidnext: int
    messages: int


@dataclass(slots=True)
class FolderRow:
    """One row of `folders`; `keywords` in bit order. `number` 0: not yet inserted."""

    number: int
    id: str
    name: str
    directory: str
    uidvalidity: int
    uidnext: int
    uid_floor: int
    modseq: int
    modseq_floor: int
    forgotten: int = 0
    special_use: str = ""
    subscribed: bool = True
    keywords: tuple[str, ...] = ()
    messages: int = 0
    unseen: int = 0
    deleted: int = 0
    size: int = 0
    changed: int = 0

    def values(self) -> tuple[object, ...]:
        """Everything after `number`, as `_INSERT` binds it."""
        return (self.id, self.name, self.directory, *self.figures())

    def figures(self) -> tuple[object, ...]:
        """Everything after `directory`: what changes while the folder is called the same."""
        return (
            self.uidvalidity,
            self.uidnext,
            self.uid_floor,
            self.modseq,
            self.modseq_floor,
            self.forgotten,
            self.special_use,
            self.subscribed,
            json.dumps(self.keywords, ensure_ascii=False) if self.keywords else "[]",
            self.messages,
            self.unseen,
            self.deleted,
            self.size,
            self.changed,
        )

    def value(self) -> Folder:
        return Folder(
            id=self.id,
            name=self.name,
            uidvalidity=self.uidvalidity,
            uidnext=self.uidnext,
            highest_modseq=self.modseq,
            messages=self.messages,
            unseen=self.unseen,
            deleted=self.deleted,
            size=self.size,
            special_use=self.special_use,
            subscribed=self.subscribed,
        )

    def side(self) -> FolderFile:
        """What its side file tells, for one that hands or a disk took away."""
        return FolderFile(
            self.id,
            self.uidvalidity,
            self.uid_floor,
            self.modseq_floor,
            self.special_use,
            self.subscribed,
            self.keywords,
            self.name if self.directory.startswith(LONG) else "",
        )

    def words(self, bits: int) -> tuple[str, ...]:
        """The keywords behind the bits."""
        if not bits:
            return ()
        return tuple(word for bit, word in enumerate(self.keywords) if bits >> bit & 1)


def _row(row: Row) -> FolderRow:
    values = list(row)
    values[11], values[12] = bool(values[11]), tuple(json.loads(values[12])) if values[12] != "[]" else ()
    return FolderRow(*values)


def fresh(file: FolderFile, name: str, directory: str) -> FolderRow:
    """A row that is not inserted yet, with all that a side file tells; its numbers are the floors."""
    return FolderRow(
        number=0,
        id=file.id,
        name=name,
        directory=directory,
        uidvalidity=file.uidvalidity,
        uidnext=file.uid_floor,
        uid_floor=file.uid_floor,
        modseq=file.modseq_floor,
        modseq_floor=file.modseq_floor,
        forgotten=file.modseq_floor,
        special_use=file.special_use,
        subscribed=file.subscribed,
        keywords=file.keywords,
    )


def by_name(db: Connection, name: str) -> FolderRow | None:
    row = db.one(_NAMED, (name,))
    return None if row is None else _row(row)


def by_id(db: Connection, folder_id: str) -> FolderRow | None:
    row = db.one(_KNOWN, (folder_id,))
    return None if row is None else _row(row)


def known(db: Connection, folder_id: str) -> FolderRow:
    """Raises NotFoundError."""
    row = by_id(db, folder_id)
    if row is None:
        raise NotFoundError("no such folder", code="no-folder")
    return row


def everything(db: Connection) -> list[FolderRow]:
    """INBOX first, then by name."""
    return [_row(row) for row in db.all(f"{_SELECT} {_BY_NAME}")]


def places(db: Connection) -> dict[str, str]:
    """Folder id > directory."""
    return dict(db.all("SELECT id, directory FROM folders"))


def unopened(db: Connection) -> list[str]:
    """The directories of folders that could not be read."""
    return [directory for (directory,) in db.all("SELECT directory FROM folders WHERE changed < -1")]


def names(db: Connection) -> set[str]:
    """Of all folders."""
    return {name for (name,) in db.all("SELECT name FROM folders")}


def values(db: Connection) -> list[Folder]:
    """`everything` as LIST asks for it: in one step, because an account may have thousands."""
    rows, made = db.all(_VALUES), tuple.__new__  # `Folder._make` without its checks
    rows.sort(key=_NAME)  # in a third of the time that SQLite takes
    found = [made(Folder, (*row[:10], row[10] == 1)) for row in rows]
    inbox = next((place for place, folder in enumerate(found) if folder.name == INBOX), 0)
    return [*found[inbox : inbox + 1], *found[:inbox], *found[inbox + 1 :]]


def extents(db: Connection) -> list[Brief]:
    """Of all folders."""
    return [Brief._make(row) for row in db.all(_BRIEF)]


def numbers(db: Connection, folder_id: str = "") -> dict[str, int]:
    """What the index calls all folders, or one, by their ids."""
    asked = "SELECT id, number FROM folders"
    return dict(db.all(f"{asked} WHERE id = ?", (folder_id,)) if folder_id else db.all(asked))


def subscribed(db: Connection) -> list[str]:
    """The names of those that are."""
    return [row[0] for row in db.all(_SUBSCRIBED)]


def insert(db: Connection, row: FolderRow) -> None:
    db.run(_INSERT, row.values())
    row.number = int(db.value("SELECT last_insert_rowid()"))


def update(db: Connection, row: FolderRow) -> None:
    """All but what it is called: each of those columns has an index, of which SQLite writes a page when the column is
    set, be it to what it was. Every message that comes or goes would write three."""
    db.run(_UPDATE, (*row.figures(), row.number))


def rename(db: Connection, row: FolderRow) -> None:
    """What it is called from now on."""
    db.run(_RENAME, (row.name, row.directory, row.number))


def delete(db: Connection, row: FolderRow) -> None:
    """The folder and every row that belongs to it."""
    first, last = row.number << 32, (row.number + 1 << 32) - 1
    told = contents.within(db, first, last)
    for table in ("messages", "expunged", "doomed"):
        db.run(f"DELETE FROM {table} WHERE key BETWEEN ? AND ?", (first, last))  # noqa: S608 - names from the line above
    contents.release(db, told)
    db.run("DELETE FROM folders WHERE number = ?", (row.number,))
