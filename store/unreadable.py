"""Messages whose files could not be read: one costs nobody anything but itself.

The index has its name, dates and flags, and for what only the octets tell it has what an empty header would tell, so
that orders, threads and searches go on (RFC 5256 2.2, 3). Its email id is a mark that no message has. Its file is tried
again, behind and for whoever asks for what it holds (`store.unscanned`).
"""

from __future__ import annotations

from store.catalog import FolderRow
from store.fsops import BLOCK, FileSystem
from store.index import Connection
from store.schema import UID_MASK, key

MARK = "?"  # email id; ids that are told begin with "M"


def try_file(fs: FileSystem, directory: int, name: str, octets: int) -> None:
    """Open it and read so many octets of it. Raises OSError."""
    fd = fs.open_to_read(directory, name)
    try:
        for start in range(0, octets, BLOCK):
            fs.read(fd, start, min(start + BLOCK, octets))
    finally:
        fs.close(fd)


def among(db: Connection, folder: FolderRow, first: int, last: int) -> list[int]:
    """Their UIDs from `first` to `last`, ascending. 3 µs where there are none."""
    rows = db.all(
        f"SELECT key & {UID_MASK} FROM messages INDEXED BY messages_unreadable "  # noqa: S608 - constants
        "WHERE email_id = '?' AND folder = ? AND key BETWEEN ? AND ? ORDER BY key",
        (folder.number, key(folder.number, first), key(folder.number, last)),
    )
    return [uid for (uid,) in rows]


def some(db: Connection) -> bool:
    """Of the whole account."""
    return db.value("SELECT 1 FROM messages INDEXED BY messages_unreadable WHERE email_id = '?' LIMIT 1") is not None


def count(db: Connection) -> int:
    """Of the whole account."""
    return int(db.value("SELECT count(*) FROM messages INDEXED BY messages_unreadable WHERE email_id = '?'"))


def stamp(db: Connection, folder: FolderRow) -> tuple[object, ...]:
    """Another one: other messages of the folder are unreadable."""
    found = db.one(
        "SELECT count(*), total(key) FROM messages INDEXED BY messages_unreadable WHERE email_id = '?' AND folder = ?",
        (folder.number,),
    )
    return found or ()
