"""One folder's files against its rows and its journal: every name in cur/ and new/ gets its place.

A message of ours without a row is read again under the UID its name tells, or, where that means another or is not
believed, renamed to the next one; other letters are adopted; a removed one is unlinked; what is not ours is adopted as
a new message (`store.adopt`); rows without a file vanish. UIDs never come back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

import core.log
from store import adopt, catalog, contents, journal, records
from store.catalog import FolderRow
from store.journal import Journal
from store.names import KEYWORD_LETTERS, FileName, is_delivery, parse, unique_of
from store.records import Prepared, Record
from store.schema import UID_MASK, key, signed, unsigned
from store.transaction import Transaction
from store.trust import Trust

log = core.log.get(__name__)

COMMIT_EVERY = 1000  # messages read between commits of a rebuild, to bound the WAL
_NAMED_BITS = (1 << KEYWORD_LETTERS) - 1


@dataclass(frozen=True, slots=True)
class _Known:
    uid: int
    name: str
    flags: int
    keywords: int
    size: int


def scan_folder(transaction: Transaction, folder_id: str, trust: Trust) -> None:
    """Every name in cur/ and new/ against the rows and the journal."""
    row = transaction.folder(folder_id)
    with transaction.directory(row) as fd:
        told = journal.read(transaction.fs, fd)
    known = _rows(transaction, row)
    doomed = {
        name
        for (name,) in transaction.db.all(
            "SELECT name FROM doomed WHERE key BETWEEN ? AND ?", (key(row.number, 0), key(row.number, UID_MASK))
        )
    }
    names = set(transaction.fs.names(transaction.cur(row)))
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
        self._modseq = 0 if self._believes_rows else self._first_modseq()
        self._foreign: list[str] = []
        self._misnumbered: list[tuple[FileName, str]] = []
        self._new: dict[int, tuple[FileName, str]] = {}  # by UID
        self._seen: set[int] = set()
        self._leftovers: set[int] = set()

    def _first_modseq(self) -> int:
        """The floor, unless rows hold flags that no file name tells: were they lost next time, the floor alone would
        not tell clients so."""
        unwritten = "SELECT 1 FROM messages WHERE folder = ? AND unwritten LIMIT 1"
        if self.transaction.db.value(unwritten, (self.row.number,)) is None:
            return self.row.modseq
        return self.transaction.next_modseq(self.row)

    @property
    def modseq(self) -> int:
        if not self._modseq:
            self._modseq = self.transaction.next_modseq(self.row)
        return self._modseq

    def match(self, names: set[str]) -> None:
        present = {item.name for item in self.known.values() if item.uid not in self.told.removed} & names
        self._seen.update(uid for uid, item in self.known.items() if item.name in present)
        for name in sorted(names - present):
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
            self._misnumbered.append((made, name))
        elif made.uid in self.known and _base(self.known[made.uid].name) == made.base:
            self._adopt_letters(self.known[made.uid], made, name)
        elif self._was_expunged(made.uid) or (made.uid in self.known and self._believes_rows):
            self._misnumbered.append((made, name))
        else:
            self._new[made.uid] = (made, name)

    @property
    def _believes_rows(self) -> bool:
        return self.trust in (Trust.WHOLE, Trust.TOUCHED)

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
        return bool(self.transaction.db.value("SELECT 1 FROM expunged WHERE key = ?", (key(self.row.number, uid),)))

    def _adopt_letters(self, item: _Known, made: FileName, name: str) -> None:
        """Letters differ from those we last wrote: an outside change or a lost index tail; the disk wins."""
        bits = item.keywords & ~_NAMED_BITS | made.keywords & self._named
        self._seen.add(item.uid)
        self.transaction.db.run(
            "UPDATE messages SET name = ?, flags = ?, keywords = ?, modseq = ?, unwritten = 0 WHERE key = ?",
            (name, made.flags, signed(bits), self.modseq, key(self.row.number, item.uid)),
        )

    def finish(self) -> None:
        new = [self._new[uid] for uid in sorted(self._new)]
        for count, ((made, name), ahead) in enumerate(zip(new, self._read_ahead(new), strict=True), 1):
            self._add(made, name, ahead)
            if not self._believes_rows and count % COMMIT_EVERY == 0:
                self.transaction.pause()
        self._drop_missing()
        for made, name in self._misnumbered:
            self._renumber(made, name)
        adopt.adopt_all(self.transaction, self.row, self._foreign)
        if not self._believes_rows:
            self._take_journalled()
            self._forget_modseqs()
        self._recount()
        catalog.update(self.transaction.db, self.row)

    def _read_ahead(self, new: list[tuple[FileName, str]]) -> Iterable[Prepared | None]:
        """What other processes read of these files; None for each where there are no such processes."""
        readers = self.transaction.tools.readers
        if readers is None or not readers.wanted(len(new)):
            return [None] * len(new)
        path = self.transaction.fs.real_path(self.transaction.cur(self.row))
        return (prepared for _, prepared in readers.read(path, [name for _, name in new]))

    def _add(self, made: FileName, name: str, ahead: Prepared | None) -> None:
        """A message of ours without a row."""
        transaction, row = self.transaction, self.row
        status = self._whole(made, name)
        if status is None:
            return
        if made.uid < row.uidnext and self._believes_rows:
            self._misnumbered.append((made, name))
            return
        date = int(status.st_mtime)
        told = ahead is not None and (ahead.size, ahead.internal_date) == (made.size, date)
        prepared = (
            ahead
            if ahead and told
            else adopt.prepared_file(transaction.tools, transaction.cur(row), name, made.size, date)
        )
        bits = made.keywords & self._named | self.told.keywords.get(made.uid, 0) & ~_NAMED_BITS
        thread = self.told.threads.get(made.uid) or records.derived_thread(prepared.facts, prepared.email_id)
        if made.uid in self.known:  # the row told of another message under this UID: the file is the truth
            old = self.known.pop(made.uid)
            self._forget_delivery(old)
            transaction.expunge_row(row, old.uid, "", old.flags, old.size, self.modseq)
        contents.make_way(transaction.db, key(row.number, made.uid))
        record = Record(made.uid, name, made.flags, bits, self.modseq, made.saved, thread, prepared)
        records.insert(transaction.db, row, record)
        row.uidnext = max(row.uidnext, made.uid + 1)
        self._remember_delivery(made)
        transaction.hint(row)

    def _whole(self, made: FileName, name: str) -> os.stat_result | None:
        """None for what is left alone; another size than its name tells makes it foreign (row 110)."""
        transaction = self.transaction
        status = transaction.fs.stat(transaction.cur(self.row), name)
        if not transaction.fs.is_plain(status) or status.st_uid != transaction.handle.owner:
            log.warning("store-odd-file", account=transaction.handle.ref.id, folder=self.row.id, uid=made.uid)
            return None
        if status.st_size != made.size:
            self._foreign.append(name)
            return None
        return status

    def _renumber(self, made: FileName, name: str) -> None:
        """It gets the next UID by a rename, which is there or not: however often this is cut off, it stays one message,
        and its redelivery is recognised. While nothing was cut off only another program's hands can have brought it
        here: what may be held elsewhere, too, is copied (row 109)."""
        transaction, row = self.transaction, self.row
        status = self._whole(made, name)
        if status is None:
            return
        if self.trust is Trust.WHOLE and status.st_nlink > 1:
            self._foreign.append(name)
            return
        found = replace(made, uid=transaction.allocate(row, 1))
        transaction.rename(row, name, str(found))
        prepared = adopt.prepared_file(
            transaction.tools, transaction.cur(row), str(found), made.size, int(status.st_mtime)
        )
        thread = records.derived_thread(prepared.facts, prepared.email_id)
        bits, modseq = made.keywords & self._named, transaction.next_modseq(row)
        records.insert(
            transaction.db, row, Record(found.uid, str(found), made.flags, bits, modseq, made.saved, thread, prepared)
        )
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

    def _take_journalled(self) -> None:
        """Keywords past 26 of rows that may be old: what no name tells the journal does, unless the row is newer."""
        wanted = [(signed(bits & ~_NAMED_BITS), uid) for uid, bits in self.told.keywords.items() if uid in self.known]
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
        status = self.transaction.fs.status(self.transaction.cur(row))
        row.changed = status.st_mtime_ns


def _base(name: str) -> str:
    return name.partition(":2,")[0]
