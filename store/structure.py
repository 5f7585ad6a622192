"""Has somebody else made, renamed or removed an account's folders? Cheap enough to ask before every change (row 110).

The account's directory changes its time with any of that, and rarely otherwise. Only then its names are compared with
the index. Who finds a difference has the folders agreed on anew (`recover.doubt`).
"""

from __future__ import annotations

from store import catalog, sidefile
from store.fsops import FileSystem
from store.handle import Handle, folder_directory
from store.index import TICK, Connection
from store.layout import MAKING
from store.names import directory_folder


def differs(handle: Handle, db: Connection) -> bool:
    """`db`: the one of the handle's connections that is the caller's. Without the account's lock a difference may be a
    change that is under way. Where one cannot look, it is looked again the next time."""
    seen = handle.structure
    time = handle.fs.status(handle.root).st_ctime_ns
    if time == seen.settled:
        return False
    try:
        if _compared(handle, db):
            return True
    except OSError:
        return False
    now = handle.tools.clock.monotonic()
    if time != seen.time:
        seen.time, seen.at = time, now
    elif now - seen.at > TICK:
        seen.settled = time
    return False


def _compared(handle: Handle, db: Connection) -> bool:
    fs, root = handle.fs, handle.root
    names = directories(fs, root)
    places = catalog.places(db)
    known = {directory for directory in places.values() if directory}
    if known - names:
        return True
    told = catalog.names(db)
    return any(name not in told for name in (name_of(fs, root, each) for each in names - known) if name)


def directories(fs: FileSystem, root: int) -> set[str]:
    """What may be folders, beside INBOX."""
    return {name for name in fs.names(root) if name.startswith(".") and not name.startswith(MAKING)}


def name_of(fs: FileSystem, root: int, directory: str) -> str:
    """The folder's; "" for what is no folder, as recovery sees it."""
    try:
        with folder_directory(fs, root, directory) as fd:
            if not fs.exists(fd, "cur"):
                return ""
            file = sidefile.read_folder(fs, fd)
    except OSError:
        return ""
    return directory_folder(directory) or (file.name if file else "")
