"""Flags of many messages at once, summed up and strung together by SQLite: a look at all flags of a mailbox is what
mail programs ask most, and making a row of each message in Python takes four times as long."""

from __future__ import annotations

from store.catalog import FolderRow
from store.index import Connection
from store.schema import UID_MASK, key, unsigned
from store.types import Stretch

_SUM = (
    "SELECT count(*), max(modseq), min(flags), max(flags), min(keywords), max(keywords) FROM messages "
    "WHERE key BETWEEN ? AND ?"
)
# The order of a subquery stands, for this is no aggregate that it makes no difference to (SQLite, select.c).
_EACH = (
    "SELECT group_concat(char(64 + (flags & 31)), '') FROM "
    "(SELECT flags FROM messages WHERE key BETWEEN ? AND ? ORDER BY key) AS ordered"
)
_OCTETS = bytes(octet & 31 for octet in range(256))  # 64 + flags > flags


def read(db: Connection, folder: FolderRow, first: int, last: int) -> Stretch:
    """Of UIDs `first` to `last`."""
    ends = key(folder.number, first), key(folder.number, min(last, UID_MASK))
    count, modseq, lowest, highest, words, other = db.all(_SUM, ends)[0]
    if not count:
        return Stretch(0)
    if words != other:
        return Stretch(count, modseq, keywords=None)
    same = lowest == highest
    flags = bytes((lowest & 31,)) * count if same else db.value(_EACH, ends).encode("ascii").translate(_OCTETS)
    return Stretch(count, modseq, flags, folder.words(unsigned(words)))
