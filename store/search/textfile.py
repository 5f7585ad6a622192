"""The text index's file: one SQLite file beside the index, made again when it is damaged or another account's.

Documents are messages by content: copies and moved messages share one. `places` says which document lies under which
UID, with folder numbers of its own, so that it outlives a rebuilt index. FTS5 sees only what `message.words` cuts: its
tokenizer splits at ASCII blanks, and knows nothing of Unicode.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from core.errors import StorageError
from store.faults import IndexDamagedError, translated
from store.fsops import FileSystem
from store.handle import Handle
from store.index import Connection

TEXT_FILE = "index-text.db"
TEXT_FILES = (TEXT_FILE, f"{TEXT_FILE}-wal", f"{TEXT_FILE}-shm", f"{TEXT_FILE}-journal")
VERSION = 3
_LONGEST_WAL = 8 * 1024 * 1024
_CACHE_KIB = 16 * 1024  # while it is written: a turn touches many pages

_TABLES = """
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    account TEXT NOT NULL,
    life TEXT NOT NULL,               -- of the index whose UIDs we know (store.schema)
    removed INTEGER NOT NULL,         -- documents that went: their words stay in the vocabulary
    loose INTEGER NOT NULL            -- some documents may have lost their last place
) STRICT;
CREATE TABLE folders (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    uidvalidity INTEGER NOT NULL,
    mark INTEGER NOT NULL,            -- every message up to this UID has its place
    modseq INTEGER NOT NULL           -- up to which expunged messages have lost theirs
) STRICT;
CREATE TABLE docs (
    doc INTEGER PRIMARY KEY AUTOINCREMENT,
    email_id TEXT NOT NULL UNIQUE,
    partial INTEGER NOT NULL          -- not all of it is indexed: it is always looked at
) STRICT;
CREATE INDEX docs_partial ON docs (doc) WHERE partial;
CREATE TABLE places (
    key INTEGER PRIMARY KEY,
    doc INTEGER NOT NULL
) STRICT;
CREATE INDEX places_by_doc ON places (doc);
CREATE TABLE words (
    id INTEGER PRIMARY KEY,
    word TEXT NOT NULL UNIQUE
) STRICT;
CREATE VIRTUAL TABLE grams USING fts5(
    word, content='', detail='none', columnsize=0, tokenize='trigram case_sensitive 1'
);
CREATE VIRTUAL TABLE text USING fts5(
    head, body, head_grams, body_grams, content='', contentless_delete=1, detail='column', tokenize='ascii'
);
"""


class OtherVersionError(Exception):
    """The file is whole and of another version of the suite, as after an upgrade: it is made again."""


@contextlib.contextmanager
def opened(handle: Handle) -> Iterator[Connection | None]:
    """The file for reading; None when there is none that can be used. In a worker thread."""
    db = _readable(handle)
    try:
        yield db
    finally:
        if db is not None:
            db.close()


def _readable(handle: Handle) -> Connection | None:
    with contextlib.suppress(IndexDamagedError, StorageError), translated():
        if not handle.fs.exists(handle.root, TEXT_FILE):
            return None
        db = _connected(handle, create=False)
        try:
            if _is_ours(db, handle):
                return db
        except BaseException:
            db.close()
            raise
        db.close()
    return None


def _connected(handle: Handle, *, create: bool) -> Connection:
    for name in TEXT_FILES:  # a symbolic link planted in its place (security.md row 109)
        if handle.fs.exists(handle.root, name) and not handle.fs.is_plain(handle.fs.stat(handle.root, name)):
            handle.fs.unlink(handle.root, name)
    return Connection(f"{handle.fs.real_path(handle.root)}/{TEXT_FILE}", create=create)


def _is_ours(db: Connection, handle: Handle) -> bool:
    if db.value("PRAGMA user_version") != VERSION:
        return False
    return bool(db.value("SELECT account FROM state") == handle.ref.id)


@contextlib.contextmanager
def writing(handle: Handle) -> Iterator[Connection | None]:
    """The file inside one transaction, made when it was absent or of no use; None while somebody else writes it."""
    db = _writable(handle)
    if db is None:
        yield None
        return
    try:
        yield db
        db.run("COMMIT")
        if _wal_size(handle) > _LONGEST_WAL:
            db.shrink()
    finally:
        if db.in_transaction:
            db.run("ROLLBACK")
        db.close()


def _writable(handle: Handle) -> Connection | None:
    db = _connected(handle, create=True)
    try:
        db.run(f"PRAGMA cache_size=-{_CACHE_KIB}")
        if not db.begin_at_once():
            db.close()
            return None
        if not _is_ours(db, handle):
            _check_new(db)
            db.run(_TABLES)
            db.run("INSERT INTO state VALUES (1, ?, '', 0, 0)", (handle.ref.id,))
            db.run(f"PRAGMA user_version={VERSION}")
    except BaseException:
        db.close()
        raise
    return db


def _check_new(db: Connection) -> None:
    """Nothing is in it yet. A file without tables is one that was just made, or that lost its first page."""
    if not db.value("SELECT count(*) FROM sqlite_schema"):
        return
    version = int(db.value("PRAGMA user_version"))
    if version not in (0, VERSION):  # 0 is nobody's
        raise OtherVersionError(f"version {version}")
    raise IndexDamagedError("another account's or another program's")


def _wal_size(handle: Handle) -> int:
    """0 where it was deleted meanwhile: the file is made again."""
    name = f"{TEXT_FILE}-wal"
    return handle.fs.stat(handle.root, name).st_size if handle.fs.exists(handle.root, name) else 0


def discard(fs: FileSystem, root: int) -> None:
    """Throw it away; it is filled again."""
    for name in TEXT_FILES:
        with contextlib.suppress(FileNotFoundError):
            fs.unlink(root, name)
