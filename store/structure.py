"""Has somebody else made, renamed or removed an account's folders? Cheap enough to ask before every change (row 110).

The account's directory changes its time with any of that, and rarely otherwise. Only then its names are compared with
the index. Who finds a difference has the folders agreed on anew (`recover.doubt`).
"""

from __future__ import annotations

import math
import stat

from store import catalog, journal, sidefile
from store.faults import is_no_directory
from store.fsops import FileSystem
from store.handle import AGAIN, Handle, folder_directory
from store.index import TICK, Connection
from store.names import being_made, directory_folder


def differs(handle: Handle, db: Connection) -> bool:
    """`db`: the one of the handle's connections that is the caller's. Without the account's lock a difference may be a
    change that is under way. Where one cannot look, it is looked again the next time."""
    seen = handle.structure
    time = handle.fs.status(handle.root).st_ctime_ns
    now = handle.tools.clock.monotonic()
    if time == seen.settled and now < seen.again:
        return False
    try:
        due = seen.again == math.inf or now >= seen.again
        found = _compared(handle, db, tried=due)
    except OSError:
        return False
    if found:
        seen.settled = -1  # who holds the lock finds it, too
        return True
    if found is False:
        seen.again = math.inf
    elif due:
        seen.again = now + AGAIN
    if time != seen.time:
        seen.time, seen.at = time, now
    elif now - seen.at > TICK:
        seen.settled = time
    return False


def _compared(handle: Handle, db: Connection, *, tried: bool) -> bool | None:
    """None: no difference is found, and one of them cannot be read. `tried`: whether those are that could not be."""
    fs, root = handle.fs, handle.root
    names = directories(fs, root)
    places = catalog.places(db)
    known = {directory for directory in places.values() if directory}
    if known - names:
        return True
    unread = False
    for directory in catalog.unopened(db):
        if tried and _opens(fs, root, directory):
            return True
        unread = True
    told = catalog.names(db)
    for each in names - known:
        try:
            name = name_of(fs, root, each)
        except OSError:
            unread = True
            continue
        if name and name not in told:
            return True
    return None if unread else False


def _opens(fs: FileSystem, root: int, directory: str) -> bool:
    """All that is read before anything is changed (`store.scan`)."""
    try:
        with folder_directory(fs, root, directory) as fd:
            if not fs.exists(fd, "cur"):
                return bool(directory)  # an account without INBOX is nobody's wish
            sidefile.read_folder(fs, fd)
            journal.read(fs, fd)
            try:
                with folder_directory(fs, fd, "cur") as cur:
                    fs.names(cur)
            except OSError as error:
                if isinstance(error, FileNotFoundError):
                    raise
                return False  # another kind of file in its place
    except OSError as error:
        return bool(directory) and is_no_directory(error)
    return True


def directories(fs: FileSystem, root: int) -> set[str]:
    """What may be folders, beside INBOX."""
    return {name for name in fs.names(root) if name.startswith(".") and not being_made(name)}


def tells_nothing(fs: FileSystem, root: int, directory: str) -> str:
    """Why a directory with mail, or one that was a folder, is none; "" for anything else. Raises OSError."""
    try:
        with folder_directory(fs, root, directory) as fd:
            if fs.exists(fd, "cur"):
                return "tells no folder's name; no client sees its mail"
            if sidefile.read_folder(fs, fd) is not None:
                return "has no cur/; no client sees the folder (beffroi store rebuild makes it again, empty)"
    except OSError as error:
        if not is_no_directory(error):
            raise
        if stat.S_ISLNK(fs.stat(root, directory).st_mode):
            return "is a symbolic link; it is left alone"
    return ""


def name_of(fs: FileSystem, root: int, directory: str) -> str:
    """The folder's; "" for what is no folder, as recovery sees it. Raises OSError where that cannot be read."""
    try:
        with folder_directory(fs, root, directory) as fd:
            if not fs.exists(fd, "cur"):
                return ""
            file = sidefile.read_folder(fs, fd)
    except OSError as error:
        if is_no_directory(error):
            return ""
        raise
    return directory_folder(directory) or (file.name if file else "")
