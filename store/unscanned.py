"""Messages that the index knows by their names alone, until their files are read.

An index that is made because there was none takes UID, dates, size, flags and keywords from names, times and journal,
which takes a thirtieth of the time: the account serves at once. What only the octets tell (email id, thread, ENVELOPE,
header fields …) is filled in behind, from the newest message on, and for whoever asks for it before he is answered.
Until then such a message has no email id, and a row in `messages` alone; copies made of it meanwhile are read with it
(`store.contents`). Nothing a client was told changes by it: no mod-sequence rises.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from dataclasses import dataclass

import core.log
from core.errors import StorageError
from store import adopt, records
from store.catalog import FolderRow
from store.faults import consistent
from store.index import Connection
from store.records import Prepared
from store.scan import scan_folder
from store.schema import UID_MASK, key
from store.stage import IN_MEMORY
from store.transaction import Transaction
from store.trust import Trust
from store.types import Column

log = core.log.get(__name__)

COLUMNS = ~Column.DATES  # what only the octets tell
TURN = 32  # messages read in one transaction: some 10 ms
TURN_OCTETS = 4 * 1024 * 1024  # and no more octets than these, past the last one's


@dataclass(frozen=True, slots=True)
class Place:
    """How far a walk through an account has come: folders by number, in each from the newest message to the oldest."""

    folder: int = 0
    below: int = 0  # a key


START = Place()


@dataclass(frozen=True, slots=True)
class _Named:
    uid: int
    name: str
    thread: str  # "" unless the journal told it
    date: int
    content: int


def first(db: Connection, folder: FolderRow, start: int, last: int) -> int:
    """The lowest UID from `start` to `last` whose file is not read yet, 0 without one. 3 µs."""
    found = db.value(
        "SELECT min(key) FROM messages INDEXED BY messages_unscanned "
        "WHERE email_id = '' AND folder = ? AND key BETWEEN ? AND ?",
        (folder.number, key(folder.number, start), key(folder.number, last)),
    )
    return 0 if found is None else int(found) & UID_MASK


def count(db: Connection) -> int:
    """Of the whole account."""
    return int(db.value("SELECT count(*) FROM messages INDEXED BY messages_unscanned WHERE email_id = ''"))


def some(db: Connection) -> bool:
    return db.value("SELECT 1 FROM messages INDEXED BY messages_unscanned WHERE email_id = '' LIMIT 1") is not None


def scan(transaction: Transaction, folder_id: str, start: int, last: int) -> None:
    """The first of those from UID `start` to `last` that are not read yet. There are fewer of them when it returns.
    Raises OSError, StorageError when the first cannot be read."""
    row = transaction.folder(folder_id)
    span = (row.number, key(row.number, start), key(row.number, last))
    for _ in range(2):
        found = _rows(transaction.db, "key BETWEEN ? AND ? ORDER BY key", span)
        done = _read_all(transaction, row, found)
        if done.read or not done.missing:
            return
        scan_folder(transaction, row.id, Trust.WHOLE)  # it was removed by hand, or got other letters
    raise StorageError("the message cannot be read", code="storage-odd-file")


def scan_behind(transaction: Transaction, place: Place) -> Place | None:
    """The next ones of the account that are not read yet; how far we are then, None at the end. What cannot be read is
    passed over, and told in the log."""
    db, number, below = transaction.db, place.folder, place.below
    while not (found := _rows(db, "key < ? ORDER BY key DESC", (number, below))):
        number = db.value(
            "SELECT min(folder) FROM messages INDEXED BY messages_unscanned WHERE email_id = '' AND folder > ?",
            (number,),
        )
        if number is None:
            return None
        below = key(number + 1, 0)
    row = transaction.folder(str(db.value("SELECT id FROM folders WHERE number = ?", (number,))))
    done = _read_all(transaction, row, found, behind=True)
    if done.missing and _is_there(transaction, row):  # else a folder removed by hand would keep others from being read
        scan_folder(transaction, row.id, Trust.WHOLE)
    return Place(number, key(number, found[done.seen - 1].uid))


def _is_there(transaction: Transaction, row: FolderRow) -> bool:
    return transaction.fs.exists(transaction.handle.root, f"{row.directory}/cur".lstrip("/"))


def _rows(db: Connection, which: str, values: tuple[object, ...]) -> list[_Named]:
    rows = db.all(
        f"SELECT key & {UID_MASK}, name, thread_id, internal_date, content FROM messages INDEXED BY messages_unscanned "  # noqa: S608 - constants
        f"WHERE email_id = '' AND folder = ? AND {which} LIMIT {TURN}",
        values,
    )
    return [_Named(*each) for each in rows]


@dataclass(slots=True)
class _Done:
    seen: int = 0  # of those that were to be read
    read: int = 0
    missing: bool = False  # a file was not there


def _read_all(transaction: Transaction, row: FolderRow, found: Sequence[_Named], *, behind: bool = False) -> _Done:
    """As many of `found` as one turn allows, and their rows. A file that cannot be read ends it, and is an error as the
    first one; `behind`, it is passed over."""
    done, octets = _Done(), TURN_OCTETS
    read: dict[int, tuple[str, Prepared]] = {}  # by content, which copies share
    for item in found:
        if octets <= 0:
            break
        try:
            if item.content not in read:
                prepared = _prepared(transaction, row, item)
                octets -= prepared.size
                read[item.content] = item.thread, prepared
        except FileNotFoundError:
            done.missing = True
        except OSError as error:
            if not behind:
                if read:
                    break
                raise
            told = {"account": transaction.handle.ref.id, "folder": row.id, "uid": item.uid}
            log.warning("store-message-unread", **told, cause=str(error))
        done.seen += 1
    with consistent():
        records.complete(transaction.db, read)
    done.read = len(read)
    return done


def _prepared(transaction: Transaction, row: FolderRow, item: _Named) -> Prepared:
    """Whatever the file holds now: its name told another size only if somebody changed it, which `verify` finds."""
    fs, cur = transaction.fs, transaction.cur(row)
    status = fs.stat(cur, item.name)
    if not fs.is_plain(status) or status.st_uid != transaction.handle.owner:
        raise PermissionError(errno.EPERM, "not a plain file of ours")
    with fs.turn.given() if status.st_size > IN_MEMORY else contextlib.nullcontext():
        return adopt.prepared_file(transaction.tools, cur, item.name, status.st_size, item.date)
