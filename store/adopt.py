"""Files that other programs put into a folder: copied into a file of ours with CRLF line ends, a new UID, the same
flags and date; the original goes away after that.

So no octet of a message ever depends on a file that somebody else holds open or linked (security.md rows 109, 110).
Symbolic links, directories, other owners' files and absurd sizes are left alone and told in the log.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

import core.log
from message.content import BytesContent, Content
from store import odd, place, records, stage, unreadable
from store.catalog import FolderRow
from store.crlf import copy_with_crlf
from store.faults import is_no_directory, of_a_file
from store.handle import Tools
from store.names import FileName, delivery_unique, foreign_letters
from store.records import Prepared, Record
from store.transaction import Transaction
from store.types import Flag

log = core.log.get(__name__)


def prepared_file(tools: Tools, cur: int, name: str, size: int, date: int) -> Prepared:
    """Read a file of ours in cur/ for the index."""
    fd = tools.fs.open_to_read(cur, name)
    try:
        content = in_memory(stage.file_content(tools.fs, fd, size))
        return Prepared(size, records.email_id(stage.digest_of(content)), date, tools.gather(content))
    finally:
        os.close(fd)


def in_memory(content: Content) -> Content:
    """Short files are scanned from memory."""
    return BytesContent(content.read(0, content.size)) if content.size <= stage.IN_MEMORY else content


def adopt_all(transaction: Transaction, row: FolderRow, names: Sequence[str]) -> None:
    """`names` in cur/, and everything in new/."""
    for name in names:
        _adopt(transaction, row, transaction.cur(row), name, "cur")
    try:
        with transaction.directory(row) as parent:
            new = transaction.fs.open_directory(parent, "new")
    except OSError as error:
        if not is_no_directory(error):
            raise
        # Removed by hand: nobody can have put anything there. Nor is another kind of file a reason not to serve what
        # is in cur/.
        if not isinstance(error, FileNotFoundError):
            told = error.strerror or str(error)
            transaction.handle.tell_once("store-odd-file", f"{row.id}/new", folder=row.id, file="new", reason=told)
        return
    try:
        for name in transaction.fs.names(new):
            _adopt(transaction, row, new, name, "new")
    finally:
        transaction.fs.close(new)


def _adopt(transaction: Transaction, row: FolderRow, directory: int, name: str, where: str) -> None:
    fs, handle = transaction.fs, transaction.handle
    status = fs.stat(directory, name)
    why = odd.reason(status, handle.owner, transaction.tools.limits.message_octets)
    if why:
        handle.tell_once(
            "store-odd-file", f"{row.id}/{where}/{name}", folder=row.id, file=f"{where}/{name}", reason=why
        )
        if where == "cur":
            handle.leave_in_cur(row.id, name, status)
        return
    # The same file makes the same unique part, as a delivery told again does: a copy that was made before we were cut
    # off is recognised, and only the original is left to go.
    # Its ctime, which nobody sets, tells it from what is put back later.
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    told = f"{row.id} {name.partition(':2,')[0]} {status.st_ino} {times} {status.st_size}"
    unique = delivery_unique(told)
    if place.delivered(transaction, unique) is None:
        file = _copied(transaction, directory, name, status)
        if file is None:
            handle.tell_once("store-odd-file", name, folder=row.id, file=name, reason="cannot be read")
            return
        try:
            _place(transaction, row, file, name, unique)
        finally:
            stage.discard(fs, file)
        transaction.sync_links()
    # A commit that fails undoes the copy: until then the original is the message.
    transaction.after_commit(partial(_remove, transaction, row, where, name))
    log.info("store-adopted", account=handle.ref.id, folder=row.id, size=status.st_size)


def _copied(transaction: Transaction, directory: int, name: str, status: os.stat_result) -> stage.TemporaryFile | None:
    """None for a file that cannot be read: it must not keep the folder's own messages from anybody."""
    try:  # first: a failure of the copy's own is told
        unreadable.try_file(transaction.fs, directory, name, status.st_size)
    except OSError as error:
        if not of_a_file(error):
            raise
        return None
    fd = transaction.fs.open_to_read(directory, name)
    try:
        return _normalised(transaction, fd, status.st_size, max(0, int(status.st_mtime)))
    finally:
        os.close(fd)


def _remove(transaction: Transaction, row: FolderRow, where: str, name: str) -> None:
    fs = transaction.fs
    with transaction.directory(row) as parent:
        directory = fs.open_directory(parent, where)
    try:
        fs.unlink(directory, name)
    finally:
        fs.close(directory)


def _normalised(transaction: Transaction, fd: int, size: int, date: int) -> stage.TemporaryFile:
    """The octets with CRLF line ends, in a synced file under tmp/."""
    fs, root = transaction.fs, transaction.handle.root
    tmp = fs.open_directory(root, "tmp")
    try:
        spool = fs.scratch(tmp)
    finally:
        fs.close(tmp)
    try:
        length = copy_with_crlf(fs, fd, size, spool, end=True)
        content = stage.file_content(fs, spool, length)
        return stage.write(transaction.tools, root, b"", content, 0, date, held=True)
    finally:
        fs.close(spool)


def _place(transaction: Transaction, row: FolderRow, file: stage.TemporaryFile, name: str, unique: str) -> None:
    flags, letters = foreign_letters(name)
    bits = letters & (1 << len(row.keywords)) - 1
    uid = transaction.allocate(row, 1)
    made = FileName(transaction.now, unique, uid, file.prepared.size, flags & int(Flag(31)), bits)
    transaction.place(file, row, str(made))
    thread = records.derived_thread(file.prepared.facts, file.prepared.email_id)
    modseq = transaction.next_modseq(row)
    transaction.insert(row, Record(uid, str(made), made.flags, bits, modseq, made.saved, thread, file.prepared))
    place.remember(transaction, row, unique, uid, modseq)
