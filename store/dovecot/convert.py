"""Each message of a Dovecot Maildir copied into a new file of ours: same UID, UIDVALIDITY, flags, keywords and dates,
with CRLF line ends, so that a client that changes servers downloads nothing again.

Everything is built beside the account's place, in a directory that nobody serves, and renamed into it at the end. A run
that is cut off, or done while Dovecot still serves, is done again: what is there already stays, what changed is
followed. The index is made from the files afterwards, as after any loss (promise P5). Blocking: for a worker thread.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import core.log
from core.errors import InvalidError
from core.ids import base32
from store import copies, layout, sidefile, stage
from store.crlf import copy_with_crlf
from store.dovecot import formats, source
from store.dovecot.source import Entry, Folder
from store.fsops import FileSystem
from store.handle import Tools, folder_directory
from store.journal import JOURNAL
from store.names import FileName, account_directory, fresh_unique, parse
from store.names import folder_directory as directory_of
from store.sidefile import AccountFile, FolderFile
from store.types import INBOX, AccountRef, Adopted

log = core.log.get(__name__)

PREPARED = ".adopt."
THREADS = 8  # mostly waiting for syncs

# Folder names in use, in French and English mail programs > special use (RFC 6154); the first that is there gets it.
USUAL = {
    "\\Drafts": ("Drafts", "Brouillons", "Draft"),
    "\\Sent": ("Sent", "Envoyés", "Sent Items", "Sent Messages", "Messages envoyés", "Éléments envoyés"),
    "\\Junk": ("Junk", "Indésirables", "Spam", "Junk E-mail", "Courrier indésirable", "Pourriel"),
    "\\Trash": ("Trash", "Corbeille", "Deleted Items", "Deleted Messages", "Éléments supprimés"),
    "\\Archive": ("Archive", "Archives"),
}


def _unread(_directory: str, error: OSError) -> None:
    raise error


def special_uses(names: Sequence[str]) -> dict[str, str]:
    """Folder name > special use."""
    found = {}
    for use, usual in USUAL.items():
        first = next((name for name in usual if name in names), None)
        if first is not None:
            found[first] = use
    return found


class Conversion:
    """One run for one account. `domain`: the descriptor of its domain's directory; `origin`: of the Maildir, which
    people know as `label`."""

    def __init__(self, tools: Tools, domain: int, ref: AccountRef, origin: int, label: str) -> None:
        self._tools, self._fs, self._domain, self._ref, self._origin = tools, tools.fs, domain, ref, origin
        self._label = label
        self._name = PREPARED + account_directory(ref.local)
        self._messages = self._octets = self._copied = 0

    def prepare(self) -> Adopted:
        """Bring the prepared directory up to the source. Raises InvalidError with the reason when the source cannot be
        read as it should; OSError."""
        fs = self._fs
        if not fs.exists(self._domain, self._name):
            fs.make_directory(self._domain, self._name)
            fs.sync(self._domain)
        root = fs.open_directory(self._domain, self._name)
        try:
            return self._fill(root)
        finally:
            fs.close(root)

    def place(self) -> None:
        """The prepared directory becomes the account's; nothing may be there. Raises FileExistsError."""
        fs, target = self._fs, account_directory(self._ref.local)
        if fs.exists(self._domain, target):
            raise FileExistsError(target)
        fs.rename(self._domain, self._name, self._domain, target)
        fs.sync(self._domain)

    def _fill(self, root: int) -> Adopted:
        found = list(source.folders(self._fs, self._origin, self._label))
        subscribed = source.subscriptions(self._fs, self._origin)
        uses = special_uses([folder.name for folder in found])
        before = {item.name: item for item in copies.folders(self._fs, root, _unread)}
        highest = now = int(self._tools.clock.now())
        for number, folder in enumerate(found):
            old = before.pop(folder.name, None)
            file = FolderFile(
                id=old.file.id if old else self._tools.ids.object_id(),
                uidvalidity=folder.uidvalidity or (old.file.uidvalidity if old else now + number),
                uid_floor=folder.uidnext,
                # Higher than any mod-sequence Dovecot can have told: its counters rise with changes, not with seconds.
                modseq_floor=now,
                special_use=uses.get(folder.name, ""),
                subscribed=folder.name in subscribed or folder.name == INBOX,
                keywords=folder.keywords,
            )
            highest = max(highest, file.uidvalidity)
            self._folder(root, folder, file)
        for gone in before.values():
            layout.remove_tree(self._fs, root, gone.directory)
        names = {folder.name for folder in found}
        account = AccountFile(
            self._ref.id, self._ref.organisation_id, highest, tuple(sorted(subscribed - names)),
        )  # fmt: skip
        sidefile.write_account(self._fs, root, account)
        renumbered = tuple(folder.name for folder in found if folder.entries and not folder.uidvalidity)
        return Adopted(len(found), self._messages, self._octets, self._copied, renumbered)

    def _folder(self, root: int, folder: Folder, file: FolderFile) -> None:
        fs = self._fs
        directory = directory_of(folder.name, file.id)
        if directory.startswith(".#"):
            file = replace(file, name=folder.name)
        if directory and not fs.exists(root, directory):
            fs.make_directory(root, directory)
        with folder_directory(fs, root, directory) as fd:
            for name in layout.MAILDIR:  # a power loss may have left some of what an earlier run made
                with contextlib.suppress(FileExistsError):
                    fs.make_directory(fd, name)
            if not fs.exists(fd, JOURNAL):
                fs.close(fs.create(fd, JOURNAL))
            cur = fs.open_directory(fd, "cur")
            try:
                self._messages_of(root, cur, folder)
                fs.sync(cur)
            finally:
                fs.close(cur)
            sidefile.write_folder(fs, fd, file)
        log.info("store-adoption", account=self._ref.id, folder=file.id, messages=len(folder.entries))

    def _messages_of(self, root: int, cur: int, folder: Folder) -> None:
        fs = self._fs
        present = {made.uid: (made, name) for name in fs.names(cur) if (made := parse(name)) is not None}
        wanted: list[Entry] = []
        for entry in folder.entries:
            made, name = present.pop(entry.uid, (None, ""))
            if made is not None and made.unique == _unique(entry):
                self._count(made.size)
                right = str(replace(made, flags=entry.flags, keywords=entry.keywords))
                if right != name:
                    fs.rename(cur, name, cur, right)
                continue
            if made is not None:
                fs.unlink(cur, name)
            wanted.append(entry)
        for _, name in present.values():  # expunged there since the last run
            fs.unlink(cur, name)
        with _folder_files(fs, self._origin, folder) as directories, ThreadPoolExecutor(THREADS) as pool:
            for size in pool.map(lambda entry: self._copy(root, cur, directories, folder, entry), wanted):
                if size is not None:
                    self._count(size)
                    self._copied += 1

    def _count(self, size: int) -> None:
        self._messages += 1
        self._octets += size

    def _copy(self, root: int, cur: int, directories: dict[str, int], folder: Folder, entry: Entry) -> int | None:
        """Its size; None when Dovecot took it away (or renamed it: the next run finds it) meanwhile."""
        fs = self._fs
        try:
            fd = fs.open_to_read(directories[entry.directory], entry.name)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise InvalidError(
                f"{folder.name}: {entry.name}: {error.strerror}; {source.READABLE}", code="odd-file"
            ) from error
        except OSError as error:
            link = error.errno == errno.ELOOP
            told = "is a symbolic link: put the message itself there, or take the link away" if link else error.strerror
            raise InvalidError(f"{folder.name}: {entry.name}: {told}", code="odd-file") from error
        try:
            status = fs.status(fd)
            if not fs.is_plain(status):
                raise InvalidError(f"{folder.name}: {entry.name}: is no plain file: take it away", code="odd-file")
            packed = formats.packing(fs.read(fd, 0, formats.LONGEST_MAGIC))
            if packed:
                raise InvalidError(
                    f"{folder.name}: {entry.name} is stored as {packed}; let Dovecot unpack it first (doveadm sync to "
                    "a maildir: without zlib or mail_crypt)",
                    code="packed-mail",
                )
            return self._write(root, cur, entry, fd, status)
        finally:
            os.close(fd)

    def _write(self, root: int, cur: int, entry: Entry, fd: int, status: os.stat_result) -> int:
        fs, date = self._fs, stage.sane_date(status.st_mtime)
        tmp = fs.open_directory(root, "tmp")
        name = f"adopt.{os.getpid()}.{os.urandom(8).hex()}"
        try:
            made = fs.create(tmp, name)
            try:
                size = copy_with_crlf(fs, fd, status.st_size, made, end=False)
                fs.set_time(made, date)
                fs.sync(made)
            finally:
                fs.close(made)
            saved = date if entry.saved is None else entry.saved
            file = FileName(saved, _unique(entry), entry.uid, size, entry.flags, entry.keywords)
            fs.rename(tmp, name, cur, str(file))
        finally:
            fs.close(tmp)
        return size


