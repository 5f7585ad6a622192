"""Has somebody else changed a folder's files? Cheap enough to ask at every SELECT (security.md row 110).

Two questions to the kernel: the time of cur/, which our own commits note down, and whether new/ holds anything.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Sequence
from functools import partial

from store import catalog
from store.catalog import FolderRow
from store.faults import is_no_directory
from store.handle import MOST_LEFT, Handle
from store.lockfile import State
from store.scan import scan_folder
from store.schema import cur_time
from store.transaction import Transaction
from store.trust import Trust

SETTLED = 10.0  # seconds: more than the clock of a disk that lies elsewhere may be behind ours


def untouched(handle: Handle, row: FolderRow) -> bool:
    """True: nobody else changed the files before this look, which comes after `row` was read. False says nothing: a
    writer may be at work, or have committed since; `found` tells."""
    return not row.changed or _changed(handle, row) == row.changed


def suspicious(handle: Handle, folder_id: str) -> bool:
    """On the loop thread. Asked in an order that makes a commit in between look suspicious rather than innocent."""
    changed = found(handle, folder_id)
    row = catalog.by_id(handle.reader, folder_id)
    return row is not None and differs(row, changed)


def found(handle: Handle, folder_id: str) -> int | None:
    """The present time of the folder's files, to compare with a row that is read after it; None where nothing is to be
    compared: the folder is gone, or a writer is at work, whose commit will note the time."""
    row = catalog.by_id(handle.reader, folder_id)
    if row is None:
        return None
    changed = _changed(handle, row)
    word = handle.lock.read()
    return None if word is not None and word.state is State.BUSY else changed


def differs(row: FolderRow, changed: int | None) -> bool:
    """The index does not know of what was `found`."""
    return changed is not None and changed != row.changed and bool(row.changed)


def _changed(handle: Handle, row: FolderRow) -> int:
    """The time of cur/, with what we know to be left alone there: what another process left, or we before we were
    stopped, may be ours by now. -1 when new/ holds something or the folder is not there."""
    try:
        if _has_new(handle, row) or _are_given(handle, row):
            return -1
        left = bool(handle.left_in_cur.get(row.id))
        return cur_time(handle.fs.stat(handle.root, _path(row, "cur")).st_mtime_ns, left=left)
    except OSError:
        return -1


def _path(row: FolderRow, name: str) -> str:
    return f"{row.directory}/{name}" if row.directory else name


def _has_new(handle: Handle, row: FolderRow) -> bool:
    """A folder without new/ has none, and what is left alone there is not looked at again before it changes: an empty
    file that its writer fills, one that is given to us (neither of which changes the time of new/), or a new one. A
    new/ that holds nothing, and has not changed for so long that any change gives it another time, is not read again
    before it does: ten system calls are one."""
    new = _path(row, "new")
    try:
        status = handle.fs.stat(handle.root, new)
        seen = status.st_ino, status.st_ctime_ns  # which nobody can set back
        if handle.empty_new.get(row.id) == seen:
            return False
        names = handle.fs.names_below(handle.root, new)
    except OSError as error:
        if not is_no_directory(error):  # another kind of file holds none, either
            raise
        return False
    if not names and handle.tools.clock.now() - status.st_ctime > SETTLED:
        handle.empty_new[row.id] = seen
    return bool(names) and _left(handle, new, names) != handle.left_in_new.get(row.id)


def _are_given(handle: Handle, row: FolderRow) -> bool:
    """What was left alone in cur/ has changed: root's copies were given to us, which changes no time of cur/. Raises
    OSError."""
    left = tuple(handle.left_in_cur.get(row.id, {}).items())  # a thread may be writing it
    stat = partial(handle.fs.stat, handle.root)
    return any(stat(_path(row, f"cur/{name}")).st_ctime_ns != time for name, time in left)


def _left(handle: Handle, new: str, names: Sequence[str]) -> tuple[object, ...]:
    """What changes with what lies in new/. Raises OSError."""
    stat = partial(handle.fs.stat, handle.root)
    told = tuple([(name, stat(f"{new}/{name}").st_ctime_ns) for name in heapq.nsmallest(MOST_LEFT, names)])
    return stat(new).st_mtime_ns, len(names), told


def examine(transaction: Transaction, folder_id: str) -> None:
    """Look again under the lock, and make index and files agree when they do not."""
    row = transaction.folder(folder_id)
    if _changed(transaction.handle, row) != row.changed:
        transaction.touch(row)
        handle, seen = transaction.handle, None
        with contextlib.suppress(OSError):
            new = _path(row, "new")
            seen = _left(handle, new, handle.fs.names_below(handle.root, new))
        scan_folder(transaction, folder_id, Trust.WHOLE)
        if seen is not None:
            handle.left_in_new[folder_id] = seen
