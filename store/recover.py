"""Index and files made to agree again: after a kill in the middle of a write, a power loss, an outside change, or with
no index at all.

The files are the truth. Three strengths: `look at the folders a dead writer had touched`; `look at everything and
believe no mod-sequence` (power loss, an older or foreign index: HIGHESTMODSEQ becomes modseq_floor, all messages get
it, expunges before it are forgotten one by one); `read every message` (no index), which is the second with no rows to
start from. UIDs come from file names, so clients download nothing again (promise P5).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import core.log
from store import adopt, catalog, folders, journal, layout, records, sidefile
from store.catalog import FolderRow
from store.handle import Handle, folder_directory
from store.journal import Journal
from store.lockfile import ALL, State, Word
from store.names import KEYWORD_LETTERS, FileName, directory_folder, is_delivery, parse
from store.records import Record
from store.schema import UID_MASK, key, signed, unsigned
from store.sidefile import FolderFile
from store.transaction import Transaction

log = core.log.get(__name__)

__all__ = ["Trust", "agree", "judge", "scan_folder"]
STALE = 86_400
COMMIT_EVERY = 1000  # messages read between commits of a rebuild, to bound the WAL
_NAMED_BITS = (1 << KEYWORD_LETTERS) - 1


class Trust(Enum):
    """How far the index can be believed when the lock is taken."""

    WHOLE = "whole"
    TOUCHED = "touched"  # a writer died: its folders must be looked at
    ROWS = "rows"  # rows may be old: every folder is looked at, no mod-sequence is believed
    NOTHING = "nothing"  # it was just made


def judge(word: Word | None, generation: int, clean: bool, boot: str) -> Trust:
    """The lock file's word against the index's own state; pure."""
    if word is None:
        return Trust.ROWS
    same_boot, same_index = word.boot == boot, word.generation == generation
    if word.state is State.CLEAN:
        return Trust.WHOLE if same_index and (clean or same_boot) else Trust.ROWS
    if not same_boot:
        return Trust.ROWS
    if word.state is State.BUSY:
        return Trust.TOUCHED if same_index or word.generation + 1 == generation else Trust.ROWS
    return Trust.WHOLE if same_index else Trust.ROWS


def agree(handle: Handle, *, found: bool = True) -> None:
    """Make the index true. Under the account lock; `found` False when the index was just made empty."""
    state = handle.writer.one("SELECT generation, clean FROM state")
    generation, clean = (int(state[0]), bool(state[1])) if state else (0, False)
    word = handle.lock.read()
    trust = judge(word, generation, clean, handle.tools.boot) if found else Trust.NOTHING
    if trust is Trust.WHOLE:
        return
    if word is not None:  # a new account has no past
        log.info("store-recovery", account=handle.ref.id, trust=trust.value)
    touched = word.folders if word is not None and trust is Trust.TOUCHED else (ALL,)
    next_generation = 1 + max(generation, word.generation if word else 0)
    with handle.writer.durable():
        _reconcile(handle, trust, touched, next_generation)
    handle.lock.write(Word(handle.tools.boot, next_generation, State.IDLE))
    handle.touched = handle.dirty = True


def _reconcile(handle: Handle, trust: Trust, touched: tuple[str, ...], generation: int) -> None:
    """In transactions of their own, which leave the lock's old word: cut off, it all begins again."""
    transaction = Transaction(handle, quiet=True)
    handle.writing.trim()
    handle.writer.run("BEGIN IMMEDIATE")
    try:
        if ALL in touched:
            _finish_rename(handle)
            _agree_on_folders(transaction, trust)
        for row in catalog.everything(handle.writer):
            if ALL in touched or str(row.number) in touched:
                scan_folder(transaction, row.id, trust)
        _count_account(transaction)
        handle.writer.run("UPDATE state SET generation = ?, clean = 0", (generation,))
        transaction.sync_links()
        handle.writer.run("COMMIT")
    except BaseException:
        if handle.writer.in_transaction:
            handle.writer.run("ROLLBACK")
        raise


# -- the set of folders ------------------------------------------------------------------------------------------------


def _finish_rename(handle: Handle) -> None:
    """A rename of several folders that was cut off is completed from its intent."""
    intent = sidefile.read_intent(handle.fs, handle.root)
    if intent is None:
        return
    for old, new, _name in intent.moves:
        if handle.fs.exists(handle.root, old) and not handle.fs.exists(handle.root, new):
            handle.fs.rename(handle.root, old, handle.root, new)
    handle.fs.sync(handle.root)
    sidefile.remove_intent(handle.fs, handle.root)


@dataclass(frozen=True, slots=True)
class _Found:
    """A folder on disk: its directory, its side file, its name."""

    directory: str
    file: FolderFile
    name: str


