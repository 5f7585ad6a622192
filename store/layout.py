"""How an account and a folder are laid out on disk, and made so that a crash leaves all of them or nothing.

Both are built under a temporary name, synced from the leaves up, then renamed into place (promise P3).
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.errors import StorageError
from core.ids import Ids
from store import sidefile
from store.fsops import FileSystem
from store.journal import JOURNAL
from store.lockfile import LOCK_FILE
from store.names import MAKING, account_directory, folder_directory
from store.sidefile import AccountFile, FolderFile
from store.types import INBOX, AccountRef

MARKER = "store.beffroi"
DOMAINS, RECYCLE, SPOOL = "domains", "recycle", "spool"
MAILDIR = ("cur", "new", "tmp")

# Folder name > special use (RFC 6154); made with the account, in this order, after INBOX, unless the installation names
# them otherwise. By these names the rest of the house asks for them, whatever they are called (`place.target`).
STANDARD = {
    "Drafts": "\\Drafts",
    "Sent": "\\Sent",
    "Junk": "\\Junk",
    "Trash": "\\Trash",
    "Archive": "\\Archive",
}
UID_BLOCK, MODSEQ_BLOCK = 1_000, 10_000


@dataclass(frozen=True, slots=True)
class NewFolder:
    """What a folder starts with; its floors are raised at the first use."""

    name: str
    id: str
    uidvalidity: int
    special_use: str = ""
    subscribed: bool = True

    def file(self) -> FolderFile:
        directory = folder_directory(self.name, self.id)
        return FolderFile(
            id=self.id,
            uidvalidity=self.uidvalidity,
            uid_floor=1,
            modseq_floor=1,
            special_use=self.special_use,
            subscribed=self.subscribed,
            name=self.name if directory.startswith(".#") else "",
        )


def fill_folder(fs: FileSystem, directory: int, file: FolderFile) -> None:
    """The inside of a folder: cur, new, tmp, an empty journal, and last the side file, whose writing syncs the names
    of all. What is empty needs no sync of its own."""
    for name in MAILDIR:
        fs.make_directory(directory, name)
    fs.close(fs.create(directory, JOURNAL))
    sidefile.write_folder(fs, directory, file)


def make_folder(fs: FileSystem, root: int, new: NewFolder, temporary: str) -> None:
    """A folder beside INBOX's cur/. Raises FileExistsError (or ENOTEMPTY) when its directory is there."""
    directory = folder_directory(new.name, new.id)
    fs.make_directory(root, temporary)
    fd = fs.open_directory(root, temporary)
    try:
        try:
            fill_folder(fs, fd, new.file())
            fs.rename(root, temporary, root, directory)
        except OSError:
            remove_tree(fs, root, temporary)
            raise
        try:
            fs.sync(root)
        except OSError:
            with contextlib.suppress(OSError):  # else a power loss may bring back what is refused now
                take_away(fs, root, directory, temporary)
            raise
    finally:
        fs.close(fd)


def open_account(
    fs: FileSystem,
    domains: int,
    ref: AccountRef,
    ids: Ids,
    now: int,
    *,
    removed: Callable[[AccountRef], bool] = lambda _: False,
    standard: Mapping[str, str] = STANDARD,
) -> int:
    """The account's directory, made with its standard folders at first use. Two makers end up with one. An account
    that was `removed` is not made again: its last sessions would take the address from a successor."""
    name = account_directory(ref.local)
    domain = open_domain(fs, domains, ref.domain)
    try:
        with contextlib.suppress(FileNotFoundError):
            return _opened(fs, domains, domain, name)
        if removed(ref):
            raise StorageError("the mailbox is not available", code="storage-owner", removed=ref.id)
        _make_account(fs, domain, name, ref, ids, now, standard)
        return _opened(fs, domains, domain, name)
    finally:
        fs.close(domain)


def _opened(fs: FileSystem, domains: int, domain: int, name: str) -> int:
    """Whoever made the account, or its domain, may have died before the names were synced: before anything is put into
    it for the first time they are. Raises FileNotFoundError."""
    root = fs.open_directory(domain, name)
    try:
        if not fs.exists(root, LOCK_FILE):
            fs.sync(domain)
            fs.sync(domains)
    except BaseException:
        fs.close(root)
        raise
    return root


def open_domain(fs: FileSystem, domains: int, domain: str) -> int:
    """Domain names were checked as A-labels by `core.domain`; "/" or a leading dot cannot be in one."""
    if "/" in domain or domain.startswith(".") or not domain:
        raise OSError(errno.EINVAL, "not a domain directory")
    with contextlib.suppress(FileNotFoundError):
        return fs.open_directory(domains, domain)
    fs.spread(domains)
    with contextlib.suppress(FileExistsError):
        fs.make_directory(domains, domain)
    fs.sync(domains)
    return fs.open_directory(domains, domain)


def _make_account(
    fs: FileSystem, domain: int, name: str, ref: AccountRef, ids: Ids, now: int, standard: Mapping[str, str]
) -> None:
    temporary = f"{MAKING}{ids.object_id()}"
    fs.spread(domain)
    fs.make_directory(domain, temporary)
    root = fs.open_directory(domain, temporary)
    try:
        _fill_account(fs, root, ref, ids, now, standard)
        fs.rename(domain, temporary, domain, name)
        fs.sync(domain)
    except OSError as error:
        remove_tree(fs, domain, temporary)
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
    finally:
        fs.close(root)


def _fill_account(fs: FileSystem, root: int, ref: AccountRef, ids: Ids, now: int, standard: Mapping[str, str]) -> None:
    """Nobody sees `root` yet, so folders take their final names at once; the account's side file syncs those."""
    for offset, (name, use) in enumerate([(INBOX, ""), *standard.items()]):
        new = NewFolder(name, ids.object_id(), now + offset, use)
        if name == INBOX:
            fill_folder(fs, root, new.file())
            continue
        directory = folder_directory(name, new.id)
        fs.make_directory(root, directory)
        fd = fs.open_directory(root, directory)
        try:
            fill_folder(fs, fd, new.file())
        finally:
            fs.close(fd)
    file = AccountFile(ref.id, ref.organisation_id, last_uidvalidity=now + len(standard))
    sidefile.write_account(fs, root, file)


def remove_tree(fs: FileSystem, parent: int, name: str) -> None:
    """What a failed or crashed making left under its temporary name; as much of it as can be removed."""
    with contextlib.suppress(OSError):
        fd = fs.open_directory(parent, name)
        try:
            for entry in fs.names(fd):
                try:
                    fs.unlink(fd, entry)
                except IsADirectoryError:
                    remove_tree(fs, fd, entry)
        finally:
            fs.close(fd)
        fs.remove_directory(parent, name)


def take_away(fs: FileSystem, parent: int, name: str, temporary: str) -> None:
    """A folder just made, whole: durably under its `temporary` name again before anything in it goes, so that no crash
    leaves half a folder; recovery sweeps what stays under that. Raises OSError."""
    fs.rename(parent, name, parent, temporary)
    fs.sync(parent)
    remove_tree(fs, parent, temporary)