def forget(fs: FileSystem, domains: int, ref: AccountRef) -> None:
    """What was prepared for an account that is being removed goes with it; what another account prepared stays."""
    name = PREPARED + account_directory(ref.local)
    with (
        contextlib.suppress(FileNotFoundError, NotADirectoryError),
        folder_directory(fs, domains, ref.domain) as domain,
    ):
        with folder_directory(fs, domain, name) as root:
            file = sidefile.read_account(fs, root)  # written last: none where a run was cut off
        if file is None or file.id == ref.id:
            layout.remove_tree(fs, domain, name)


def _unique(entry: Entry) -> str:
    """The same in every run."""
    digest = hashlib.sha256(entry.base.encode("utf-8", "surrogateescape")).digest()
    return fresh_unique(base32(int.from_bytes(digest[:13]) >> 4, 20))


@contextlib.contextmanager
def _folder_files(fs: FileSystem, origin: int, folder: Folder) -> Iterator[dict[str, int]]:
    """The source folder's cur and new, held open."""
    with folder_directory(fs, origin, folder.directory) as fd, contextlib.ExitStack() as stack:
        directories = {}
        for where in {entry.directory for entry in folder.entries}:
            directories[where] = fs.open_directory(fd, where)
            stack.callback(fs.close, directories[where])
        yield directories
