"""SORT from the index: orders are made inside SQLite, which gives the interpreter's lock away meanwhile (RFC 5256 3).

Runs in a worker thread over a connection of its own. Knows which column each key sorts by.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from store.catalog import FolderRow
from store.index import Connection
from store.schema import UID_MASK, key
from store.types import SortCriterion, SortKey

# RFC 5256 2.2: without a usable Date, the internal date.
SENT_DATE = "CASE WHEN m.sent_date THEN m.sent_date ELSE m.internal_date END"
_EXPRESSIONS: Mapping[SortKey, str] = {
    SortKey.ARRIVAL: "m.internal_date",
    SortKey.CC: "s.copied",
    SortKey.DATE: SENT_DATE,
    SortKey.DISPLAYFROM: "s.shown_sender",
    SortKey.DISPLAYTO: "s.shown_recipient",
    SortKey.FROM: "s.sender",
    SortKey.SIZE: "m.size",
    SortKey.SUBJECT: "s.subject",
    SortKey.TO: "s.recipient",
}
BY_NAMES = frozenset((SortKey.ARRIVAL, SortKey.SIZE))  # what is known of messages that are not read yet
_FEW = 8  # times fewer than the folder holds: they are looked up one by one


def ordered(db: Connection, folder: FolderRow, uids: Sequence[int], criteria: Sequence[SortCriterion]) -> list[int]:
    """`uids` in the order asked, equals by sequence number; those no longer in the folder are left out."""
    terms = [f"{_EXPRESSIONS[each.key]}{' DESC' if each.reverse else ''}" for each in criteria]
    tables = "messages m JOIN sorting s ON s.key = m.content" if any("s." in term for term in terms) else "messages m"
    where, values = chosen(folder, uids)
    found = db.value(
        f"SELECT json_group_array(m.key & {UID_MASK} ORDER BY {', '.join([*terms, 'm.key'])}) "  # noqa: S608 - constants
        f"FROM {tables} WHERE {where}",
        values,
    )
    wanted = frozenset(uids)
    return [uid for uid in json.loads(found) if uid in wanted]


def chosen(folder: FolderRow, uids: Sequence[int]) -> tuple[str, tuple[object, ...]]:
    """A condition on `m.key` that holds for all of `uids`, and its values: the folder's stretch, or few of them."""
    if len(uids) * _FEW < folder.messages:
        return "m.key IN (SELECT value + ? FROM json_each(?))", (key(folder.number, 0), json.dumps(list(uids)))
    return "m.key BETWEEN ? AND ?", (key(folder.number, 1), key(folder.number, UID_MASK))