def _agree_on_folders(transaction: Transaction, trust: Trust) -> None:
    """Rows for the folders that are there, none for those that are not; identity as the side files tell it."""
    known = {row.id: row for row in catalog.everything(transaction.db)}
    found = {item.file.id: item for item in _folders_on_disk(transaction)}
    for row in known.values():
        if row.id not in found:
            catalog.delete(transaction.db, row)
    # Names and directories are unique: those that changed step aside before they take their new places.
    for row in known.values():
        if row.id in found and (row.name, row.directory) != (found[row.id].name, found[row.id].directory):
            row.name, row.directory = f"\0{row.id}", f"\0{row.id}"
            catalog.update(transaction.db, row)
    for item in found.values():
        row = known.get(item.file.id) or _new_row(transaction, item)
        _take_identity(row, item, trust)
        catalog.update(transaction.db, row)
    transaction.forget_rows()
    _sweep_tmp(transaction)


def _sweep_tmp(transaction: Transaction) -> None:
    """Temporary names that a crash left: nobody writes one for longer than a day."""
    fd = transaction.fs.open_directory(transaction.handle.root, "tmp")
    try:
        for name in transaction.fs.names(fd):
            if transaction.fs.stat(fd, name).st_mtime < transaction.now - STALE:
                transaction.fs.unlink(fd, name)
    finally:
        transaction.fs.close(fd)


def _folders_on_disk(transaction: Transaction) -> list[_Found]:
    fs, root = transaction.fs, transaction.handle.root
    found: dict[str, _Found] = {}
    for directory in ["", *sorted(name for name in fs.names(root) if name.startswith("."))]:
        if directory.startswith(".new."):
            layout.remove_tree(fs, root, directory)
            continue
        item = _folder_at(transaction, directory)
        if (
            item is not None and item.file.id in found
        ):  # a directory copied by hand: the copy becomes a folder of its own
            item = _with_new_identity(transaction, item)
        if item is not None:
            found[item.file.id] = item
    return list(found.values())


def _folder_at(transaction: Transaction, directory: str) -> _Found | None:
    """None for what is no folder: a symbolic link, a directory without cur/, a name that tells nothing."""
    try:
        with folder_directory(transaction.fs, transaction.handle.root, directory) as fd:
            if not transaction.fs.exists(fd, "cur"):
                return None
            file = sidefile.read_folder(transaction.fs, fd)
    except OSError as error:
        log.warning("store-odd-folder", account=transaction.handle.ref.id, directory=directory, cause=str(error))
        return None
    name = directory_folder(directory) or (file.name if file else "")
    if file is None and name:
        return _with_new_identity(transaction, _Found(directory, _blank(), name))
    return _Found(directory, file, name) if file and name else None


def _blank() -> FolderFile:
    return FolderFile(id="", uidvalidity=1, uid_floor=1, modseq_floor=1)


def _with_new_identity(transaction: Transaction, item: _Found) -> _Found:
    """The side file is lost: from the index if that still knows the directory, else a new UIDVALIDITY, higher than any
    before (RFC 9051 2.3.1.1)."""
    known = [row for row in catalog.everything(transaction.db) if row.directory == item.directory and not item.file.id]
    if known:
        row = known[0]
        file = FolderFile(
            row.id, row.uidvalidity, row.uid_floor, row.modseq_floor, row.special_use, row.subscribed, row.keywords
        )
    else:
        uidvalidity = folders.next_uidvalidity(transaction)
        use = layout.STANDARD.get(item.name, "")
        file = FolderFile(transaction.tools.ids.object_id(), uidvalidity, 1, 1, use, keywords=item.file.keywords)
    with folder_directory(transaction.fs, transaction.handle.root, item.directory) as fd:
        sidefile.write_folder(transaction.fs, fd, file)
    return _Found(item.directory, file, item.name)


def _new_row(transaction: Transaction, item: _Found) -> FolderRow:
    file = item.file
    row = FolderRow(
        number=0,
        id=file.id,
        name=item.name,
        directory=item.directory,
        uidvalidity=file.uidvalidity,
        uidnext=file.uid_floor,
        uid_floor=file.uid_floor,
        modseq=file.modseq_floor,
        modseq_floor=file.modseq_floor,
        forgotten=file.modseq_floor,
    )
    catalog.insert(transaction.db, row)
    return row


def _take_identity(row: FolderRow, item: _Found, trust: Trust) -> None:
    file = item.file
    row.name, row.directory, row.keywords = item.name, item.directory, file.keywords
    row.special_use, row.subscribed = file.special_use, file.subscribed
    if trust is not Trust.TOUCHED:
        row.uidvalidity = file.uidvalidity
        row.uid_floor, row.modseq_floor = file.uid_floor, file.modseq_floor
        row.uidnext = file.uid_floor
        row.modseq = row.forgotten = file.modseq_floor


def _count_account(transaction: Transaction) -> None:
    transaction.db.run(
        "UPDATE state SET octets = (SELECT coalesce(sum(size), 0) FROM folders), "
        "messages = (SELECT coalesce(sum(messages), 0) FROM folders)"
    )


