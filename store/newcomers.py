"""Which messages no session was told of yet: \\Recent (RFC 3501 2.3.2), kept as one UID a folder.

What lies at or above that UID is recent; the first session that may write takes it and moves the UID on. A small file
beside the index holds them all, a fixed place for each folder, under a lock of its own that is held for microseconds:
nobody waits for a writer's sync because mail came. Never synced: what a crash forgets is recent once more, which RFC
3501 2.3.2 allows. The file is made with the index, or when it is missed, and calls nothing recent that is there then.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Sequence

from store import index as index_file
from store.catalog import Extent, extents
from store.fsops import FileSystem
from store.index import Connection

RECENT_FILE = index_file.RECENT_FILE
_RECORD = struct.Struct("<II")  # UIDVALIDITY, first UID that nobody took
MOST_READ = 1 << 20  # octets read at once: of the first 131,072 folders an account ever had
TRIES = 200  # for the lock, some 300 µs
FIRST = 1


def known(fs: FileSystem, root: int) -> bool:
    """False also where it was made and not written: by a full disk, or before a kill."""
    try:
        return fs.stat(root, RECENT_FILE).st_size > 0
    except FileNotFoundError:
        return False


def ensure(fs: FileSystem, root: int, db: Connection) -> None:
    if not known(fs, root):
        begin(fs, root, extents(db))


def begin(fs: FileSystem, root: int, folders: Sequence[Extent]) -> None:
    """Where the file is not `known`: what is in the folders now is not recent. A full disk is no reason not to read
    one's mail."""
    size = _RECORD.size
    data = bytearray(size * (1 + max((row.number for row in folders), default=0)))
    for row in folders:
        _RECORD.pack_into(data, size * row.number, row.uidvalidity, row.uidnext)
    with contextlib.suppress(OSError):
        fd = fs.open_to_update(root, RECENT_FILE)
        try:
            fs.write(fd, bytes(data), 0)
        finally:
            fs.close(fd)


def peek(fs: FileSystem, root: int, folder: Extent) -> int:
    """The first UID that is recent, if there is such a message."""
    try:
        fd = fs.open_to_read(root, RECENT_FILE)
    except OSError:
        return FIRST
    try:
        return _first(fs, fd, folder)
    finally:
        fs.close(fd)


def take(fs: FileSystem, root: int, folder: Extent, uidnext: int) -> int:
    """The same; whatever lies below `uidnext` is recent for nobody else from now on. Where that cannot be written down,
    it stays recent (RFC 3501 2.3.2: when in doubt, it is)."""
    first = peek(fs, root, folder)
    if first >= uidnext:
        return first
    try:
        fd = fs.open_to_update(root, RECENT_FILE)
    except OSError:
        return first
    try:
        return _taken(fs, fd, folder, uidnext)
    finally:
        fs.close(fd)


def _taken(fs: FileSystem, fd: int, folder: Extent, uidnext: int) -> int:
    """Closing unlocks. Who cannot get the lock at once, because its holder does not run just now, does not wait."""
    locked = any(fs.try_lock(fd) for _ in range(TRIES))
    first = _first(fs, fd, folder)
    if locked and first < uidnext:
        with contextlib.suppress(OSError):
            fs.write(fd, _RECORD.pack(folder.uidvalidity, uidnext), _RECORD.size * folder.number)
    return first


def _first(fs: FileSystem, fd: int, folder: Extent) -> int:
    start = _RECORD.size * folder.number
    return _told(fs.read(fd, start, start + _RECORD.size), 0, folder.uidvalidity)


def _told(data: bytes, start: int, uidvalidity: int) -> int:
    """A new folder has no record, and another UIDVALIDITY's tells nothing."""
    if start + _RECORD.size > len(data):
        return FIRST
    told, first = _RECORD.unpack_from(data, start)
    return max(FIRST, first) if told == uidvalidity else FIRST


def every(fs: FileSystem, root: int, folders: Sequence[tuple[int, int]]) -> list[int] | None:
    """What `peek` says of each (number, UIDVALIDITY), in one look at the file; None where it is not `known`."""
    data = _whole(fs, root)
    if not data:
        return None
    size = _RECORD.size
    told = list(_RECORD.iter_unpack(data[: len(data) - len(data) % size]))
    most = len(told)
    found = []
    for number, uidvalidity in folders:
        validity, first = told[number] if number < most else (0, FIRST)
        found.append(first if validity == uidvalidity and first > FIRST else FIRST)
    return found


def _whole(fs: FileSystem, root: int) -> bytes:
    try:
        fd = fs.open_to_read(root, RECENT_FILE)
    except OSError:
        return b""
    try:
        return fs.read(fd, 0, min(MOST_READ, fs.status(fd).st_size))
    finally:
        fs.close(fd)
