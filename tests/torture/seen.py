"""What a reader in another process could have seen: the committed states of each account's index, in order.

The index is read from its octets as they were at each commit, so a state counts as told from the moment its last frame
is in the WAL, before anybody was answered.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apsw

from message.content import BytesContent
from message.facts import gather
from store.records import WAITING, derived_thread, email_id
from store.schema import UID_BITS, UID_MASK
from tests.torture.disk import Change, Disk

Key = tuple[str, int]  # folder id, UID
Flags = tuple[int, tuple[str, ...]]
_FRAME_HEADER = 24


@dataclass(frozen=True, slots=True)
class Mail:
    """One message as the index tells it; `where` are its flags and keywords."""

    email_id: str
    thread_id: str
    internal_date: int
    save_date: int
    flags: Flags

    @property
    def identity(self) -> tuple[str, str, int, int]:
        return self.email_id, self.thread_id, self.internal_date, self.save_date

    def is_still(self, before: Mail) -> bool:
        """The same message, as far as anybody was told: a thread that is waited for (`store.joining`) was told to
        nobody, and is found once."""
        return self.identity == (before if before.thread_id else replace(before, thread_id=self.thread_id)).identity


@dataclass(frozen=True, slots=True)
class FolderSeen:
    name: str
    uidvalidity: int
    uidnext: int
    modseq: int
    special_use: str
    subscribed: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """One account at one commit; `position` is the number of the event after it. `images`: its index files then."""

    position: int
    folders: dict[str, FolderSeen]
    mail: dict[Key, Mail]
    images: dict[str, bytes]


class CommitFinder:
    """Told every change to a WAL: True when it completes a commit (SQLite file format 4.1: a frame whose header holds
    the database's size)."""

    def __init__(self) -> None:
        self._ending: dict[int, int] = {}

    def completes(self, change: Change) -> bool:
        number = change.owner[0]
        if change.kind != "write":
            return False
        if len(change.data) == _FRAME_HEADER and change.offset >= 32:
            commit = int.from_bytes(change.data[4:8], "big")
            self._ending[number] = change.offset + _FRAME_HEADER if commit else 0
            return False
        return bool(self._ending.get(number)) and change.offset == self._ending.pop(number)


def index_images(disk: Disk, account: str) -> dict[str, bytes]:
    """The index files of an account, by name, but for the shared memory."""
    number = disk.find(account)
    names = disk.directories.get(number or 0, {})
    return {
        name: disk.files[inner].data
        for name, inner in names.items()
        if "index" in name and not name.endswith("-shm") and inner in disk.files
    }


def read(disk: Disk, account: str, scratch: Path, position: int) -> Seen | None:
    """None before the tables were made."""
    images = index_images(disk, account)
    with _opened(images, scratch) as db:
        try:
            folders = db.execute(
                "SELECT number, id, name, uidvalidity, uidnext, modseq, special_use, subscribed, keywords, directory "
                "FROM folders"
            ).fetchall()
            rows = db.execute(
                "SELECT key, email_id, thread_id, internal_date, save_date, flags, keywords, name FROM messages"
            ).fetchall()
        except apsw.SQLError:
            return None
    by_number = {row[0]: (row[1], json.loads(row[8]), row[9]) for row in folders}
    mail: dict[Key, Mail] = {}
    for key, email, thread, internal, saved, flags, bits, name in rows:
        folder_id, words, directory = by_number[key >> UID_BITS]
        if not email:
            email, thread = _from_octets(disk, "/".join(filter(None, (account, directory, "cur", name))), thread)
        named = tuple(sorted(word for bit, word in enumerate(words) if bits >> bit & 1))
        mail[folder_id, key & UID_MASK] = Mail(email, thread, internal, saved, (flags, named))
    told = {row[1]: FolderSeen(row[2], row[3], row[4], row[5], row[6], bool(row[7])) for row in folders}
    return Seen(position, told, mail, images)


def _from_octets(disk: Disk, path: str, thread: str) -> tuple[str, str]:
    """The ids of a message that the index knows by its name alone: whoever asks for them has its file read."""
    file = disk.files.get(disk.find(path) or 0)
    if file is None:
        return "", thread
    email = email_id(hashlib.sha256(file.data).digest())
    if thread == WAITING:
        return email, ""
    return email, thread or derived_thread(gather(BytesContent(file.data)), email)


@contextmanager
def _opened(images: dict[str, bytes], scratch: Path) -> Iterator[Any]:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for name, data in images.items():
        (scratch / name).write_bytes(data)
    db = apsw.Connection(str(scratch / "index.db"), vfs="unix")
    try:
        yield db
    finally:
        db.close()
