"""What is done behind the answers: flag letters into file names, unlinking of expunged files, journals kept small.

At most so much per turn, so that nobody waits long for the account. A folder that could not be read is left alone.
Everything here may be cut off at any point.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial

from core.errors import NotFoundError
from store import catalog, folders, journal
from store.catalog import FolderRow
from store.faults import FULL
from store.fsops import FileSystem
from store.index import Connection
from store.names import KEYWORD_LETTERS, spare_names, with_letters
from store.scan import scan_folder
from store.schema import UID_BITS, UID_MASK, UNOPENED, unsigned
from store.transaction import Transaction
from store.trust import Trust

LETTERS_PER_TURN = 1_000
UNLINKS_PER_TURN = 2_000
DELIVERIES_KEPT = 8 * 86_400  # longer than any queue's life

_Waiting = tuple[int, str, int, int]  # key, file name, flags, keywords


def flush(transaction: Transaction) -> OSError | None:
    """One turn; `transaction.unfinished` tells that another is needed. What is given is why some flags wait: the disk
    has no room for what the journal is to tell of them. All else is done. On the event loop where the index is only to
    be synced, as after deliveries (`store.light`)."""
    if transaction.handle.grown or something_waits(transaction.db):
        transaction.may_wait()
    _compact_journals(transaction)
    full = _write_letters(transaction)
    files = _unlink(transaction)
    transaction.unfinished = transaction.unfinished or files
    return full


def something_waits(db: Connection) -> bool:
    """For names, or to be unlinked: also what a process left that was killed. Some microseconds."""
    return bool(
        db.value(
            "SELECT EXISTS (SELECT 1 FROM messages INDEXED BY messages_unwritten WHERE unwritten) "
            "OR EXISTS (SELECT 1 FROM doomed)"
        )
    )


def _compact_journals(transaction: Transaction) -> None:
    """Threads and keywords past 26 make journals grow, too, where nothing is ever removed. Looked at before this turn's
    own lines, so each turn sees those of the turns before."""
    grown = transaction.handle.grown
    if not transaction.has_journalled:
        while grown:
            with contextlib.suppress(NotFoundError):  # deleted meanwhile
                row = transaction.folder(grown.pop())
                if row.changed > UNOPENED:
                    _compact(transaction, row)


def _write_letters(transaction: Transaction) -> OSError | None:
    """Folders whose journal the disk has no room for wait, and keep no other from its turn."""
    full: dict[int, OSError] = {}
    while True:
        rows = transaction.db.all(
            "SELECT m.key, m.name, m.flags, m.keywords FROM folders f JOIN messages m INDEXED BY messages_unwritten "  # noqa: S608 - numbers
            f"ON m.folder = f.number AND m.unwritten WHERE f.changed > ? AND f.number NOT IN ({_listed(full)}) LIMIT ?",
            (UNOPENED, LETTERS_PER_TURN),
        )
        by_folder: dict[int, list[_Waiting]] = defaultdict(list)
        for key, name, flags, bits in rows:
            by_folder[key >> UID_BITS].append((key, name, flags, unsigned(bits)))
        found = {number: _rename_all(transaction, _row(transaction, number), by_folder[number]) for number in by_folder}
        refused = {number: error for number, error in found.items() if error is not None}
        if not refused:
            transaction.unfinished = transaction.unfinished or len(rows) == LETTERS_PER_TURN
            return next(iter(full.values()), None)
        full |= refused


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def _row(transaction: Transaction, number: int) -> FolderRow:
    return transaction.folder(str(transaction.db.value("SELECT id FROM folders WHERE number = ?", (number,))))


def _rename_all(transaction: Transaction, row: FolderRow, waiting: Sequence[_Waiting]) -> OSError | None:
    """Journal what letters cannot say, rename, sync the folder, tell the rows, then journal how far the names go. An
    error where the disk has no room for the first, without which nothing was done.

    A flag that was set, taken back and set again leaves the name that it had: a row of the time between would count as
    newer than that name, were it brought back. Where the disk is full that is told another time: the names are right.
    """
    transaction.touch(row)
    lines = [
        journal.keywords(key & UID_MASK, bits)
        for key, _, _, bits in waiting
        if bits >> KEYWORD_LETTERS or len(row.keywords) > KEYWORD_LETTERS
    ]
    if lines and (full := _journalled(transaction, row, lines)):
        return full
    left = _rename(transaction, row, waiting)
    if left:  # somebody renamed or removed files under us, or put one in the way, which is given another place first
        scan_folder(transaction, row.id, Trust.WHOLE)
        row = transaction.folder(row.id)
        _rename(transaction, row, _still(transaction, left), spare=True)
    if not transaction.db.value("SELECT EXISTS (SELECT 1 FROM messages WHERE folder = ? AND unwritten)", (row.number,)):
        _journalled(transaction, row, [journal.named(row.modseq)])
    return None


def _rename(transaction: Transaction, row: FolderRow, waiting: Sequence[_Waiting], *, spare: bool = False) -> list[int]:
    """The keys of those that were not. `spare`: they may get a name beside the usual one."""
    directory = transaction.cur(row)
    done: list[tuple[str, int]] = []
    left: list[int] = []
    for key, name, flags, bits in waiting:
        new = _free(transaction.fs, directory, name, with_letters(name, flags, bits), spare=spare)
        try:
            if new and new != name:
                transaction.fs.rename(directory, name, directory, new)
                transaction.on_failure(partial(transaction.fs.rename, directory, new, directory, name), directory)
        except FileNotFoundError:
            new = ""
        if new:
            done.append((new, key))
        else:
            left.append(key)
    transaction.sync(directory)
    transaction.db.many("UPDATE messages SET name = ?, unwritten = 0 WHERE key = ?", done)
    return left


def _free(fs: FileSystem, directory: int, name: str, new: str, *, spare: bool) -> str:
    """What `name` is to become; "" where something is in the way: a copy made by hand is never overwritten."""
    if new == name or not fs.exists(directory, new):
        return new
    others = spare_names(new) if spare else ()
    return next((other for other in others if not fs.exists(directory, other)), "")


def _still(transaction: Transaction, keys: Sequence[int]) -> list[_Waiting]:
    """Those that have letters to get after a look at the folder."""
    asked = "SELECT key, name, flags, keywords FROM messages WHERE key = ? AND unwritten"
    found = [item for item in (transaction.db.one(asked, (key,)) for key in keys) if item is not None]
    return [(key, name, flags, unsigned(bits)) for key, name, flags, bits in found]


def _journalled(transaction: Transaction, row: FolderRow, lines: list[str]) -> OSError | None:
    """What it gives where the disk is full. Nothing else is refused with it, and files are to be unlinked behind."""
    try:
        transaction.journal(row, lines)
    except OSError as error:
        if error.errno not in FULL:
            raise
        return error
    return None


def _compact(transaction: Transaction, row: FolderRow) -> None:
    """Where there is no room for another journal this one stays as it is."""
    try:
        folders.compact_journal(transaction, row)
    except OSError as error:
        if error.errno not in FULL:
            raise


def _unlink(transaction: Transaction) -> bool:
    if transaction.removes:  # in this batch, whose commit may fail yet: then its files must be there (promise P1)
        return True
    rows = transaction.db.all(
        f"SELECT key, name FROM doomed WHERE key >> {UID_BITS} NOT IN "  # noqa: S608 - a constant
        "(SELECT number FROM folders WHERE changed <= ?) LIMIT ?",
        (UNOPENED, UNLINKS_PER_TURN),
    )
    known = {row.number: row for row in catalog.everything(transaction.db)} if rows else {}
    shrunk: set[str] = set()
    for key, name in rows:
        row = known.get(key >> UID_BITS)
        if row is not None:
            transaction.touch(row)
            with contextlib.suppress(FileNotFoundError):
                transaction.fs.unlink(transaction.cur(row), name)
            shrunk.add(row.id)
    transaction.db.many("DELETE FROM doomed WHERE key = ?", [(key,) for key, _ in rows])
    for folder_id in shrunk:
        folder = transaction.folder(folder_id)
        transaction.sync(transaction.cur(folder))  # nobody would look for a file that a power loss brings back later
        _compact(transaction, folder)
    return len(rows) == UNLINKS_PER_TURN


def forget_deliveries(transaction: Transaction) -> None:
    transaction.db.run("DELETE FROM deliveries WHERE at < ?", (transaction.now - DELIVERIES_KEPT,))
