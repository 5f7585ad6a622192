"""What stands where a directory or a file of ours belongs and is of another kind: a FIFO in place of cur/, a directory
in place of the lock. `store verify` names each with its path and what to do. Looked at by name alone: nothing of it is
opened, no symbolic link is followed, no index is needed.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping

from store import odd, structure
from store.faults import is_no_directory, of_a_file
from store.fsops import FileSystem
from store.handle import folder_directory
from store.index import INDEX_FILES
from store.journal import JOURNAL
from store.lockfile import LOCK_FILE
from store.sidefile import FOLDER_FILE, INTENT_FILE

# What may be missing is made again by itself, or by `store rebuild`.
_BACK = "take it away, and put back what was there (a backup has it)"
_FOLDER = "take it away, and put back the folder's directory, if there was one (a backup has it)"
_EMPTY = "take it away; beffroi store rebuild makes it again, empty"
_AGAIN = "take it away; it is made again"
_FOLDER_DIRECTORIES = {"cur": _BACK, "new": _EMPTY, "tmp": _EMPTY}
_FOLDER_FILES = {FOLDER_FILE: "take it away; beffroi store rebuild makes it again from the index", JOURNAL: _BACK}
_ACCOUNT_FILES = {LOCK_FILE: _AGAIN, INTENT_FILE: "take it away", **dict.fromkeys(INDEX_FILES, _AGAIN)}

Misplaced = Mapping[str, list[str]]  # lines by the folder's directory ("": INBOX's, and the account's own)


def found(fs: FileSystem, root: int) -> Misplaced:
    """Of one account; by folders that cannot be opened, which others name. Raises OSError."""
    told: dict[str, list[str]] = {}
    for directory in ["", *sorted(structure.directories(fs, root))]:
        try:
            with folder_directory(fs, root, directory) as fd:
                lines = [*_in_folder(fs, fd), *(() if directory else _amiss(fs, fd, _ACCOUNT_FILES, plain=True))]
        except OSError as error:
            if not is_no_directory(error) and not of_a_file(error):
                raise
            lines = list(_no_folder(fs, root, directory))
        if lines:
            told[directory] = lines
    return told


def _in_folder(fs: FileSystem, folder: int) -> Iterator[str]:
    yield from _amiss(fs, folder, _FOLDER_DIRECTORIES, plain=False)
    yield from _amiss(fs, folder, _FOLDER_FILES, plain=True)
    try:
        with folder_directory(fs, folder, "tmp") as tmp:
            yield from _amiss(fs, tmp, dict.fromkeys(sorted(fs.names(tmp)), "take it away"), plain=True)
    except OSError as error:
        if not is_no_directory(error) and not of_a_file(error):
            raise


def _amiss(fs: FileSystem, directory: int, wanted: Mapping[str, str], *, plain: bool) -> Iterator[str]:
    """Of `wanted`, which are named with what to do: what is there and no plain file, or no directory."""
    for name, remedy in wanted.items():
        try:
            mode = fs.stat(directory, name).st_mode
        except FileNotFoundError:
            continue
        if not (stat.S_ISREG(mode) if plain else stat.S_ISDIR(mode)):
            yield _line(fs, directory, name, mode, remedy, plain=plain)


def is_no_folder(fs: FileSystem, root: int, directory: str) -> bool:
    """Of what is there. Raises OSError."""
    return bool(directory) and not stat.S_ISDIR(fs.stat(root, directory).st_mode)


def no_directory(fs: FileSystem, root: int, directory: str) -> str:
    """What is told of what stands in place of a folder's directory."""
    return _line(fs, root, directory, fs.stat(root, directory).st_mode, _FOLDER, plain=False)


def _no_folder(fs: FileSystem, root: int, directory: str) -> Iterator[str]:
    """Symbolic links are told with the folders; a plain file may be a temporary one."""
    mode = fs.stat(root, directory).st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        yield no_directory(fs, root, directory)


def _line(fs: FileSystem, directory: int, name: str, mode: int, remedy: str, *, plain: bool) -> str:
    wanted = "plain file" if plain else "directory"
    return f"{fs.real_path(directory)}/{name} {odd.kind(mode)}, not a {wanted}: {remedy}"
