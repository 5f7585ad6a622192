"""What of a folder's directory is lost and can be had again, before an index is made from the files alone.

A tool that copies no empty directories (object stores, many synchronisers) brings an account back without tmp/, new/
and many a cur/. They are made again here, where an operator asks for it, and nowhere else: after fsck the messages of a
cur/ may lie in lost+found, and mail programs would take all of them for removed (`store.recover`). A side file that is
lost is written again from the index, the last that knows it: afterwards only the files would be asked.
"""

from __future__ import annotations

from collections.abc import Iterator

import core.log
from store import batch, catalog, journal, lacking, recover, sidefile, structure
from store.catalog import FolderRow
from store.faults import IndexDamagedError, is_no_directory, of_a_file, translated
from store.fsops import FileSystem
from store.handle import Handle, folder_directory
from store.layout import MAILDIR

log = core.log.get(__name__)


def complete(handle: Handle) -> None:
    """Directories, before the index is looked at. Under the account's lock. Raises OSError."""
    for directory, names in list(_incomplete(handle.fs, handle.root)):
        with folder_directory(handle.fs, handle.root, directory) as fd:
            for name in names:
                handle.fs.make_directory(fd, name)
            handle.fs.sync(fd)
        log.warning("store-folder-completed", account=handle.ref.id, directory=directory, made=names)


def restore_side_files(handle: Handle, wait: float) -> None:
    """From the index, before another is made. Takes the account's lock where one is lost. Raises OSError,
    StorageError."""
    if not any(_without_side_file(handle)):
        return
    with handle.lock.held(wait):
        try:
            with translated():
                recover.doubt(handle, batch.ready(handle))
                batch.ready(handle)
        except IndexDamagedError:
            return  # it knows nothing that could be believed


def restore_journals(handle: Handle, wait: float) -> None:
    """Likewise what journals lack. Raises OSError, StorageError."""
    with handle.lock.held(wait):
        try:
            with translated():
                batch.ready(handle)
                for row in catalog.everything(handle.writer):
                    _restore_journal(handle, row)
        except IndexDamagedError:
            return


def _restore_journal(handle: Handle, row: FolderRow) -> None:
    """By a folder that cannot be read, which the rebuild names."""
    fs = handle.fs
    try:
        with folder_directory(fs, handle.root, row.directory) as fd:
            there = set(fs.names(handle.writing.cur(row.id, row.directory))).__contains__
            if lines := lacking.lines(handle.writer, row, journal.read(fs, fd), there):
                made = not fs.exists(fd, journal.JOURNAL)
                journal.append(fs, fd, lines)
                if made:
                    fs.sync(fd)
                log.warning("store-journal-completed", account=handle.ref.id, folder=row.id, lines=len(lines))
    except OSError as error:
        if not is_no_directory(error) and not of_a_file(error):
            raise


def _incomplete(fs: FileSystem, root: int) -> Iterator[tuple[str, list[str]]]:
    """Directories with a side file, INBOX's in any case, and what they lack; by those that cannot be read, which the
    rebuild names."""
    for directory in ["", *sorted(structure.directories(fs, root))]:
        try:
            with folder_directory(fs, root, directory) as fd:
                if directory and sidefile.read_folder(fs, fd) is None:
                    continue
                if missing := [name for name in MAILDIR if not fs.exists(fd, name)]:
                    yield directory, missing
        except OSError as error:
            if not is_no_directory(error) and not of_a_file(error):
                raise


def _without_side_file(handle: Handle) -> Iterator[FolderRow]:
    """Of the folders that the index knows; none where it cannot be read."""
    try:
        with translated():
            rows = catalog.everything(handle.reader)
    except IndexDamagedError:
        return
    for row in rows:
        try:
            with folder_directory(handle.fs, handle.root, row.directory) as fd:
                if handle.fs.exists(fd, "cur") and sidefile.read_folder(handle.fs, fd) is None:
                    yield row
        except OSError as error:
            if not is_no_directory(error) and not of_a_file(error):
                raise
