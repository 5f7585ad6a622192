"""Accounts and folders of ours that nobody serves: in the recycle bin, or in a copy of a data directory.

Read as the files tell them (promise P5): names, side files, journals; no index is needed, none is made, nothing is
changed. Symbolic links are not followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from store import journal, sidefile
from store.faults import is_no_directory, of_a_file
from store.fsops import FileSystem
from store.handle import folder_directory
from store.names import KEYWORD_LETTERS, FileName, being_made, directory_folder, parse
from store.sidefile import FolderFile
from store.types import INBOX, Flag

_NAMED_BITS = (1 << KEYWORD_LETTERS) - 1
Unread = Callable[[str, OSError], None]  # hears of a folder's directory within the account's, and why


@dataclass(frozen=True, slots=True)
class CopiedFolder:
    """`directory` within the account's ("" for INBOX)."""

    directory: str
    name: str
    file: FolderFile


@dataclass(frozen=True, slots=True)
class CopiedMessage:
    """One file in cur/; `size` as its name tells it."""

    name: str
    size: int
    flags: Flag
    keywords: tuple[str, ...]


def folders(fs: FileSystem, root: int, unread: Unread, *, single: bool = False) -> Iterator[CopiedFolder]:
    """Every folder of an account's directory, INBOX first; not what a making that failed has left there, which the
    next recovery sweeps. `single`: it is that of a deleted folder. `unread` hears of each that cannot be read. Raises
    OSError where the machine is the cause."""
    names = [] if single else [name for name in fs.names(root) if name.startswith(".") and not being_made(name)]
    for directory in ["", *sorted(names)]:
        try:
            found = folder(fs, root, directory)
        except OSError as error:
            if not of_a_file(error):
                raise
            unread(directory, error)
            continue
        if found is not None:
            yield found


def folder(fs: FileSystem, root: int, directory: str) -> CopiedFolder | None:
    """None for what is no folder of ours. Raises OSError where that cannot be read."""
    try:
        with folder_directory(fs, root, directory) as fd:
            file = sidefile.read_folder(fs, fd)
            if file is None or not fs.exists(fd, "cur"):
                return None
    except OSError as error:
        if is_no_directory(error):
            return None
        raise
    # A deleted folder is looked at by itself: then its side file tells its name, else its directory does.
    name = (directory_folder(directory) or file.name) if directory else file.name or INBOX
    return CopiedFolder(directory, name, file) if name else None


def told_elsewhere(_directory: str, _error: OSError) -> None:
    """For whoever has another that tells of folders that cannot be read."""


def label(directory: str) -> str:
    """What a folder that cannot be read is called, as far as its directory tells."""
    return (directory_folder(directory) or directory) if directory else INBOX


def messages(fs: FileSystem, root: int, copied: CopiedFolder) -> list[CopiedMessage]:
    """In the order of their UIDs, without those that the journal knows as removed. Raises OSError."""
    with folder_directory(fs, root, copied.directory) as fd:
        told = journal.read(fs, fd)
        cur = fs.open_directory(fd, "cur")
        try:
            names = fs.names(cur)
        finally:
            fs.close(cur)
    made = {name: parse(name) for name in names}
    present = sorted((item.uid, name, item) for name, item in made.items() if item and item.uid not in told.removed)
    return [_message(copied.file, name, item, told.keywords.get(uid, 0)) for uid, name, item in present]


def _message(file: FolderFile, name: str, made: FileName, journalled: int) -> CopiedMessage:
    bits = made.keywords | journalled & ~_NAMED_BITS
    words = tuple(word for bit, word in enumerate(file.keywords) if bits >> bit & 1)
    return CopiedMessage(name, made.size, Flag(made.flags), words)
