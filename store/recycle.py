"""The recycle bin: DATA/recycle/<account id>/ takes deleted folders and removed accounts, whole, by one rename."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from store import sidefile
from store.fsops import FileSystem
from store.handle import Handle
from store.names import account_directory, encode

REMOVED = "removed."
ACCOUNT = "account."


@contextlib.contextmanager
def opened(fs: FileSystem, recycle: int, account_id: str) -> Iterator[int]:
    """The account's own bin, made when it is missing."""
    name = encode(account_id)
    if not fs.exists(recycle, name):
        with contextlib.suppress(FileExistsError):
            fs.make_directory(recycle, name)
        fs.sync(recycle)
    fd = fs.open_directory(recycle, name)
    try:
        yield fd
    finally:
        fs.close(fd)


def remove_account(handle: Handle, domains: int, recycle: int) -> None:
    """Under the account lock. Other processes notice by the missing index, and refuse the directory by its owner."""
    fs, ref = handle.fs, handle.ref
    file = sidefile.read_account(fs, handle.root)
    if file is not None:
        sidefile.write_account(fs, handle.root, replace(file, id=REMOVED + file.id))
    handle.discard_index()
    domain = fs.open_directory(domains, ref.domain)
    try:
        with opened(fs, recycle, ref.id) as directory:
            fs.rename(domain, account_directory(ref.local), directory, _name(handle))
            fs.sync(directory)
        fs.sync(domain)
    finally:
        fs.close(domain)


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


def _name(handle: Handle) -> str:
    return f"{ACCOUNT}{int(handle.tools.clock.now())}.{handle.tools.ids.object_id()}"
