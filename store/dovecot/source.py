"""A Dovecot Maildir++ as it lies there: folders, and each message's UID, flags, keywords and dates. Reads only."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import InvalidError, NotFoundError
from store.dovecot import formats
from store.fsops import FileSystem
from store.handle import folder_directory
from store.names import folder_name, foreign_letters
from store.types import INBOX

MAX_OCTETS = 256 * 1024 * 1024  # of a dovecot-uidlist: some three million messages
OTHER_FORMATS = {"mailboxes": "dbox", "dbox-Mails": "dbox", "storage": "mdbox", "dovecot.map.index": "mdbox"}
CONVERT = "let Dovecot convert it first (doveadm sync to maildir:, which keeps UIDs), then adopt that Maildir"
READABLE = "the suite's user must be able to read the whole Maildir"
MBOX = b"From "  # what the first line of an mbox begins with (RFC 4155)
MBOXES_TOLD = 3
_SECONDS = re.compile(r"(\d{6,12})\.")


@dataclass(frozen=True, slots=True)
class Entry:
    """One message: `directory` is cur or new, `saved` the second of its arrival where the name tells it."""

    uid: int
    directory: str
    name: str
    flags: int
    keywords: int
    saved: int | None

    @property
    def base(self) -> str:
        return formats.base_name(self.name)


@dataclass(frozen=True, slots=True)
class Folder:
    """`keywords` in the order of our bits, which `Entry.keywords` uses; `uidvalidity` 0: Dovecot never told one, or
    keeps its dovecot-uidlist elsewhere (CONTROL=)."""

    directory: str
    name: str
    uidvalidity: int
    uidnext: int
    keywords: tuple[str, ...]
    entries: tuple[Entry, ...]


def check(fs: FileSystem, root: int, label: str) -> None:
    """Raises NotFoundError or InvalidError, with the reason, for what is no Maildir++."""
    names = set(fs.names(root))
    for name, kind in OTHER_FORMATS.items():
        if name in names:
            raise InvalidError(
                f"{label} is {kind}: convert it first (doveadm sync, or dsync to maildir:)", code="no-maildir"
            )
    if "cur" not in names and (boxes := [name for name in sorted(names) if _is_mbox(fs, root, name)]):
        more = ", …" if len(boxes) > MBOXES_TOLD else ""
        told = ", ".join(boxes[:MBOXES_TOLD]) + more
        raise InvalidError(f"{label} holds mbox files ({told}) and is no Maildir: {CONVERT}", code="no-maildir")
    if "cur" not in names:
        hint = f"; did you mean {label}/Maildir?" if "Maildir" in names else ""
        raise NotFoundError(f"{label} has no cur: it is no Maildir{hint}", code="no-maildir")
    for name in sorted(names - {"cur", "new", "tmp"}):
        if not name.startswith(".") and _is_maildir(fs, root, name):
            raise InvalidError(
                f"{label}/{name}: folders as plain directories (LAYOUT=fs) are not known", code="no-maildir"
            )


def not_a_directory(fs: FileSystem, label: str) -> InvalidError:
    """Why `label`, a path that leads to no directory, cannot be adopted."""
    parent, _, name = label.rpartition("/")
    fd = fs.open_root(parent or "/")
    try:
        if _is_mbox(fs, fd, name):
            return InvalidError(f"{label} is an mbox file and no Maildir: {CONVERT}", code="no-maildir")
    finally:
        fs.close(fd)
    return InvalidError(f"{label} is a file: a Maildir is a directory with cur, new and tmp", code="no-maildir")


def _is_mbox(fs: FileSystem, parent: int, name: str) -> bool:
    with contextlib.suppress(OSError):
        fd = fs.open_to_read(parent, name)
        try:
            return fs.is_plain(fs.status(fd)) and fs.read(fd, 0, len(MBOX)) == MBOX
        finally:
            fs.close(fd)
    return False


def _is_maildir(fs: FileSystem, root: int, name: str) -> bool:
    with contextlib.suppress(OSError), folder_directory(fs, root, name) as fd:
        return fs.exists(fd, "cur")
    return False


def _is_folder(fs: FileSystem, root: int, name: str, label: str) -> bool:
    """Raises InvalidError for one that would be left behind, with its mail."""
    try:
        with folder_directory(fs, root, name) as fd:
            return fs.exists(fd, "cur")
    except PermissionError as error:
        raise InvalidError(f"{label}/{name}: {error.strerror}; {READABLE}", code="no-maildir") from error
    except OSError as error:  # a file; or a link, which may lead to a folder
        if fs.exists(root, f"{name}/cur"):
            raise InvalidError(
                f"{label}/{name} is a symbolic link: put the folder itself there, or take the link away",
                code="no-maildir",
            ) from error
        return False


def folders(fs: FileSystem, root: int, label: str) -> Iterator[Folder]:
    """INBOX first. Raises InvalidError for a name that cannot be one of ours, and for what cannot be read; OSError."""
    taken = {INBOX}
    yield _folder(fs, root, "", INBOX)
    for directory in sorted(name for name in fs.names(root) if name.startswith(".") and name.strip(".")):
        if _is_folder(fs, root, directory, label):
            name = _free(folder_name(formats.folder_of(directory)), taken)
            taken.add(name)
            yield _folder(fs, root, directory, name)


def _free(name: str, taken: set[str]) -> str:
    """Two spellings of one name (composed and decomposed accents) become two folders."""
    return name if name not in taken else _free(f"{name} (2)", taken)


def subscriptions(fs: FileSystem, root: int) -> set[str]:
    found = set()
    for name in formats.subscriptions(_read(fs, root, "subscriptions")):
        with contextlib.suppress(InvalidError):
            found.add(folder_name(name))
    return found


def _folder(fs: FileSystem, root: int, directory: str, name: str) -> Folder:
    try:
        return _read_folder(fs, root, directory, name)
    except PermissionError as error:
        raise InvalidError(f"{name}: {error.filename}: {error.strerror}; {READABLE}", code="no-maildir") from error


def _read_folder(fs: FileSystem, root: int, directory: str, name: str) -> Folder:
    with folder_directory(fs, root, directory) as fd:
        uids = formats.uid_list(_read(fs, fd, "dovecot-uidlist"))
        words = formats.keywords(_read(fs, fd, "dovecot-keywords"))
        files = [(where, file) for where in ("cur", "new") for file in _names(fs, fd, where)]
    letters = sorted(words)
    known = {file: uids.uids.get(formats.base_name(file), 0) for _, file in files}
    entries = [_entry(known[file], where, file, letters) for where, file in files if known[file]]
    # Files that Dovecot has not seen yet get the next UIDs in the order of their names, as it would give them.
    unseen = sorted((_age(file), file, where) for where, file in files if not known[file])
    entries += [_entry(uid, where, file, letters) for uid, (_, file, where) in enumerate(unseen, uids.uidnext)]
    return Folder(
        directory,
        name,
        uids.uidvalidity,
        uids.uidnext + len(unseen),
        tuple(words[index] for index in letters),
        tuple(sorted(_each_once(entries), key=lambda entry: entry.uid)),
    )


def _each_once(entries: list[Entry]) -> Iterator[Entry]:
    """A message listed under two names (a rename while we read) counts once."""
    seen: set[int] = set()
    for entry in entries:
        if entry.uid not in seen:
            seen.add(entry.uid)
            yield entry


def _entry(uid: int, where: str, file: str, letters: list[int]) -> Entry:
    # In new/, too: there Dovecot writes the flags of what no client has seen yet.
    flags, bits = foreign_letters(file)
    keywords = sum(1 << position for position, index in enumerate(letters) if bits >> index & 1)
    saved = _SECONDS.match(file)
    return Entry(uid, where, file, flags, keywords, int(saved[1]) if saved else None)


def _age(file: str) -> int:
    seconds = _SECONDS.match(file)
    return int(seconds[1]) if seconds else 0


def _names(fs: FileSystem, directory: int, where: str) -> list[str]:
    try:
        fd = fs.open_directory(directory, where)
    except FileNotFoundError:
        return []
    try:
        return [name for name in fs.names(fd) if not name.startswith(".")]
    finally:
        fs.close(fd)


def _read(fs: FileSystem, directory: int, name: str) -> bytes:
    try:
        return fs.read_file(directory, name, MAX_OCTETS)
    except FileNotFoundError:
        return b""
