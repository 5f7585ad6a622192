"""The recycle bin: DATA/recycle/<account id>/ takes deleted folders and removed accounts, whole, by one rename.

A side file beside them tells whose bin it is, so that what lies there can be found by address and is never given to
another commune (promise P8). Entries are `folder.<time>.<id>` and `account.<time>.<id>`; they stay `recycle_days`, then
they are unlinked (`purge`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import core.log
from store import copies, layout, sidefile
from store.copies import CopiedMessage
from store.faults import is_no_directory
from store.fsops import FileSystem
from store.handle import Handle
from store.names import account_directory, encode
from store.sidefile import ACCOUNT_FILE, AccountFile
from store.types import AccountRef, Recycled

log = core.log.get(__name__)

REMOVED = "removed."  # before the account's id in the side file of a removed account
FOLDER, ACCOUNT = "folder.", "account."
EMPTY = "empty."  # what an account held before its removed mail came back: nothing
UNKNOWN = "?"  # a deleted folder that cannot be read
GONE = ".gone."  # being unlinked
QUIET = 86_400  # seconds without a change before an empty bin is removed


@contextlib.contextmanager
def opened(fs: FileSystem, recycle: int, ref: AccountRef) -> Iterator[int]:
    """The account's own bin, made when it is missing."""
    name = encode(ref.id)
    if not fs.exists(recycle, name):
        with contextlib.suppress(FileExistsError):
            fs.make_directory(recycle, name)
        fs.sync(recycle)
    fd = fs.open_directory(recycle, name)
    try:
        if not fs.exists(fd, ACCOUNT_FILE):
            sidefile.write_account(fs, fd, AccountFile(ref.id, ref.organisation_id, 0, address=ref.address))
        yield fd
    finally:
        fs.close(fd)


def remove_account(handle: Handle, domains: int, recycle: int, kind: str = ACCOUNT) -> None:
    """Under the account lock. Other processes notice by the missing index, and refuse the directory by its owner."""
    fs, ref = handle.fs, handle.ref
    file = sidefile.read_account(fs, handle.root)
    if file is not None:
        sidefile.write_account(fs, handle.root, replace(file, id=REMOVED + file.id, address=ref.address))
    handle.discard_index()
    domain = fs.open_directory(domains, ref.domain)
    try:
        with opened(fs, recycle, ref) as directory:
            fs.rename(domain, account_directory(ref.local), directory, _name(handle, kind))
            fs.sync(directory)
        fs.sync(domain)
    finally:
        fs.close(domain)


def _name(handle: Handle, kind: str) -> str:
    return f"{kind}{int(handle.tools.clock.now())}.{handle.tools.ids.object_id()}"


def holds_account(fs: FileSystem, recycle: int, account_id: str) -> bool:
    """Whether the account was removed as a whole."""
    try:
        fd = fs.open_directory(recycle, encode(account_id))
    except FileNotFoundError:
        return False
    try:
        return any(name.startswith(ACCOUNT) for name in fs.names(fd))
    finally:
        fs.close(fd)


# -- what lies in it ---------------------------------------------------------------------------------------------------


def contents(fs: FileSystem, recycle: int) -> list[Recycled]:
    """Everything in every bin, oldest first."""
    found: list[Recycled] = []
    for name in fs.names(recycle):
        with contextlib.suppress(OSError), _directory(fs, recycle, name) as fd:
            owner = sidefile.read_account(fs, fd)
            found += [item for entry in fs.names(fd) if (item := _item(fs, fd, name, entry, owner)) is not None]
    return sorted(found, key=lambda item: (item.removed_at, item.id))


