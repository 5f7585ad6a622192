"""Temporary names that somebody who died left in an account's tmp/: messages that were being written, where a file
system knows no nameless files, and indexes that were being made again.
"""

from __future__ import annotations

import contextlib

from store.faults import is_no_directory
from store.fsops import FileSystem

TMP = "tmp"
STALE = 86_400  # seconds after which a temporary name belongs to nobody
STALE_INDEX = 3_600  # an index is written to all the while it is made, and may take as much room as the mail
INDEX = "index-"  # begins the names of those; one file ends with .db, what SQLite keeps beside it has more behind that


def sweep(fs: FileSystem, root: int, now: float) -> None:
    """When an account is opened, recovered or has its index made again; `now` in Unix seconds. Raises OSError."""
    try:
        tmp = fs.open_directory(root, TMP)
    except OSError as error:
        if not is_no_directory(error) or isinstance(error, FileNotFoundError):
            raise
        return  # `store verify` names it, and whoever writes there fails
    try:
        ages: dict[str, float] = {}
        names = fs.names(tmp)
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # whoever delivers or makes another index needs no lock here
                what = _whole(name)
                ages[what] = min(ages.get(what, now), now - fs.stat(tmp, name).st_mtime)
        for name in names:
            if ages.get(_whole(name), 0) > (STALE_INDEX if name.startswith(INDEX) else STALE):
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # no directory is ours
                    fs.unlink(tmp, name)
    finally:
        fs.close(tmp)


def _whole(name: str) -> str:
    """The files of one index go together."""
    return name.partition(".db")[0] if name.startswith(INDEX) else name
