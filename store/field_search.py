"""SEARCH in addresses and subjects, from the index (RFC 9051 6.4.4): the form made at delivery is looked through inside
SQLite, what it finds is looked at again.

Runs in a worker thread over a connection of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from message import fields, sorting
from message.collation import casemap, one_line
from store import pieces
from store.catalog import FolderRow
from store.index import Connection
from store.schema import UID_MASK, key

_HEAD = "SELECT h.headers FROM messages m JOIN heads h ON h.key = m.content WHERE m.key = ?"


def containing(
    db: Connection,
    folder: FolderRow,
    ranges: Sequence[tuple[int, int]],
    field: str,
    pattern: str,
    *,
    fold_accents: bool = True,
) -> list[int]:
    """UIDs, ascending. Without `fold_accents` only what holds the pattern under i;unicode-casemap (RFC 5051)."""
    name = field.lower().encode("ascii", "replace")
    if name not in sorting.SEARCHED:
        raise ValueError(f"{field} is not kept for searching")
    form, found = sorting.wanted(pattern), list[int]()
    for which, values in pieces.of(pieces.within(folder.number, ranges)):
        rows = db.all(
            f"SELECT m.key & {UID_MASK}, s.fields FROM messages m JOIN sorting s ON s.key = m.content "  # noqa: S608 - constants
            f"WHERE m.key {which} AND instr(s.fields, ?) ORDER BY m.key",
            (*values, form),
        )
        hits = [uid for uid, kept in rows if sorting.found(kept, name, form)]
        found += hits if fold_accents else _exact(db, folder, hits, name, pattern)
    return found


def _exact(db: Connection, folder: FolderRow, uids: Sequence[int], name: bytes, pattern: str) -> list[int]:
    """Those whose field, as it was sent, holds the pattern under i;unicode-casemap."""
    form = casemap(one_line(pattern))
    found = []
    for uid in uids:
        head = db.value(_HEAD, (key(folder.number, uid),))
        values = [fields.value(raw) for field, raw in fields.walk(bytes(head or b"")) if field == name]
        texts = [text for value in values for text in sorting.texts(value, addresses=name != b"subject")]
        if any(form in casemap(one_line(text)) for text in texts):
            found.append(uid)
    return found
