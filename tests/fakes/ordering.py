"""SORT, THREAD and header search over messages in memory, straight from their bytes: what the index must answer too."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

from message import sorting, threading
from message.content import BytesContent
from message.facts import gather
from message.header import split
from message.sorting import SortKeys
from store.types import Message, SortCriterion, SortKey, ThreadAlgorithm, ThreadNode


def _keys(raw: bytes) -> SortKeys:
    return sorting.keys(split(raw))


def _date(row: Message, raw: bytes) -> int:
    return gather(BytesContent(raw)).sent_date or row.internal_date


def ordered(
    rows: Mapping[int, Message], raw: Mapping[int, bytes], uids: Sequence[int], criteria: Sequence[SortCriterion]
) -> list[int]:
    found = sorted(uid for uid in uids if uid in rows)
    for each in reversed(criteria):  # equals stay in mailbox order (RFC 5256 3), also with `reverse`
        values = {uid: _value(each.key, rows[uid], raw[uid]) for uid in found}
        found.sort(key=values.__getitem__, reverse=each.reverse)
    return found


def _value(key: SortKey, row: Message, raw: bytes) -> int | str:
    keys = _keys(raw)
    values: dict[SortKey, int | str] = {
        SortKey.ARRIVAL: row.internal_date,
        SortKey.CC: keys.copied,
        SortKey.DATE: _date(row, raw),
        SortKey.DISPLAYFROM: keys.shown_sender,
        SortKey.DISPLAYTO: keys.shown_recipient,
        SortKey.FROM: keys.sender,
        SortKey.SIZE: row.size,
        SortKey.SUBJECT: keys.subject,
        SortKey.TO: keys.recipient,
    }
    return values[key]


def threaded(
    rows: Mapping[int, Message], raw: Mapping[int, bytes], uids: Sequence[int], algorithm: ThreadAlgorithm
) -> list[ThreadNode]:
    found = sorted(uid for uid in uids if uid in rows)
    each = [_keys(raw[uid]) for uid in found]
    forest = (threading.by_subject if algorithm is ThreadAlgorithm.ORDEREDSUBJECT else threading.by_references)(
        threading.Keys(
            [_date(rows[uid], raw[uid]) for uid in found],
            [keys.subject for keys in each],
            [keys.reply for keys in each],
            [keys.message for keys in each],
            [array("q", keys.parents) for keys in each],
        )
    )
    made: dict[int, ThreadNode] = {}
    for number in forest.upwards():
        below = tuple(made.get(child) or ThreadNode(found[child]) for child in forest.children[number])
        made[number] = ThreadNode(found[number] if number < len(found) else 0, below)
    return [made.get(root) or ThreadNode(found[root]) for root in forest.roots]


def holding(raw: Mapping[int, bytes], uids: Sequence[int], field: str, pattern: str) -> list[int]:
    return [
        uid for uid in uids if sorting.found(_keys(raw[uid]).fields, field.lower().encode(), sorting.wanted(pattern))
    ]
