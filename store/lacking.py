"""What a journal should tell and does not, for its octets were damaged: a line whose checksum is wrong is no line, and
nobody misses it while the index knows the same. `store verify` names it; before an index is made again from the files
the lines are written again from the one that is there, the last that knows them.
"""

from __future__ import annotations

from collections.abc import Callable

from store import journal
from store.catalog import FolderRow
from store.index import Connection
from store.journal import Journal
from store.names import KEYWORD_LETTERS
from store.schema import UID_MASK, key, unsigned

_NAMED_BITS = (1 << KEYWORD_LETTERS) - 1


def lines(db: Connection, row: FolderRow, told: Journal, there: Callable[[str], bool]) -> list[str]:
    """Of one folder, by an index that is believed: keywords past 26 that a flush has written down, and removals of
    files that are `there` yet, by their names in cur/. A flush writes a journal without the removals whose files are
    gone, before its commit tells the index: one that is older, or lost that commit, still knows them."""
    span = key(row.number, 0), key(row.number, UID_MASK)
    found = [journal.keywords(uid, bits) for uid, bits in _keywords(db, row, told, span)]
    doomed = db.all(
        f"SELECT DISTINCT key & {UID_MASK}, name FROM doomed WHERE key BETWEEN ? AND ? "  # noqa: S608 - constants
        "AND key NOT IN (SELECT key FROM messages WHERE key BETWEEN ?1 AND ?2) ORDER BY key",
        span,
    )
    removed = [uid for uid, name in doomed if uid not in told.removed and there(name)]
    return [*found, *([journal.removal(removed)] if removed else [])]


def _keywords(db: Connection, row: FolderRow, told: Journal, span: tuple[int, int]) -> list[tuple[int, int]]:
    """UIDs and bits. What waits for its flush is no loss."""
    if len(row.keywords) <= KEYWORD_LETTERS:
        return []
    past = {uid: bits & ~_NAMED_BITS for uid, bits in told.keywords.items()}
    rows = db.all(
        f"SELECT key & {UID_MASK}, keywords FROM messages "  # noqa: S608 - constants
        "WHERE key BETWEEN ? AND ? AND NOT unwritten",
        span,
    )
    bits = ((uid, unsigned(signed)) for uid, signed in rows)
    return [(uid, each) for uid, each in bits if each & ~_NAMED_BITS != past.get(uid, 0)]
