"""The octets of whole small messages, many in one go: what a client wants that keeps a mailbox on its own disk, or
carries it elsewhere. Opened one by one each costs 40 µs; here, most of them the kernel's, 6.

What the kernel has in memory is read on the event loop, for a thread costs as much as reading all of them. A disk that
has to be waited for is waited for in a thread. Refuses to know why a message cannot be read like that: whoever opens it
alone is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from core.clock import Clock
from store.catalog import FolderRow
from store.fsops import FileSystem
from store.index import Connection
from store.schema import UID_MASK, key
from store.store import LARGEST_SMALL

PATIENCE = 0.002  # seconds on the loop, past the message that takes longer


def names(db: Connection, folder: FolderRow, uids: Sequence[int]) -> tuple[str, list[str]]:
    """The folder's directory and the names of these messages (ascending), from the first on, as far as they are
    there."""
    first, last = key(folder.number, uids[0]), key(folder.number, uids[-1])
    if last - first == len(uids) - 1:
        found = db.all("SELECT name FROM messages WHERE key BETWEEN ? AND ? ORDER BY key", (first, last))
        if len(found) == len(uids):
            return folder.directory, [name for (name,) in found]
    return folder.directory, _names(db, folder, uids)


def _names(db: Connection, folder: FolderRow, uids: Sequence[int]) -> list[str]:
    keys = json.dumps([key(folder.number, uid) for uid in uids])
    rows = db.all(
        f"SELECT key & {UID_MASK}, name FROM messages WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key",  # noqa: S608 - constant
        (keys,),
    )
    return [name for asked, (uid, name) in zip(uids, rows, strict=False) if asked == uid]


def texts(fs: FileSystem, directory: int, owner: int, wanted: Sequence[str]) -> Iterator[bytes]:
    """Of `wanted`, up to the first that is no small plain file of ours that can be read."""
    for name in wanted:
        octets = _octets(fs, directory, owner, name)
        if octets is None:
            return
        yield octets


def at_once(reading: Iterable[bytes], clock: Clock) -> tuple[list[bytes], bool]:
    """What could be read without waiting; whether that is all there was."""
    found: list[bytes] = []
    until = clock.monotonic() + PATIENCE
    for octets in reading:
        found.append(octets)
        if clock.monotonic() > until:
            return found, False
    return found, True


def _octets(fs: FileSystem, directory: int, owner: int, name: str) -> bytes | None:
    try:
        fd = fs.open_to_read(directory, name)
    except OSError:
        return None
    try:
        status = fs.status(fd)
        if status.st_size > LARGEST_SMALL or not fs.is_plain(status) or status.st_uid != owner:
            return None
        octets = fs.read(fd, 0, status.st_size)
        return octets if len(octets) == status.st_size else None
    except OSError:
        return None
    finally:
        fs.close(fd)
