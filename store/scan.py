"""One folder's files against its rows and its journal: every name in cur/ and new/ gets its place.

A message of ours without a row is read under the UID its name tells (where many are without, as when no row is
believed, its name is enough for now: `store.unscanned`), or, where that means another or is not believed, renamed to
the next one; other letters are adopted; a removed one is unlinked; what is not ours is adopted as
a new message (`store.adopt`); rows without a file vanish. UIDs never come back.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from store import adopt, catalog, contents, journal, odd, records, stage
from store.catalog import FolderRow
from store.faults import before_changes, of_a_file
from store.journal import Journal
from store.names import KEYWORD_LETTERS, FileName, believed, is_delivery, parse, unique_of
from store.records import Prepared, Record
from store.schema import UID_MASK, key, signed, unsigned
from store.transaction import Transaction
from store.trust import Trust

COMMIT_EVERY = 10_000  # messages between commits where no row is believed, to bound the WAL
ADDED_AT_ONCE = 500
MANY = 1_000  # messages of a writer that died: more are not read while the account waits
SORTED_AT_ONCE = 5_000  # names; some 2 ms
T = TypeVar("T", str, int)
_NAMED_BITS = (1 << KEYWORD_LETTERS) - 1


@dataclass(frozen=True, slots=True)
class _Known:
    uid: int
    name: str
    flags: int
    keywords: int
    size: int


def scan_folder(transaction: Transaction, folder_id: str, trust: Trust) -> None:
    """Every name in cur/ and new/ against the rows and the journal. Raises UnopenedError."""
    row = transaction.folder(folder_id)
    transaction.refuse_unopened(row)
    with before_changes():
        with transaction.directory(row) as fd:
            told = journal.read(transaction.fs, fd)
        names = set(transaction.fs.names(transaction.cur(row)))
    transaction.handle.left_in_cur.pop(row.id, None)
    known = _rows(transaction, row)
    doomed = {
        name
        for (name,) in transaction.db.all(
            "SELECT name FROM doomed WHERE key BETWEEN ? AND ?", (key(row.number, 0), key(row.number, UID_MASK))
        )
    }
    octets, messages = transaction.octets - row.size, transaction.messages - row.messages
    scan = _Scan(transaction, row, told, known, trust)
    scan.match(names - doomed)
    scan.finish()
    transaction.octets, transaction.messages = octets + row.size, messages + row.messages


def _rows(transaction: Transaction, row: FolderRow) -> dict[int, _Known]:
    rows = transaction.db.all(
        f"SELECT key & {UID_MASK}, name, flags, keywords, size FROM messages WHERE key BETWEEN ? AND ?",  # noqa: S608 - constants
        (key(row.number, 0), key(row.number, UID_MASK)),
    )
    return {uid: _Known(uid, name, flags, unsigned(bits), size) for uid, name, flags, bits, size in rows}


class _Scan:
    """One look at one folder. `modseq` is taken at the first change, so a look that finds nothing costs none."""

    def __init__(
        self, transaction: Transaction, row: FolderRow, told: Journal, known: dict[int, _Known], trust: Trust
    ) -> None:
        self.transaction, self.row, self.told, self.known, self.trust = transaction, row, told, known, trust
        self._believes_rows = trust in (Trust.WHOLE, Trust.TOUCHED)
        self._by_name = not self._believes_rows  # files of messages without a row are read behind
        expunged = "SELECT 1 FROM expunged WHERE folder = ? LIMIT 1"
        self._any_expunged = transaction.db.value(expunged, (row.number,)) is not None
        self._modseq = 0 if self._believes_rows else self._first_modseq()
        self._foreign: list[str] = []
        self._misnumbered: list[tuple[FileName, str]] = []
        self._new: dict[int, str] = {}  # by UID; a hundred thousand names taken apart make the collector stop everybody
        self._seen: set[int] = set()
        self._adopted: dict[int, str] = {}  # of these, the names whose letters were
        self._leftovers: set[int] = set()

    def _first_modseq(self) -> int:
        """The floor, unless rows hold flags that no file name tells: were they lost next time, the floor alone would
        not tell clients so. A directory that was copied by hand, and begins anew, has its original's journal: what
        comes here is newer than the names that this tells of."""
        unwritten = "SELECT 1 FROM messages WHERE folder = ? AND unwritten LIMIT 1"
        known = self.transaction.db.value(unwritten, (self.row.number,)) is None
        if known and self.row.modseq >= self.told.named:
            return self.row.modseq
        self.row.modseq = max(self.row.modseq, self.told.named)
        return self.transaction.next_modseq(self.row)

    @property
    def modseq(self) -> int:
        if not self._modseq:
            self._modseq = self.transaction.next_modseq(self.row)
        return self._modseq

    def match(self, names: set[str]) -> None:
        present = {item.name for item in self.known.values() if item.uid not in self.told.removed} & names
        self._seen.update(uid for uid, item in self.known.items() if item.name in present)
        for name in _in_order(names - present):
            self._sort_out(name)

    def _sort_out(self, name: str) -> None:
        """A name no row has: other letters, a message without a row or under a UID that cannot be its own, a removed
        one, or a foreign file."""
        made = parse(name)
        if made is None:
            self._foreign.append(name)
        elif made.uid in self.told.removed:
            self._remove_leftover(made.uid, name)
        elif made.uid in self._seen or made.uid in self._new:
            self._misnumbered.append(self._lesser(made, name))
        elif made.uid in self.known and _base(self.known[made.uid].name) == made.base:
            self._adopt_letters(self.known[made.uid], made, name)
        elif self._was_expunged(made.uid) or (made.uid in self.known and self._believes_rows):
            self._misnumbered.append((made, name))
        elif made.uid not in self.known and not believed(made.uid, max(self.row.uidnext, self.row.uid_floor)):
            self.transaction.handle.tell_once("store-odd-uid", made.base, folder=self.row.id, file=f"cur/{name}")
            self._misnumbered.append((made, name))
        else:
            self._new[made.uid] = name

    def _lesser(self, made: FileName, name: str) -> tuple[FileName, str]:
        """Of two files under one UID the one that cannot keep it: the second, unless it is the same message under other
        letters, and the first can be none."""
        first = self._new.get(made.uid) or self._adopted.get(made.uid, "")
        if _base(first) != made.base or not self._is_odd(made.size, first):
            return made, name
        if made.uid in self._new:
            self._new[made.uid] = name
        else:
            self._adopt_letters(self.known[made.uid], made, name)
        return parse(first) or made, first

    def _is_odd(self, size: int, name: str) -> bool:
        try:
            status = self.transaction.fs.stat(self.transaction.cur(self.row), name)
        except OSError:  # who reads it is told
            return False
        return bool(odd.stranger(status, self.transaction.handle.owner)) or status.st_size != size

    @property
    def _named(self) -> int:
        """Bits of the keywords this folder has; other letters mean nothing here."""
        return (1 << len(self.row.keywords)) - 1

    def _remove_leftover(self, uid: int, name: str) -> None:
        """Journalled as removed, but the file outlived the crash."""
        self.transaction.touch(self.row)
        self.transaction.db.run("INSERT OR REPLACE INTO doomed VALUES (?,?)", (key(self.row.number, uid), name))
        self._leftovers.add(uid)
        self.transaction.handle.dirty = True

    def _was_expunged(self, uid: int) -> bool:
        """A UID never comes back, whatever name a file bears (promise P4)."""
        question = "SELECT 1 FROM expunged WHERE key = ?"
        return self._any_expunged and bool(self.transaction.db.value(question, (key(self.row.number, uid),)))

    def _adopt_letters(self, item: _Known, made: FileName, name: str) -> None:
        """Letters differ from those we last wrote: an outside change or a lost index tail; the disk wins. Of keywords
        that have no letters a row that is believed may know more than the journal does yet."""
        journalled = self._journalled(item.uid)
        others = item.keywords & ~_NAMED_BITS if self._believes_rows or not self.told.named else journalled
        bits = others | made.keywords & self._named
        unwritten = self._believes_rows and others != journalled
        self._seen.add(item.uid)
        self._adopted[item.uid] = name
        self.transaction.db.run(
            "UPDATE messages SET name = ?, flags = ?, keywords = ?, modseq = ?, unwritten = ? WHERE key = ?",
            (name, made.flags, signed(bits), self.modseq, unwritten, key(self.row.number, item.uid)),
        )

    def _journalled(self, uid: int) -> int:
        """Keywords past 26."""
        return self.told.keywords.get(uid, 0) & ~_NAMED_BITS

    def finish(self) -> None:
        self._by_name |= self.trust is Trust.TOUCHED and len(self._new) > MANY
        new = [self._new[uid] for uid in _in_order(self._new)]
        for start in range(0, len(new), ADDED_AT_ONCE):
            if start and start % COMMIT_EVERY == 0 and not self._believes_rows:
                self.transaction.pause()
            self._add(new[start : start + ADDED_AT_ONCE])
        self._drop_missing()
        self.row.uidnext = max(self.row.uidnext, self.told.highest + 1)  # after those that came to have their names
        for made, name in self._misnumbered:
            self._renumber(made, name)
        adopt.adopt_all(self.transaction, self.row, self._foreign)
        if not self._believes_rows:
            self._take_named()
            self._take_journalled()
            self._forget_modseqs()
        self._recount()
        catalog.update(self.transaction.db, self.row)

    def _add(self, names: Sequence[str]) -> None:
        """Messages of ours without a row."""
        told = ((parse(name), name) for name in names)
        found = [record for made, name in told if made is not None and (record := self._record(made, name))]
        self._insert(found)

    def _insert(self, found: Sequence[Record]) -> None:
        """What was read, and what is known by its name."""
        if records.insert_all(self.transaction.db, self.row, found):
            self.transaction.handle.unscanned = True

    def _record(self, made: FileName, name: str) -> Record | None:
        transaction, row, date = self.transaction, self.row, made.saved
        try:
            status = self._whole(made, name)
        except OSError as error:  # known by its name, which tells the rest: else clients would hear that it is gone
            if not of_a_file(error):
                raise
        else:
            if status is None:
                return None
            date = int(status.st_mtime)
        if made.uid < row.uidnext and self._believes_rows:
            self._misnumbered.append((made, name))
            return None
        prepared = self._prepared(made, name, date)
        bits = made.keywords & self._named | self._journalled(made.uid)
        thread = self.told.threads.get(made.uid, "")
        if prepared.email_id:
            thread = thread or records.derived_thread(prepared.facts, prepared.email_id)
        if made.uid in self.known:  # the row told of another message under this UID: the file is the truth
            old = self.known.pop(made.uid)
            self._forget_delivery(old)
            transaction.expunge_row(row, old.uid, "", old.flags, old.size, self.modseq)
        if self.trust is not Trust.NOTHING:
            contents.make_way(transaction.db, key(row.number, made.uid))
        row.uidnext = max(row.uidnext, made.uid + 1)
        self._remember_delivery(made)
        transaction.hint(row)
        return Record(made.uid, name, made.flags, bits, self.modseq, made.saved, thread, prepared)

    def _prepared(self, made: FileName, name: str, date: int) -> Prepared:
        """A file that cannot be read is known by its name, too: it must not keep the account from its holder."""
        if not self._by_name:
            cur = self.transaction.cur(self.row)
            try:
                return adopt.prepared_file(self.transaction.tools, cur, name, made.size, date)
            except OSError as error:
                if not of_a_file(error):
                    raise
        return Prepared(made.size, "", date, stage.NO_FACTS)

    def _whole(self, made: FileName, name: str) -> os.stat_result | None:
        """None for what is left alone; another size than its name tells makes it foreign (row 110). Raises OSError."""
        transaction = self.transaction
        status = transaction.fs.stat(transaction.cur(self.row), name)
        why = odd.stranger(status, transaction.handle.owner)
        if why:
            self._leave(made, name, why)
            transaction.handle.leave_in_cur(self.row.id, name, status)
            return None
        if status.st_size != made.size:
            self._foreign.append(name)
            return None
        return status

    def _leave(self, made: FileName, name: str, why: str) -> None:
        """Told in the log."""
        told, file = f"{self.row.id}/cur/{name}", f"cur/{name}"
        self.transaction.handle.tell_once(
            "store-odd-file", told, folder=self.row.id, uid=made.uid, file=file, reason=why
        )

    def _renumber(self, made: FileName, name: str) -> None:
        """It gets the next UID by a rename, which is there or not: however often this is cut off, it stays one message,
        and its redelivery is recognised. While nothing was cut off only another program's hands can have brought it
        here: what may be held elsewhere, too, is copied (row 109)."""
        transaction, row = self.transaction, self.row
        try:
            status = self._whole(made, name)
        except OSError as error:
            if not of_a_file(error):
                raise
            self._leave(made, name, f"cannot be read: {error.strerror or error}")
            return
        if status is None:
            return
        if self.trust is Trust.WHOLE and status.st_nlink > 1:
            self._foreign.append(name)
            return
        found = replace(made, uid=transaction.allocate(row, 1))
        transaction.rename(row, name, str(found))
        prepared = self._prepared(made, str(found), int(status.st_mtime))
        thread = records.derived_thread(prepared.facts, prepared.email_id) if prepared.email_id else ""
        bits, modseq = made.keywords & self._named, transaction.next_modseq(row)
        self._insert([Record(found.uid, str(found), made.flags, bits, modseq, made.saved, thread, prepared)])
        self._remember_delivery(found)

    def _remember_delivery(self, made: FileName) -> None:
        if is_delivery(made.unique):
            self.transaction.db.run(
                "INSERT OR IGNORE INTO deliveries VALUES (?,?,?,?,?,?)",
                (made.unique, self.row.id, self.row.uidvalidity, made.uid, self.modseq, made.saved),
            )

    def _forget_delivery(self, item: _Known) -> None:
        """A row that is not believed, whose file went without a word in the journal: its delivery may have been taken
        back, and is to be made when it comes again (promise P1)."""
        if not self._believes_rows and item.uid not in self.told.removed:
            self.transaction.db.run(
                "DELETE FROM deliveries WHERE id = ? AND folder = ? AND uid = ?",
                (unique_of(item.name), self.row.id, item.uid),
            )

    def _drop_missing(self) -> None:
        """Rows whose file is gone, and rows the journal knows as removed."""
        gone = [item for uid, item in self.known.items() if uid not in self._seen and uid not in self._new]
        for item in gone:
            # Where a file of it was met, that one's name is known, not the one an old row tells.
            keep = item.name if item.uid in self.told.removed and item.uid not in self._leftovers else ""
            self._forget_delivery(item)
            self.transaction.expunge_row(self.row, item.uid, keep, item.flags, item.size, self.modseq)

    def _take_named(self) -> None:
        """Flags that rows hold as newer than the names, and that were in the names long ago: the rows are older."""
        rows = self.transaction.db.all(
            "SELECT key, name FROM messages WHERE folder = ? AND unwritten AND modseq <= ?",
            (self.row.number, self.told.named),
        )
        told = [(made, row_key) for row_key, name in rows if (made := parse(name)) is not None]
        self.transaction.db.many(
            "UPDATE messages SET flags = ?, keywords = ?, unwritten = 0 WHERE key = ?",
            [
                (made.flags, signed(made.keywords & self._named | self._journalled(row_key & UID_MASK)), row_key)
                for made, row_key in told
            ],
        )

    def _take_journalled(self) -> None:
        """Keywords past 26 of rows that may be old: what no name tells the journal does, unless the row is newer. Of
        those whose last one was taken off, a journal that was written again since tells nothing."""
        wanted = [(signed(self._journalled(uid)), uid) for uid in self.told.keywords if uid in self.known]
        silent = self.transaction.db.all(
            f"SELECT key & {UID_MASK} FROM messages "  # noqa: S608 - constants
            f"WHERE folder = ? AND NOT unwritten AND modseq <= ? AND keywords & ~{_NAMED_BITS} <> 0",
            (self.row.number, self.told.named),
        )
        wanted += [(0, uid) for (uid,) in silent if uid not in self.told.keywords]
        self.transaction.db.many(
            f"UPDATE messages SET keywords = keywords & {_NAMED_BITS} | ?1 "  # noqa: S608 - a constant
            f"WHERE key = ?2 AND NOT unwritten AND keywords & ~{_NAMED_BITS} <> ?1",
            [(bits, key(self.row.number, uid)) for bits, uid in wanted],
        )

    def _forget_modseqs(self) -> None:
        """No mod-sequence is believed: all messages get the floor, older expunges are not remembered one by one."""
        row = self.row
        self.transaction.db.run(
            "UPDATE messages SET modseq = ? WHERE folder = ? AND modseq <> ?", (row.modseq, row.number, row.modseq)
        )
        self.transaction.db.run("DELETE FROM expunged WHERE folder = ?", (row.number,))
        row.forgotten = row.modseq

    def _recount(self) -> None:
        row = self.row
        row.messages, row.unseen, row.deleted, row.size, highest = records.counted(self.transaction.db, row)
        row.uidnext = max(row.uidnext, highest + 1)
        self.transaction.cover(row)
        self.transaction.looked_at(row)


def _in_order(values: Collection[T]) -> Iterable[T]:
    """Ascending. Many are sorted in pieces: one long call of it would make the event loop wait (promise P7)."""
    left = iter(values)
    pieces = list(iter(lambda: sorted(islice(left, SORTED_AT_ONCE)), []))
    return pieces[0] if len(pieces) == 1 else heapq.merge(*pieces)


def _base(name: str) -> str:
    return name.partition(":2,")[0]
