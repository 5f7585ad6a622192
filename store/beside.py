"""An index made from the files while the account goes on: written beside the present one, then put into its place.

What is made here without the account's lock is what an older index would be: rows of files as they were met. Mail comes
and goes meanwhile, letters change. So the new index takes its place as an older one does that was brought back, under
the lock: every folder is looked at, the disk wins, no mod-sequence is believed (`store.recover`). That needs no reading
of messages but the few that came last, and it may be cut off at any point.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import apsw

from core.errors import StorageError
from store import adopt, catalog, copies, journal, leftovers, records
from store.copies import CopiedFolder
from store.faults import of_a_file
from store.fsops import FileSystem
from store.handle import Handle, folder_directory
from store.index import Connection, make_empty
from store.journal import Journal
from store.leftovers import INDEX, TMP
from store.names import KEYWORD_LETTERS, FileName, believed, is_delivery, parse
from store.records import Prepared, Record

TOGETHER = 250  # messages inserted at once: no more than the reading processes have ahead
FEW = 100  # messages that are left to be read under the lock
ROUNDS = 5  # over a folder, until few that came meanwhile are left
_NAMED_BITS = (1 << KEYWORD_LETTERS) - 1


@dataclass(frozen=True, slots=True)
class _File:
    """A message of ours, as its name tells it."""

    name: str
    made: FileName


def build(handle: Handle) -> str:
    """The name, in the account's tmp/, of an index of what lies on disk now; whole, synced and closed. Needs no lock.
    Raises OSError, `apsw` errors, StorageError where a folder cannot be read; nothing is left then."""
    name = f"{INDEX}{handle.tools.ids.object_id()}.db"
    try:
        leftovers.sweep(handle.fs, handle.root, handle.tools.clock.now())
        db = Connection(f"{handle.fs.real_path(handle.root)}/{TMP}/{name}", create=True)
        try:
            make_empty(db, handle.ref.id)
            with db.bulk():
                for folder in _distinct(handle):
                    try:
                        _Builder(handle, db, folder).run()
                    except OSError as error:
                        if of_a_file(error):
                            _refuse(folder.directory, error)
                        raise
        finally:
            db.settle()
    except BaseException:
        discard(handle, name)
        raise
    return name


def _distinct(handle: Handle) -> Iterator[CopiedFolder]:
    """A directory that was copied by hand tells its original's identity: the look under the lock gives it its own. The
    original is the one that the present index knows. Raises StorageError, which names folders that cannot be read."""
    ids, names = set[str](), set[str]()
    places = dict[str, str]()
    with contextlib.suppress(apsw.Error):  # it may be damaged
        places = catalog.places(handle.reader)
    found = list(copies.folders(handle.fs, handle.root, _refuse))
    for folder in sorted(found, key=lambda each: places.get(each.file.id) != each.directory):
        if folder.file.id not in ids and folder.name not in names:
            yield folder
        ids.add(folder.file.id)
        names.add(folder.name)


def _refuse(directory: str, error: OSError) -> None:
    """The present index alone knows its rows, and flags that are not in names yet; mail programs would take it for
    deleted."""
    raise StorageError(
        f"folder {copies.label(directory)} cannot be read ({error.strerror}); the index stays as it is until it can",
        code="storage-unread",
    ) from error


def discard(handle: Handle, name: str) -> None:
    """What was built, and what SQLite left beside it."""
    with _tmp(handle) as tmp:
        for each in (name, f"{name}-wal", f"{name}-shm", f"{name}-journal"):
            with contextlib.suppress(FileNotFoundError):
                handle.fs.unlink(tmp, each)


def install(handle: Handle, name: str) -> None:
    """In the place of the present index, which nobody writes: under the account's lock. Whoever has that one open
    notices. Cut off in between there is none, and it is made again."""
    handle.discard_index()
    with _tmp(handle) as tmp:
        handle.install(tmp, name)


@contextlib.contextmanager
def _tmp(handle: Handle) -> Iterator[int]:
    tmp = handle.fs.open_directory(handle.root, TMP)
    try:
        yield tmp
    finally:
        handle.fs.close(tmp)


class _Builder:
    """One folder. Whatever cannot be read now is left to the look under the lock, which also judges what is odd."""

    def __init__(self, handle: Handle, db: Connection, folder: CopiedFolder) -> None:
        self._handle, self._db, self._folder = handle, db, folder
        self._row = catalog.fresh(folder.file, folder.name, folder.directory)
        self._done: set[int] = set()  # UIDs

    def run(self) -> None:
        catalog.insert(self._db, self._row)
        fs = self._handle.fs
        with (
            contextlib.suppress(FileNotFoundError),
            folder_directory(fs, self._handle.root, self._folder.directory) as fd,
        ):
            cur = fs.open_directory(fd, "cur")
            try:
                for _ in range(ROUNDS):
                    if not self._round(fd, cur):
                        break
            finally:
                fs.close(cur)

    def _round(self, directory: int, cur: int) -> bool:
        """What is there and not known yet; whether it was so much that another round is worth while."""
        found = self._found(self._handle.fs.names(cur))
        told = journal.read(self._handle.fs, directory)  # after the names: a line precedes the file it tells of
        new = [found[uid] for uid in sorted(found) if uid not in told.removed]
        read = self._read(cur, new)
        while some := list(islice(read, TOGETHER)):
            self._insert([(each, prepared) for each, prepared in some if prepared is not None], told)
        return len(new) > FEW

    def _found(self, names: Sequence[str]) -> dict[int, _File]:
        files = (_File(name, made) for name in names if (made := parse(name)) is not None)
        floor = self._folder.file.uid_floor
        return {
            each.made.uid: each for each in files if each.made.uid not in self._done and believed(each.made.uid, floor)
        }

    def _insert(self, found: Sequence[tuple[_File, Prepared]], told: Journal) -> None:
        self._db.run("BEGIN IMMEDIATE")
        records.insert_all(self._db, self._row, [self._record(each, prepared, told) for each, prepared in found])
        self._db.many(
            "INSERT OR IGNORE INTO deliveries VALUES (?,?,?,?,?,?)",
            [
                (made.unique, self._row.id, self._row.uidvalidity, made.uid, self._row.modseq, made.saved)
                for made in (each.made for each, _ in found)
                if is_delivery(made.unique)
            ],
        )
        self._db.run("COMMIT")
        self._done.update(each.made.uid for each, _ in found)
        self._handle.tools.indexed(len(found))

    def _record(self, file: _File, prepared: Prepared, told: Journal) -> Record:
        made = file.made
        named = (1 << len(self._row.keywords)) - 1
        bits = made.keywords & named | told.keywords.get(made.uid, 0) & ~_NAMED_BITS
        thread = told.threads.get(made.uid) or records.derived_thread(prepared.facts, prepared.email_id)
        return Record(made.uid, file.name, made.flags, bits, self._row.modseq, made.saved, thread, prepared)

    def _read(self, cur: int, files: Sequence[_File]) -> Iterator[tuple[_File, Prepared | None]]:
        fs, readers = self._handle.fs, self._handle.tools.readers
        if readers is None or not readers.wanted(len(files)):
            yield from ((each, self._prepared(cur, each)) for each in files)
            return
        read = readers.read(fs.real_path(cur), [each.name for each in files])
        for each, (_, prepared) in zip(files, read, strict=True):
            fits = prepared is not None and prepared.size == each.made.size and _is_ours(self._handle, cur, each)
            yield each, prepared if fits else None

    def _prepared(self, cur: int, file: _File) -> Prepared | None:
        """None for what is gone, has another name by now, is odd, or cannot be read."""
        if not _is_ours(self._handle, cur, file):
            return None
        try:
            date = int(self._handle.fs.stat(cur, file.name).st_mtime)
            return adopt.prepared_file(self._handle.tools, cur, file.name, file.made.size, date)
        except OSError as error:
            if not (isinstance(error, FileNotFoundError) or of_a_file(error)):
                raise
        return None


def _is_ours(handle: Handle, cur: int, file: _File) -> bool:
    fs: FileSystem = handle.fs
    try:
        status = fs.stat(cur, file.name)
    except OSError as error:
        if not (isinstance(error, FileNotFoundError) or of_a_file(error)):
            raise
        return False
    return fs.is_plain(status) and status.st_uid == handle.owner and status.st_size == file.made.size
