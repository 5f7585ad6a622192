"""The text index brought up to the index, a few messages at a time: each turn is one transaction and may be cut off.

Every message up to a folder's mark has its place; a turn moves marks on, then lets expunged messages go. It believes
UIDs as long as the index lives the same life (`store.schema`): after a recovery that believed no row, places are
compared by content first. Runs in a worker thread; somebody else's turn is left to him.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import core.log
from message import text, words
from message.words import Words
from store import catalog, records, unreadable, unscanned
from store.adopt import in_memory
from store.catalog import FolderRow
from store.faults import IndexDamagedError, translated
from store.handle import Handle, open_cur
from store.index import Connection
from store.schema import UID_MASK, key
from store.search import textfile
from store.stage import file_content

log = core.log.get(__name__)

MESSAGES = 64  # of one turn
OCTETS = 4 * 1024 * 1024  # likewise: a turn ends with the message that reaches it
_FORGET_PART = 2  # one part in so many of all documents ever held may be gone before all is made again
_FORGET_LEAST = 1000


class _OutwornError(Exception):
    """Most of the vocabulary belongs to messages that are gone: all is made again."""


class Progress(Enum):
    DONE = "done"
    MORE = "more"
    BUSY = "busy"  # another process is at it


@dataclass(frozen=True, slots=True)
class _New:
    uid: int
    email_id: str
    name: str
    size: int


def turn(handle: Handle) -> Progress:
    """One turn. A file that is damaged or of another version is thrown away. Raises StorageError."""
    try:
        with translated(), textfile.writing(handle) as db:
            if db is None:
                return Progress.BUSY
            with contextlib.closing(handle.index.another()) as index, index.reading():
                return _Turn(handle, db, index).run()
    except IndexDamagedError as error:
        log.warning("store-text-damaged", account=handle.ref.id, cause=str(error))
    except textfile.OtherVersionError as error:
        log.info("store-text-made-again", account=handle.ref.id, cause=str(error))
    except _OutwornError:
        pass
    textfile.discard(handle.fs, handle.root)
    return Progress.MORE


class _Turn:
    """`db` is the text index, inside a transaction; `index` one view of the index."""

    def __init__(self, handle: Handle, db: Connection, index: Connection) -> None:
        self._handle, self._db, self._index = handle, db, index
        self._room, self._octets = MESSAGES, OCTETS
        self._vocabulary: set[str] = set()

    def run(self) -> Progress:
        if unscanned.count(self._index):  # who has no email id yet cannot be compared
            return Progress.DONE
        life = str(self._index.value("SELECT life FROM state"))
        folders = [(row, self._numbered(row)) for row in catalog.everything(self._index)]
        if self._db.value("SELECT life FROM state") != life:
            for row, number in folders:
                self._compare(row, number)
            self._db.run("UPDATE state SET life = ?, loose = 1", (life,))
        for row, number in folders:
            self._take_read(row, number)
            self._advance(row, number)
        self._learn()
        if self._room <= 0 or self._octets <= 0:
            return Progress.MORE
        self._forget(folders)
        return Progress.DONE

    def _numbered(self, row: FolderRow) -> int:
        """Our number of a folder; one that has another UIDVALIDITY now begins anew."""
        known = self._db.one("SELECT number, uidvalidity FROM folders WHERE id = ?", (row.id,))
        if known is not None and known[1] == row.uidvalidity:
            return int(known[0])
        if known is not None:
            self._drop_folder(known[0])
        self._db.run(
            "INSERT INTO folders (id, uidvalidity, mark, modseq) VALUES (?,?,0,?)",
            (row.id, row.uidvalidity, row.modseq),
        )
        return int(self._db.value("SELECT last_insert_rowid()"))

    def _drop_folder(self, number: int) -> None:
        self._db.run("UPDATE state SET loose = 1")
        self._db.run("DELETE FROM places WHERE key BETWEEN ? AND ?", _span(number))
        self._db.run("DELETE FROM folders WHERE number = ?", (number,))

    # -- places against the index --------------------------------------------------------------------------------------

    def _compare(self, row: FolderRow, number: int) -> None:
        """Only places whose message has the content it had stay; the mark goes back to before the first that lacks
        one."""
        rows = self._index.all(
            f"SELECT key & {UID_MASK}, email_id FROM messages WHERE key BETWEEN ? AND ?",  # noqa: S608 - constants
            _span(row.number),
        )
        present: dict[int, str] = dict(rows)
        placed = self._db.all(
            f"SELECT key & {UID_MASK}, email_id FROM places JOIN docs USING (doc) WHERE key BETWEEN ? AND ?",  # noqa: S608 - constants
            _span(number),
        )
        kept = {uid for uid, email_id in placed if present.get(uid) == email_id}
        self._db.many("DELETE FROM places WHERE key = ?", [(key(number, uid),) for uid, _ in placed if uid not in kept])
        missing = min((uid for uid in present if uid not in kept), default=row.uidnext)
        self._db.run("UPDATE folders SET mark = ?, modseq = ? WHERE number = ?", (missing - 1, row.modseq, number))

    def _take_read(self, row: FolderRow, number: int) -> None:
        """Messages that could not be read when they got their place, and were read since."""
        doc = self._db.value("SELECT doc FROM docs WHERE email_id = ?", (unreadable.MARK,))
        if doc is None:
            return
        question = f"SELECT key & {UID_MASK} FROM places WHERE doc = ? AND key BETWEEN ? AND ?"  # noqa: S608 - constants
        for (uid,) in self._db.all(question, (doc, *_span(number))):
            told = self._index.one(
                "SELECT email_id, name, size FROM messages WHERE key = ? AND email_id <> ?",
                (key(row.number, uid), unreadable.MARK),
            )
            if told is not None and self._room > 0 and self._octets > 0:
                self._place(row, number, _New(uid, *told))
                self._db.run("UPDATE state SET loose = 1")

    def _advance(self, row: FolderRow, number: int) -> None:
        mark = int(self._db.value("SELECT mark FROM folders WHERE number = ?", (number,)))
        if self._room <= 0 or self._octets <= 0 or mark >= row.uidnext - 1:
            return
        found = self._index.all(
            f"SELECT key & {UID_MASK}, email_id, name, size FROM messages "  # noqa: S608 - constants
            "WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?",
            (key(row.number, mark + 1), key(row.number, UID_MASK), self._room),
        )
        for new in (_New(*each) for each in found):
            self._place(row, number, new)
            mark = new.uid
            if self._octets <= 0:
                break
        if self._room > 0 and self._octets > 0:
            mark = row.uidnext - 1
        self._db.run("UPDATE folders SET mark = ? WHERE number = ?", (mark, number))

    def _place(self, row: FolderRow, number: int, new: _New) -> None:
        doc = self._db.value("SELECT doc FROM docs WHERE email_id = ?", (new.email_id,))
        doc = self._add(row, new) if doc is None else doc
        self._db.run("INSERT OR REPLACE INTO places VALUES (?,?)", (key(number, new.uid), doc))
        self._room -= 1

    def _add(self, row: FolderRow, new: _New) -> int:
        found = self._words(row, new)
        self._db.run("INSERT INTO docs (email_id, partial) VALUES (?,?)", (new.email_id, not found.whole))
        doc = int(self._db.value("SELECT last_insert_rowid()"))
        columns = (found.head, found.body, found.head_grams, found.body_grams)
        self._db.run(
            "INSERT INTO text (rowid, head, body, head_grams, body_grams) VALUES (?,?,?,?,?)",
            (doc, *(" ".join(column) for column in columns)),
        )
        self._vocabulary |= found.head | found.body
        return doc

    def _words(self, row: FolderRow, new: _New) -> Words:
        """A message that cannot be read, or trips our reader up, is looked at whenever it is searched. All that bear
        the mark of the unreadable are one document."""
        if new.email_id == unreadable.MARK:
            return Words(whole=False)
        self._octets -= new.size
        try:
            with self._cur(row) as cur:
                return _read(self._handle, cur, new.name)
        except OSError:
            return Words(whole=False)
        except Exception:  # a bug met by one message must not keep the others from the index
            log.exception("store-text-unread", account=self._handle.ref.id, folder=row.id, uid=new.uid)
            return Words(whole=False)

    @contextlib.contextmanager
    def _cur(self, row: FolderRow) -> Iterator[int]:
        cur = open_cur(self._handle.fs, self._handle.root, row.directory)
        try:
            yield cur
        finally:
            self._handle.fs.close(cur)

    def _learn(self) -> None:
        """New words into the vocabulary, and their pieces with them."""
        last = self._db.value("SELECT coalesce(max(id), 0) FROM words")
        self._db.many("INSERT OR IGNORE INTO words (word) VALUES (?)", [(word,) for word in self._vocabulary])
        self._db.run("INSERT INTO grams (rowid, word) SELECT id, word FROM words WHERE id > ?", (last,))

    # -- what is gone --------------------------------------------------------------------------------------------------

    def _forget(self, folders: Sequence[tuple[FolderRow, int]]) -> None:
        """When all that came has its place, what was moved is known where it is now; the rest goes."""
        ours = {number for (number,) in self._db.all("SELECT number FROM folders")} - {number for _, number in folders}
        for number in ours:
            self._drop_folder(number)
        for row, number in folders:
            self._drop_expunged(row, number)
        if not self._db.value("SELECT loose FROM state"):
            return
        orphans = self._db.all("SELECT doc FROM docs WHERE doc NOT IN (SELECT doc FROM places)")
        self._db.many("DELETE FROM text WHERE rowid = ?", orphans)
        self._db.many("DELETE FROM docs WHERE doc = ?", orphans)
        self._db.run("UPDATE state SET loose = 0, removed = removed + ?", (len(orphans),))
        removed, present = self._db.value("SELECT removed FROM state"), self._db.value("SELECT count(*) FROM docs")
        if removed > _FORGET_LEAST and removed * _FORGET_PART > removed + present:
            raise _OutwornError

    def _drop_expunged(self, row: FolderRow, number: int) -> None:
        since = int(self._db.value("SELECT modseq FROM folders WHERE number = ?", (number,)))
        if since >= row.modseq:
            return
        uids = records.vanished_since(self._index, row, since, row.uidnext)
        self._db.many("DELETE FROM places WHERE key = ?", [(key(number, uid),) for uid in uids])
        self._db.run("UPDATE folders SET modseq = ? WHERE number = ?", (row.modseq, number))
        if uids:
            self._db.run("UPDATE state SET loose = 1")


def _read(handle: Handle, cur: int, name: str) -> Words:
    fs = handle.fs
    fd = fs.open_to_read(cur, name)
    try:
        content = in_memory(file_content(fs, fd, fs.status(fd).st_size))
        return words.gather(text.pieces(content, limits=handle.tools.limits))
    finally:
        fs.close(fd)


def _span(number: int) -> tuple[int, int]:
    return key(number, 0), key(number, UID_MASK)
