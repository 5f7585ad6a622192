"""Messages that the index knows by their names alone, until their files are read.

An index that is made because there was none takes UID, dates, size, flags and keywords from names, times and journal,
which takes a thirtieth of the time: the account serves at once. What only the octets tell (email id, thread, ENVELOPE,
header fields …) is filled in behind, from the newest message on, and for whoever asks for it before he is answered.
Until then such a message has no email id, and a row in `messages` alone; copies made of it meanwhile are read with it
(`store.contents`). Nothing a client was told changes by it: no mod-sequence rises. What turns out to be unreadable is
marked (`store.unreadable`), keeps nobody waiting, and is tried again.
"""

from __future__ import annotations

import contextlib
import errno
import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import core.log
from core.errors import MailError, StorageError
from store import adopt, records
from store.catalog import FolderRow
from store.faults import consistent, of_a_file
from store.index import Connection
from store.records import Prepared
from store.scan import scan_folder
from store.schema import UID_MASK, key
from store.stage import IN_MEMORY, NO_FACTS
from store.transaction import Transaction
from store.trust import Trust
from store.types import Column

log = core.log.get(__name__)

COLUMNS = ~Column.DATES  # what only the octets tell
THESE = "key IN (SELECT value FROM json_each(?))"
FEW = 200  # spans asked one by one: 1 ms
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


def among(db: Connection, folder: FolderRow, spans: Sequence[tuple[int, int]], most: int) -> list[int]:
    """The UIDs within `spans` whose files are not read yet, ascending, the first so many. For more than `FEW` spans all
    that are left are looked at: in a thread."""
    found: list[int] = []
    if len(spans) <= FEW:
        for first, last in spans:
            found += _uids(db, folder, first, last, most - len(found))
            if len(found) >= most:
                break
        return found
    left = _uids(db, folder, spans[0][0], spans[-1][1], -1)
    for low, high in spans:
        found += left[bisect_left(left, low) : bisect_right(left, high)]
        if len(found) >= most:
            break
    return found[:most]


def _uids(db: Connection, folder: FolderRow, first: int, last: int, most: int) -> list[int]:
    rows = db.all(
        f"SELECT key & {UID_MASK} FROM messages INDEXED BY messages_unscanned "  # noqa: S608 - constants
        "WHERE email_id = '' AND folder = ? AND key BETWEEN ? AND ? ORDER BY key LIMIT ?",
        (folder.number, key(folder.number, first), key(folder.number, last), most),
    )
    return [uid for (uid,) in rows]


def count(db: Connection, folder: FolderRow | None = None) -> int:
    """Of the whole account, or of a folder."""
    question = "SELECT count(*) FROM messages INDEXED BY messages_unscanned WHERE email_id = ''"
    if folder is None:
        return int(db.value(question))
    return int(db.value(f"{question} AND folder = ?", (folder.number,)))


def scan(transaction: Transaction, folder_id: str, start: int, last: int) -> None:
    """The first of those from UID `start` to `last` that are not read yet. There are fewer of them when it returns.
    Raises OSError where the machine is the cause that the first cannot be read, StorageError."""
    row = transaction.folder(folder_id)
    _scan(transaction, row, "key BETWEEN ? AND ?", (key(row.number, start), key(row.number, last)))


def scan_these(transaction: Transaction, folder_id: str, uids: Sequence[int]) -> None:
    """The same of these UIDs."""
    row = transaction.folder(folder_id)
    _scan(transaction, row, THESE, (_keys(row, uids),))


def _scan(transaction: Transaction, row: FolderRow, chosen: str, values: tuple[object, ...]) -> None:
    for _ in range(2):
        found = _rows(transaction.db, f"{chosen} ORDER BY key", (row.number, *values))
        done = _read_all(transaction, row, found)
        if done.read or not done.missing:
            return
        scan_folder(transaction, row.id, Trust.WHOLE)  # it was removed by hand, or got other letters
    raise StorageError("the message cannot be read", code="storage-odd-file")


def take(transaction: Transaction, folder_id: str, read: Mapping[int, tuple[str, Prepared | None]]) -> list[int]:
    """What others read for us: by UID, the name of the file and what it told. The UIDs of what could not be taken: it
    was not read, it has another name by now, or is no plain file of ours."""
    row = transaction.folder(folder_id)
    told: dict[int, tuple[str, Prepared]] = {}
    left: list[int] = []
    for item in _rows(transaction.db, f"{THESE} ORDER BY key", (row.number, _keys(row, list(read))), most=len(read)):
        name, prepared = read[item.uid]
        if prepared is None or name != item.name or not _is_ours(transaction, row, name):
            left.append(item.uid)
        else:
            told.setdefault(item.content, (item.thread, prepared))
    with consistent():
        records.complete(transaction.db, told)
    return left


def _is_ours(transaction: Transaction, row: FolderRow, name: str) -> bool:
    try:
        status = transaction.fs.stat(transaction.cur(row), name)
    except OSError:
        return False
    return transaction.fs.is_plain(status) and status.st_uid == transaction.handle.owner


