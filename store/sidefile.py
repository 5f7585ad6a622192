"""The small files beside the messages that hold what file names cannot: identity, floors, keywords, subscriptions.

One JSON object each, replaced as a whole (temporary name, sync, rename, sync of the directory), so a reader sees the
old or the new one. They are the truth; the index copies them. RFC 8474 (MAILBOXID), RFC 9051 2.3.1.1 (UIDVALIDITY).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from store.fsops import FileSystem

FOLDER_FILE = "beffroi-folder"
ACCOUNT_FILE = "beffroi-account"
INTENT_FILE = "beffroi-intent"
MAX_OCTETS = 256 * 1024
FORMAT = 1


@dataclass(frozen=True, slots=True)
class FolderFile:
    """`uid_floor`: no UID at or above it was ever used. `modseq_floor`: no mod-sequence at or above it ever left the
    process, but for the exact one of a clean stop. `name` only where the directory name cannot tell it. `keywords` in
    the order of their letters and bits."""

    id: str
    uidvalidity: int
    uid_floor: int
    modseq_floor: int
    special_use: str = ""
    subscribed: bool = True
    keywords: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class AccountFile:
    """`last_uidvalidity`: the highest ever given here, so that a name made again gets a higher one (RFC 9051
    2.3.1.1). `subscriptions`: subscribed names without a folder (RFC 9051 6.3.7). `address`: in the recycle bin only,
    where the path does not tell it."""

    id: str
    organisation: str
    last_uidvalidity: int
    subscriptions: tuple[str, ...] = ()
    address: str = ""


@dataclass(frozen=True, slots=True)
class Intent:
    """A rename under way: (directory now, directory to be, true name to be) of each folder, done or done again."""

    moves: tuple[tuple[str, str, str], ...]


def read_folder(fs: FileSystem, directory: int) -> FolderFile | None:
    """None when it is absent or damaged: the folder then gets a new identity."""
    values = _read(fs, directory, FOLDER_FILE)
    try:
        return None if values is None else _folder(values)
    except (KeyError, TypeError, ValueError):
        return None


def _folder(values: dict[str, Any]) -> FolderFile:
    return FolderFile(
        id=str(values["id"]),
        uidvalidity=int(values["uidvalidity"]),
        uid_floor=int(values["uid_floor"]),
        modseq_floor=int(values["modseq_floor"]),
        special_use=str(values.get("special_use", "")),
        subscribed=bool(values.get("subscribed", True)),
        keywords=tuple(str(word) for word in values.get("keywords", ())),
        name=str(values.get("name", "")),
    )


def write_folder(fs: FileSystem, directory: int, file: FolderFile) -> None:
    _write(fs, directory, FOLDER_FILE, {name: getattr(file, name) for name in FolderFile.__slots__})


def update_folder(fs: FileSystem, directory: int, known: FolderFile | None = None, **changes: Any) -> FolderFile:
    """Read, change, write; `known` where it was lost. Durable when this returns. Raises FileNotFoundError when there is
    neither. Called under the account's lock only."""
    file = read_folder(fs, directory) or known
    if file is None:
        raise FileNotFoundError(FOLDER_FILE)
    changed = replace(file, **changes)
    if changed != file:
        write_folder(fs, directory, changed)
    else:
        fs.sync(directory)  # whoever wrote it may have been killed between its rename and its sync
    return changed


def rename_folder(fs: FileSystem, root: int, directory: str, name: str) -> str:
    """Tell the folder in `directory` its name where the directory's own cannot; the one it had told before."""
    fd = fs.open_directory(root, directory)
    try:
        before = read_folder(fs, fd)
        update_folder(fs, fd, name=name)
    finally:
        fs.close(fd)
    return before.name if before is not None else ""


def read_account(fs: FileSystem, directory: int) -> AccountFile | None:
    values = _read(fs, directory, ACCOUNT_FILE)
    try:
        if values is None:
            return None
        return AccountFile(
            id=str(values["id"]),
            organisation=str(values["organisation"]),
            last_uidvalidity=int(values["last_uidvalidity"]),
            subscriptions=tuple(str(name) for name in values.get("subscriptions", ())),
            address=str(values.get("address", "")),
        )
    except (KeyError, TypeError, ValueError):
        return None


def write_account(fs: FileSystem, directory: int, file: AccountFile) -> None:
    _write(fs, directory, ACCOUNT_FILE, {name: getattr(file, name) for name in AccountFile.__slots__})


def read_intent(fs: FileSystem, directory: int) -> Intent | None:
    values = _read(fs, directory, INTENT_FILE)
    if values is None:
        return None
    try:
        return Intent(tuple((str(old), str(new), str(name)) for old, new, name in values["moves"]))
    except (KeyError, TypeError, ValueError):
        return None


def write_intent(fs: FileSystem, directory: int, intent: Intent) -> None:
    _write(fs, directory, INTENT_FILE, {"moves": intent.moves})


def remove_intent(fs: FileSystem, directory: int) -> None:
    fs.unlink(directory, INTENT_FILE)
    fs.sync(directory)


def _read(fs: FileSystem, directory: int, name: str) -> dict[str, Any] | None:
    try:
        values = json.loads(fs.read_file(directory, name, MAX_OCTETS))
    except (FileNotFoundError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _write(fs: FileSystem, directory: int, name: str, values: dict[str, Any]) -> None:
    text = json.dumps({"format": FORMAT, **values}, ensure_ascii=False, indent=1)
    fs.replace_file(directory, name, text.encode("utf-8") + b"\n")