# -- one folder --------------------------------------------------------------------------------------------------------


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
        f"SELECT key & {UID_MASK}, name, flags, keywords, size FROM messages WHERE key BETWEEN ? AND ?",  # noqa: S608
        (key(row.number, 0), key(row.number, UID_MASK)),
    )
    return {uid: _Known(uid, name, flags, unsigned(bits), size) for uid, name, flags, bits, size in rows}


class _Scan:
    """One look at one folder. `modseq` is taken at the first change, so a look that finds nothing costs none."""

    def __init__(
        self, transaction: Transaction, row: FolderRow, told: Journal, known: dict[int, _Known], trust: Trust
    ) -> None:
        self.transaction, self.row, self.told, self.known, self.trust = transaction, row, told, known, trust
        self._modseq = 0 if self._believes_rows else row.modseq
        self._foreign: list[str] = []
        self._new: list[tuple[FileName, str]] = []
        self._seen: set[int] = set()

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
        """A name no row has: other letters, a message without a row, a removed one, or a foreign file."""
        made = parse(name)
        if made is None:
            self._foreign.append(name)
        elif made.uid in self.told.removed:
            self._remove_leftover(made.uid, name)
        elif made.uid in self._seen or any(made.uid == other.uid for other, _ in self._new):
            self._foreign.append(name)
        elif made.uid in self.known and _base(self.known[made.uid].name) == made.base:
            self._adopt_letters(self.known[made.uid], made, name)
        elif self._was_expunged(made.uid) or (made.uid in self.known and self._believes_rows):
            self._foreign.append(name)
        else:
            self._new.append((made, name))

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
        for count, (made, name) in enumerate(sorted(self._new, key=lambda pair: pair[0].uid), 1):
            self._add(made, name)
            if not self._believes_rows and count % COMMIT_EVERY == 0:
                self.transaction.pause()
        self._drop_missing()
        adopt.adopt_all(self.transaction, self.row, self._foreign)
        if not self._believes_rows:
            self._forget_modseqs()
        self._recount()
        catalog.update(self.transaction.db, self.row)

    def _add(self, made: FileName, name: str) -> None:
        """A whole message of ours without a row. Another size than its name tells makes it foreign (row 110)."""
        transaction, row = self.transaction, self.row
        status = transaction.fs.stat(transaction.cur(row), name)
        if not transaction.fs.is_plain(status) or status.st_uid != transaction.handle.owner:
            log.warning("store-odd-file", account=transaction.handle.ref.id, folder=row.id, uid=made.uid)
            return
        if status.st_size != made.size or (made.uid < row.uidnext and self._believes_rows):
            self._foreign.append(name)
            return
        prepared = adopt.prepared_file(transaction, row, name, made.size, int(status.st_mtime))
        bits = made.keywords & self._named | self.told.keywords.get(made.uid, 0) & ~_NAMED_BITS
        thread = self.told.threads.get(made.uid) or records.derived_thread(prepared.facts, prepared.email_id)
        if made.uid in self.known:  # the row told of another message under this UID: the file is the truth
            old = self.known.pop(made.uid)
            transaction.expunge_row(row, old.uid, "", old.flags, old.size, self.modseq)
        record = Record(made.uid, name, made.flags, bits, self.modseq, made.saved, thread, prepared)
        records.insert(transaction.db, row, record)
        row.uidnext = max(row.uidnext, made.uid + 1)
        self._remember_delivery(made)
        transaction.hint(row)

    def _remember_delivery(self, made: FileName) -> None:
        if is_delivery(made.unique):
            self.transaction.db.run(
                "INSERT OR IGNORE INTO deliveries VALUES (?,?,?,?,?,?)",
                (made.unique, self.row.id, self.row.uidvalidity, made.uid, self.modseq, made.saved),
            )

    def _drop_missing(self) -> None:
        """Rows whose file is gone, and rows the journal knows as removed."""
        added = {made.uid for made, _ in self._new}
        gone = [item for uid, item in self.known.items() if uid not in self._seen and uid not in added]
        for item in gone:
            keep = item.name if item.uid in self.told.removed else ""
            self.transaction.expunge_row(self.row, item.uid, keep, item.flags, item.size, self.modseq)

    def _forget_modseqs(self) -> None:
        """No mod-sequence is believed: all messages get the floor, older expunges are not remembered one by one."""
        row = self.row
        self.transaction.db.run("UPDATE messages SET modseq = ? WHERE folder = ?", (row.modseq, row.number))
        self.transaction.db.run("DELETE FROM expunged WHERE folder = ?", (row.number,))
        row.forgotten = row.modseq

    def _recount(self) -> None:
        row = self.row
        row.messages, row.unseen, row.deleted, row.size, highest = records.counted(self.transaction.db, row)
        row.uidnext = max(row.uidnext, highest + 1)
        status = self.transaction.fs.status(self.transaction.cur(row))
        row.changed = status.st_mtime_ns


def _base(name: str) -> str:
    return name.partition(":2,")[0]
