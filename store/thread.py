"""THREAD from the index (RFC 5256 3): the columns that `message.threading` works on, and its answer as `ThreadNode`s.

Runs in a worker thread over a connection of its own.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from message import threading
from message.threading import Forest, Keys
from store.catalog import FolderRow
from store.index import Connection
from store.schema import UID_MASK
from store.sort import SENT_DATE, chosen
from store.types import ThreadAlgorithm, ThreadNode

_NONE: Sequence[int] = ()


def threads(db: Connection, folder: FolderRow, uids: Sequence[int], algorithm: ThreadAlgorithm) -> list[ThreadNode]:
    """Of those of `uids` that are still in the folder."""
    present, keys = _keys(db, folder, uids)
    if algorithm is ThreadAlgorithm.ORDEREDSUBJECT:
        return _nodes(threading.by_subject(keys), present)
    return _nodes(threading.by_references(keys), present)


def _keys(db: Connection, folder: FolderRow, uids: Sequence[int]) -> tuple[list[int], Keys]:
    where, values = chosen(folder, uids)
    rows = db.all(
        f"SELECT m.key & {UID_MASK}, {SENT_DATE}, s.subject, s.reply, s.message, s.parents "  # noqa: S608 - constants
        f"FROM messages m JOIN sorting s ON s.key = m.content WHERE {where} ORDER BY m.key",
        values,
    )
    if [row[0] for row in rows] != list(uids):
        wanted = frozenset(uids)
        rows = [row for row in rows if row[0] in wanted]
    if not rows:
        return [], Keys(())
    present, dates, subjects, replies, ids, parents = zip(*rows, strict=True)
    return list(present), Keys(dates, subjects, replies, ids, [array("q", each) if each else _NONE for each in parents])


def _nodes(forest: Forest, uids: Sequence[int]) -> list[ThreadNode]:
    """Children before parents, so that nothing nests on the call stack."""
    made: dict[int, ThreadNode] = {}
    children, count, new = forest.children, forest.count, tuple.__new__  # quicker than the class: there may be 100,000
    for number in forest.upwards():
        below = [made.pop(each) if each in children else new(ThreadNode, (uids[each], ())) for each in children[number]]
        made[number] = new(ThreadNode, (uids[number] if number < count else 0, tuple(below)))
    return [made[root] if root in children else new(ThreadNode, (uids[root], ())) for root in forest.roots]