def _item(fs: FileSystem, directory: int, bin_name: str, entry: str, owner: AccountFile | None) -> Recycled | None:
    """None for what is no entry: a side file, one that is just being unlinked. One that cannot be read is there all the
    same, with what can be read of it; the log tells the rest."""
    removed_at = _time(entry)
    if removed_at is None or not entry.startswith((FOLDER, ACCOUNT)):
        return None
    single, file, name = entry.startswith(FOLDER), owner, ""
    messages: list[CopiedMessage] = []
    unread: list[str] = []

    def tell(directory: str, error: OSError) -> None:
        unread.append(directory)
        log.error("store-recycled-unread", item=f"{bin_name}/{entry}", folder=directory, cause=str(error))

    try:
        with _directory(fs, directory, entry) as fd:
            file = (None if single else sidefile.read_account(fs, fd)) or owner
            for folder in copies.folders(fs, fd, tell, single=single):
                name = folder.name if single else ""
                messages += copies.messages(fs, fd, folder)
    except OSError as error:
        if is_no_directory(error):  # on its way out
            return None
        tell("", error)
    if single and not name:
        if not unread:
            return None
        name = UNKNOWN
    return Recycled(
        id=f"{bin_name}/{entry}",
        account_id=owner.id if owner else "",
        organisation_id=file.organisation if file else "",
        address=file.address if file else "",
        folder=name,
        removed_at=removed_at,
        messages=len(messages),
        octets=sum(message.size for message in messages),
    )


@contextlib.contextmanager
def entry(fs: FileSystem, recycle: int, item: Recycled) -> Iterator[int]:
    """The directory of one item. Raises OSError when it is gone."""
    bin_name, _, name = item.id.partition("/")
    with _directory(fs, recycle, bin_name) as parent, _directory(fs, parent, name) as fd:
        yield fd


@contextlib.contextmanager
def _directory(fs: FileSystem, parent: int, name: str) -> Iterator[int]:
    fd = fs.open_directory(parent, name)
    try:
        yield fd
    finally:
        fs.close(fd)


def _time(entry_name: str) -> int | None:
    _, _, rest = entry_name.partition(".")
    seconds, dot, _ = rest.partition(".")
    return int(seconds) if dot and seconds.isdecimal() else None


# -- what leaves it ----------------------------------------------------------------------------------------------------


def give_back(fs: FileSystem, domains: int, recycle: int, ref: AccountRef, item: Recycled) -> None:
    """A removed account becomes the account `ref` again, with all its UIDs. Its directory must not be there. Raises
    FileExistsError, FileNotFoundError."""
    bin_name, _, name = item.id.partition("/")
    domain = layout.open_domain(fs, domains, ref.domain)
    try:
        target = account_directory(ref.local)
        if fs.exists(domain, target):
            raise FileExistsError(target)
        with _directory(fs, recycle, bin_name) as parent:
            with _directory(fs, parent, name) as root:
                file = sidefile.read_account(fs, root)
                last = file.last_uidvalidity if file else item.removed_at
                names = file.subscriptions if file else ()
                sidefile.write_account(fs, root, AccountFile(ref.id, ref.organisation_id, last, names))
            fs.rename(parent, name, domain, target)
            fs.sync(domain)
            fs.sync(parent)
    finally:
        fs.close(domain)


def purge(fs: FileSystem, recycle: int, before: int, now: int) -> int:
    """Unlink what was removed before that second; how many entries. Several processes may do it at once: who renames
    an entry first has it."""
    count = 0
    for name in fs.names(recycle):
        with contextlib.suppress(OSError), _directory(fs, recycle, name) as fd:
            for old in fs.names(fd):
                count += _purge_entry(fs, fd, old, before)
            emptied = set(fs.names(fd)) <= {ACCOUNT_FILE} and fs.status(fd).st_mtime < now - QUIET
            if emptied:
                with contextlib.suppress(FileNotFoundError):
                    fs.unlink(fd, ACCOUNT_FILE)
                fs.remove_directory(recycle, name)
    if count:
        log.info("store-recycle-purged", entries=count)
    return count


def _purge_entry(fs: FileSystem, directory: int, name: str, before: int) -> bool:
    if name.startswith(GONE):  # a purge that was cut off
        layout.remove_tree(fs, directory, name)
        return False
    removed_at = _time(name)
    if removed_at is None or removed_at >= before or not name.startswith((FOLDER, ACCOUNT, EMPTY)):
        return False
    with contextlib.suppress(FileNotFoundError):
        fs.rename(directory, name, directory, GONE + name)
        layout.remove_tree(fs, directory, GONE + name)
        return True
    return False