def scan_behind(transaction: Transaction, place: Place, *, again: bool = False) -> Place | None:
    """The next ones of the account that are not read yet, or could not be read and are tried `again`; how far we are
    then, None at the end. Where the machine is the cause that one cannot be read, it is passed over."""
    db, number, below = transaction.db, place.folder, place.below
    which = "messages_unreadable WHERE email_id = '?'" if again else "messages_unscanned WHERE email_id = ''"
    while not (found := _rows(db, "key < ? ORDER BY key DESC", (number, below), which)):
        number = db.value(f"SELECT min(folder) FROM messages INDEXED BY {which} AND folder > ?", (number,))  # noqa: S608 - constants
        if number is None:
            return None
        below = key(number + 1, 0)
    row = transaction.folder(str(db.value("SELECT id FROM folders WHERE number = ?", (number,))))
    done = _read_all(transaction, row, found, behind=True, again=again)
    if done.missing and _is_there(transaction, row):  # else a folder removed by hand would keep others from being read
        scan_folder(transaction, row.id, Trust.WHOLE)
    return Place(number, key(number, found[done.seen - 1].uid))


def _is_there(transaction: Transaction, row: FolderRow) -> bool:
    return transaction.fs.exists(transaction.handle.root, f"{row.directory}/cur".lstrip("/"))


def try_again(transaction: Transaction, folder_id: str, uids: Sequence[int]) -> int:
    """Those of `uids` that could not be read, as many as one turn allows; how many of them can be."""
    row = transaction.folder(folder_id)
    which = "messages_unreadable WHERE email_id = '?'"
    found = _rows(transaction.db, f"{THESE} ORDER BY key", (row.number, _keys(row, uids)), which)
    return _read_all(transaction, row, found, behind=True, again=True).read


def _keys(row: FolderRow, uids: Sequence[int]) -> str:
    """For `THESE`."""
    return json.dumps([key(row.number, uid) for uid in uids])


def _rows(
    db: Connection,
    chosen: str,
    values: tuple[object, ...],
    which: str = "messages_unscanned WHERE email_id = ''",
    most: int = 0,
) -> list[_Named]:
    """At most `TURN`, or `most`."""
    rows = db.all(
        f"SELECT key & {UID_MASK}, name, thread_id, internal_date, content FROM messages INDEXED BY {which} "  # noqa: S608 - constants
        f"AND folder = ? AND {chosen} LIMIT {most or TURN}",
        values,
    )
    return [_Named(*each) for each in rows]


@dataclass(slots=True)
class _Done:
    seen: int = 0  # of those that were to be read
    read: int = 0
    missing: bool = False  # a file was not there


def _read_all(
    transaction: Transaction, row: FolderRow, found: Sequence[_Named], *, behind: bool = False, again: bool = False
) -> _Done:
    """As many of `found` as one turn allows, and their rows. One whose file cannot be read is marked (`again`: it is).
    An error of the machine's ends it, and is raised from the first one; `behind`, it is passed over."""
    done, octets = _Done(), TURN_OCTETS
    read: dict[int, tuple[str, Prepared]] = {}  # by content, which copies share
    odd: dict[int, None] = {}  # likewise
    for item in found:
        if octets <= 0:
            break
        try:
            if item.content not in read and item.content not in odd:
                prepared = _prepared(transaction, row, item)
                octets -= prepared.size
                read[item.content] = item.thread, prepared
        except FileNotFoundError:
            done.missing = True
        except Exception as error:
            if isinstance(error, OSError) and not of_a_file(error):
                if not (behind or read or odd):
                    raise
                if not behind:
                    break
            else:
                odd[item.content] = None
                _tell(transaction, row, item, error, again=again)
        done.seen += 1
    with consistent():
        if again:
            records.unmark(transaction.db, list(read))
        elif odd:
            records.mark(transaction.db, list(odd), NO_FACTS)
        records.complete(transaction.db, read)
    done.read = len(read) + (0 if again else len(odd))
    return done


def _tell(transaction: Transaction, row: FolderRow, item: _Named, error: Exception, *, again: bool) -> None:
    """In the log, the first time. What our reader stumbles over is as unreadable as what the disk does not give."""
    told = {"account": transaction.handle.ref.id, "folder": row.id, "uid": item.uid, "file": item.name}
    if again:
        return
    if isinstance(error, OSError | MailError):
        log.warning("store-message-unread", **told, cause=str(error))
    else:
        log.exception("store-message-unread", **told)


def _prepared(transaction: Transaction, row: FolderRow, item: _Named) -> Prepared:
    """Whatever the file holds now: its name told another size only if somebody changed it, which `verify` finds."""
    fs, cur = transaction.fs, transaction.cur(row)
    status = fs.stat(cur, item.name)
    if not fs.is_plain(status) or status.st_uid != transaction.handle.owner:
        raise PermissionError(errno.EPERM, "not a plain file of ours")
    with fs.turn.given() if status.st_size > IN_MEMORY else contextlib.nullcontext():
        return adopt.prepared_file(transaction.tools, cur, item.name, status.st_size, item.date)
