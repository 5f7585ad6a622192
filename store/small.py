"""The octets of whole small messages, many in one turn of a thread: what a client wants that keeps a mailbox on its own
disk, or carries it elsewhere. Opened one by one each costs 40 µs; here, most of them the kernel's, 6.

Refuses to know why a message cannot be read like that: whoever opens it alone is told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from store.catalog import FolderRow
from store.fsops import FileSystem
from store.index import Connection
from store.schema import UID_MASK, key
from store.store import LARGEST_SMALL


def names(db: Connection, folder: FolderRow, uids: Sequence[int]) -> tuple[str, list[str]]:
    """The folder's directory and the names of these messages, from the first on, as far as they are there."""
    keys = json.dumps([key(folder.number, uid) for uid in uids])
    rows = db.all(
        f"SELECT key & {UID_MASK}, name FROM messages WHERE key IN (SELECT value FROM json_each(?))",  # noqa: S608 - constant
        (keys,),
    )
    known: dict[int, str] = dict(rows)
    found: list[str] = []
    for uid in uids:
        if uid not in known:
            break
        found.append(known[uid])
    return folder.directory, found


def read(fs: FileSystem, directory: int, owner: int, wanted: Sequence[str]) -> list[bytes]:
    """In a thread: as many of `wanted`, from the first on, as are small plain files of ours that can be read."""
    found: list[bytes] = []
    for name in wanted:
        octets = _octets(fs, directory, owner, name)
        if octets is None:
            break
        found.append(octets)
    return found


def _octets(fs: FileSystem, directory: int, owner: int, name: str) -> bytes | None:
    try:
        fd = fs.open_to_read(directory, name)
    except OSError:
        return None
    try:
        status = fs.status(fd)
        if status.st_size > LARGEST_SMALL or not fs.is_plain(status) or status.st_uid != owner:
            return None
        octets = fs.read(fd, 0, status.st_size) if status.st_size else b""
        return octets if len(octets) == status.st_size else None
    except OSError:
        return None
    finally:
        fs.close(fd)
