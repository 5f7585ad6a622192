"""Messages removed: journal, commit, answer; the files are unlinked behind (`store.flush`). RFC 9051 6.4.3, 6.4.9."""

from __future__ import annotations

from collections.abc import Sequence

from store import contents, journal, pieces
from store.catalog import FolderRow
from store.schema import DELETED, SEEN, UID_MASK
from store.transaction import Transaction
from store.types import Changes, Uid

EVERYTHING = ((1, UID_MASK),)
REMEMBERED = 50_000  # expunged UIDs kept one by one in a folder; older ones are told as "every absent UID"

# Inside SQLite, a statement for many UIDs: a message of its own took three times as long.
_EXPUNGED = "INSERT OR REPLACE INTO expunged SELECT key, folder, ? FROM messages WHERE key "
_DOOMED = "INSERT OR REPLACE INTO doomed SELECT key, name FROM messages WHERE key "

Removed = tuple[int, str, int, int, int]  # uid, file name, flags, size, content


def expunge(
    transaction: Transaction, folder_id: str, ranges: Sequence[tuple[int, int]] | None, only_deleted: bool
) -> Changes:
    """Those with \\Deleted within `ranges` (None: all)."""
    row = transaction.folder(folder_id)
    condition = f" AND flags & {DELETED} <> 0" if only_deleted else ""
    if only_deleted and row.deleted == 0:
        return Changes(row.modseq, row.uidnext)
    found: list[Removed] = []
    for which, values in pieces.of(pieces.within(row.number, EVERYTHING if ranges is None else ranges)):
        found += transaction.db.all(
            f"SELECT key & {UID_MASK}, name, flags, size, content FROM messages WHERE key {which}{condition} "  # noqa: S608 - constants
            "ORDER BY key",
            values,
        )
    if found:
        remove(transaction, row, found)
    return Changes(row.modseq, row.uidnext, vanished=tuple(Uid(item[0]) for item in found))


def remove(transaction: Transaction, row: FolderRow, found: Sequence[Removed], *, moved: bool = False) -> None:
    """Durably in the journal before the rows go: a lost index cannot bring them back (promise P5). `moved`: their
    contents are told of elsewhere."""
    transaction.touch(row)
    transaction.removes = True
    modseq = transaction.next_modseq(row)  # before the journal: without its floor nobody would be told of the removal
    uids = [item[0] for item in found]
    transaction.journal(row, [journal.removal(uids)])
    for which, values in pieces.of(pieces.within(row.number, journal.ranges(uids))):
        transaction.db.run(_EXPUNGED + which, (modseq, *values))
        transaction.db.run(_DOOMED + which, values)
        transaction.db.run(f"DELETE FROM messages WHERE key {which}", values)  # noqa: S608 - constants
    if not moved:
        contents.release(transaction.db, [item[4] for item in found])
    _discount(transaction, row, found)
    _forget_old(transaction, row)


def _discount(transaction: Transaction, row: FolderRow, found: Sequence[Removed]) -> None:
    size = sum(item[3] for item in found)
    row.messages -= len(found)
    row.size -= size
    row.unseen -= sum(1 for item in found if not item[2] & SEEN)
    row.deleted -= sum(1 for item in found if item[2] & DELETED)
    transaction.octets -= size
    transaction.messages -= len(found)


def _forget_old(transaction: Transaction, row: FolderRow) -> None:
    """Keep the table of expunged UIDs bounded; clients that stayed away longer get every absent UID instead."""
    boundary = transaction.db.value(
        "SELECT modseq FROM expunged WHERE folder = ? ORDER BY modseq DESC LIMIT 1 OFFSET ?", (row.number, REMEMBERED)
    )
    if boundary is not None:
        row.forgotten = max(row.forgotten, int(boundary))
        transaction.db.run("DELETE FROM expunged WHERE folder = ? AND modseq <= ?", (row.number, boundary))
