"""Flags and keywords: changed in the index first (STORE), written into file names behind (`store.flush`).

RFC 9051 6.4.6, RFC 7162 3.1.3 (UNCHANGEDSINCE).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from store import pieces, place, records
from store.catalog import FolderRow
from store.pieces import Which
from store.schema import UID_MASK, signed, unsigned
from store.transaction import Transaction
from store.types import NO_FLAGS, Flag, FlagsChanged, Message, Uid

MODSEQ_MAX = (1 << 63) - 1

_CHANGED = (
    "UPDATE messages SET flags = (flags & ?1) | ?2, keywords = (keywords & ?3) | ?4, modseq = ?5, unwritten = 1 "
    "WHERE (((flags & ?1) | ?2) <> flags OR ((keywords & ?3) | ?4) <> keywords) AND modseq <= ?6 AND key "
)


@dataclass(frozen=True, slots=True)
class FlagChange:
    """What STORE asks for. `replace`: the flags become exactly `add` and `add_keywords`."""

    add: Flag = NO_FLAGS
    remove: Flag = NO_FLAGS
    replace: bool = False
    add_keywords: Sequence[str] = ()
    remove_keywords: Sequence[str] = ()
    unchanged_since: int | None = None
    seen: int | None = None


@dataclass(frozen=True, slots=True)
class _Bits:
    """The change as masks: new = old & keep | add."""

    keep: int
    add: int
    keep_words: int
    add_words: int


class _Became(NamedTuple):
    """What messages with the same flags become: `flags` before and after, and as they are told."""

    changed: bool
    flags: tuple[int, int]
    told: tuple[Flag, tuple[str, ...]]


def store(
    transaction: Transaction, folder_id: str, ranges: Sequence[tuple[int, int]], change: FlagChange
) -> FlagsChanged:
    """All rows of `ranges`, changed or not; one mod-sequence for those that changed."""
    row = transaction.folder(folder_id)
    bits = _bits(transaction, row, change)
    messages: list[Message] = []
    modified: list[Uid] = []
    unseen: list[Uid] = []
    changed: list[tuple[int, int]] = []
    states: dict[tuple[int, int], _Became] = {}  # messages share a few sets of flags
    since, seen, modseq, brief = change.unchanged_since, change.seen, 0, records.brief
    asked = list(pieces.of(pieces.within(row.number, ranges)))
    for which, values in asked:
        rows = transaction.db.all(
            f"SELECT key & {UID_MASK}, flags, keywords, modseq FROM messages WHERE key {which} ORDER BY key",  # noqa: S608 - constants
            values,
        )
        for uid, flags, words, row_modseq in rows:
            if since is not None and row_modseq > since:
                modified.append(uid)
                continue
            if seen is not None and row_modseq > seen:
                unseen.append(uid)
            became = states.get((flags, words)) or states.setdefault((flags, words), _became(row, bits, flags, words))
            if became.changed:
                modseq = modseq or transaction.next_modseq(row)
                row_modseq = modseq
                changed.append(became.flags)
            messages.append(brief(uid, became.told, row_modseq))
    _write(transaction, row, asked, bits, change.unchanged_since, changed, modseq)
    return FlagsChanged(tuple(messages), tuple(modified), tuple(unseen), modseq)


def _became(row: FolderRow, bits: _Bits, flags: int, words: int) -> _Became:
    new, new_words = flags & bits.keep | bits.add, unsigned(words) & bits.keep_words | bits.add_words
    changed = (new, new_words) != (flags, unsigned(words))
    return _Became(changed, (flags, new), records.told_flags(row, new, new_words))


def _bits(transaction: Transaction, row: FolderRow, change: FlagChange) -> _Bits:
    add_words = place.keyword_bits(transaction, row, change.add_keywords) if change.add_keywords else 0
    if change.replace:
        return _Bits(0, int(change.add), 0, add_words)
    gone = {word.casefold() for word in change.remove_keywords}
    keep_words = sum(1 << bit for bit, word in enumerate(row.keywords) if word.casefold() not in gone)
    return _Bits(~int(change.remove) & 31, int(change.add), keep_words, add_words)


def _write(
    transaction: Transaction,
    row: FolderRow,
    asked: Sequence[Which],
    bits: _Bits,
    since: int | None,
    changed: Sequence[tuple[int, int]],
    modseq: int,
) -> None:
    """One statement a piece, which finds the rows of `changed` (old flags, new ones) by the same rule."""
    if not changed:
        return
    for old, new in changed:
        row.unseen += (old & 1) - (new & 1)
        row.deleted += (new >> 3 & 1) - (old >> 3 & 1)
    masks = (bits.keep, bits.add, signed(bits.keep_words), signed(bits.add_words))
    newest = MODSEQ_MAX if since is None else min(since, MODSEQ_MAX)
    for which, values in asked:
        transaction.db.run(_CHANGED + which, (*masks, modseq, newest, *values))
