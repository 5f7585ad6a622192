"""Folders made, renamed, deleted, subscribed. Inside a transaction that names the account's structure as touched.

RFC 9051 6.3.4-6.3.8. A rename of several folders writes a synced intent first; whoever takes the lock after a crash
completes it. A deleted folder goes to the recycle bin as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from core.errors import ConflictError, InvalidError, NotFoundError, QuotaError
from store import catalog, journal, layout, sidefile, structure
from store.catalog import FolderRow
from store.fsops import FileSystem
from store.layout import NewFolder
from store.names import LONG, MAKING, folder_directory, folder_name
from store.sidefile import Intent
from store.transaction import Transaction
from store.types import DELIMITER, INBOX

SPECIAL_USES = frozenset({"\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash", "\\Important"})


def create(transaction: Transaction, name: str, special_use: str = "", *, subscribed: bool = True) -> FolderRow:
    """With missing parents (RFC 9051 6.3.4). A name that was subscribed to before stays so. Raises InvalidError,
    ConflictError, QuotaError."""
    wanted = folder_name(name)
    if special_use and special_use not in SPECIAL_USES:
        raise InvalidError("special use is not known", code="invalid-special-use")
    if transaction.named(wanted) is not None:
        raise ConflictError("folder exists", code="folder-exists")
    levels = wanted.split(DELIMITER)
    for depth in range(1, len(levels)):
        parent = DELIMITER.join(levels[:depth])
        if transaction.named(parent) is None:
            _create_one(transaction, parent, "", subscribed)
    return _create_one(transaction, wanted, special_use, subscribed)


def _create_one(transaction: Transaction, name: str, special_use: str, subscribed: bool) -> FolderRow:
    count = int(transaction.db.value("SELECT count(*) FROM folders"))
    if count >= transaction.tools.limits.folders:
        raise QuotaError("too many folders", code="too-many-folders")
    transaction.touch_structure()
    fs, root = transaction.fs, transaction.handle.root
    account = sidefile.read_account(fs, root)
    subscribed = subscribed or (account is not None and name in account.subscriptions)
    new = NewFolder(name, transaction.tools.ids.object_id(), next_uidvalidity(transaction), special_use, subscribed)
    directory = folder_directory(name, new.id)
    if fs.exists(root, directory):
        structure.name_of(fs, root, directory)  # raises where it cannot be read: it may be this folder
        raise ConflictError("folder exists", code="folder-exists")
    layout.make_folder(fs, root, new, f"{MAKING}{new.id}")
    transaction.on_failure(partial(layout.take_away, fs, root, directory, f"{MAKING}{new.id}"), root)
    subscribed_before(transaction, name, remove=True)
    row = FolderRow(0, new.id, name, directory, new.uidvalidity, 1, 1, 1, 1, special_use=special_use)
    row.subscribed = subscribed
    catalog.insert(transaction.db, row)
    held = transaction.folder(new.id)
    transaction.hint(held)
    return held


def next_uidvalidity(transaction: Transaction) -> int:
    """Higher than any this account ever gave, durably so, even if the clock went back (RFC 9051 2.3.1.1, fault 163)."""
    fs, root, ref = transaction.fs, transaction.handle.root, transaction.handle.ref
    account = sidefile.read_account(fs, root)
    highest = transaction.db.value("SELECT max(uidvalidity) FROM folders") or 0
    last = max(account.last_uidvalidity if account else 0, int(highest))
    value = max(transaction.now, last + 1)
    account = account or sidefile.AccountFile(ref.id, ref.organisation_id, value)
    sidefile.write_account(fs, root, replace(account, last_uidvalidity=value))
    return value


def existing(transaction: Transaction, name: str) -> FolderRow:
    row = transaction.named(folder_name(name))
    if row is None:
        raise NotFoundError("no such folder", code="no-folder")
    return row


def family(transaction: Transaction, name: str) -> list[FolderRow]:
    """The folder, if there is one, and everything below it."""
    prefix = name + DELIMITER
    rows = catalog.everything(transaction.db)
    return [row for row in rows if row.name == name or row.name.startswith(prefix)]


def rename(transaction: Transaction, old: str, new: str) -> None:
    """With children; parents of the new name are made (RFC 9051 6.3.6). INBOX is handled by `Account.rename`."""
    source, target = folder_name(old), folder_name(new)
    rows = family(transaction, source)
    if not rows:
        raise NotFoundError("no such folder", code="no-folder")
    if source == INBOX or target == INBOX or target.startswith(source + DELIMITER):
        raise InvalidError("folder cannot be renamed to that", code="invalid-rename")
    if family(transaction, target):
        raise ConflictError("folder exists", code="folder-exists")
    names = {row.id: folder_name(target + row.name[len(source) :]) for row in rows}
    make_parents(transaction, target)
    _move_directories(transaction, rows, names)


def make_parents(transaction: Transaction, name: str) -> None:
    """The levels above a name that a folder gets: the subscription comes along with it, not to them."""
    parent = name.rpartition(DELIMITER)[0]
    if parent and transaction.named(parent) is None:
        create(transaction, parent, subscribed=False)


def _move_directories(transaction: Transaction, rows: list[FolderRow], names: dict[str, str]) -> None:
    """The intent comes before all else, because a long name changes with its side file, before any directory moves."""
    fs, root = transaction.fs, transaction.handle.root
    directories = {row.id: folder_directory(names[row.id], row.id) for row in rows}
    transaction.touch_structure()
    moves = tuple((row.directory, directories[row.id], names[row.id]) for row in rows)
    if len(moves) > 1:
        # Undone last, when the directories have their old names again: else the next recovery would complete it.
        transaction.on_failure(partial(_forget_intent, fs, root))
        sidefile.write_intent(fs, root, Intent(moves))
    for before, after, name in moves:
        if after.startswith(LONG):
            told = sidefile.rename_folder(fs, root, before, name)
            transaction.on_failure(partial(sidefile.rename_folder, fs, root, before, told))
    for before, after, _ in moves:
        if before != after:
            fs.rename(root, before, root, after)
            transaction.on_failure(partial(fs.rename, root, after, root, before), root)
    fs.sync(root)
    if len(moves) > 1:
        # Undone first: on their way back, too, they are all there or none.
        back = Intent(tuple((directories[row.id], row.directory, row.name) for row in rows))
        transaction.on_failure(partial(sidefile.write_intent, fs, root, back))
        sidefile.remove_intent(fs, root)
    for row in rows:
        held = transaction.folder(row.id)
        held.name, held.directory = names[row.id], directories[row.id]
        catalog.rename(transaction.db, held)
        transaction.next_modseq(held)


def _forget_intent(fs: FileSystem, root: int) -> None:
    """After the directories that were moved back are durably back."""
    fs.sync(root)
    sidefile.remove_intent(fs, root)


def delete(transaction: Transaction, name: str, opened_bin: Callable[[], AbstractContextManager[int]]) -> None:
    """Into the account's recycle bin, which `opened_bin` opens. The subscription stays (RFC 9051 6.3.8)."""
    row = existing(transaction, name)
    if row.name == INBOX:
        raise InvalidError("INBOX cannot be deleted", code="invalid-delete")
    transaction.touch_structure()
    fs, root = transaction.fs, transaction.handle.root
    with transaction.directory(row) as fd:  # in the bin the directory's name no longer tells the folder's
        sidefile.update_folder(fs, fd, row.side(), name=row.name)
    if row.subscribed:
        subscribed_before(transaction, row.name, add=True)
    binned = f"folder.{transaction.now}.{row.id}"
    with opened_bin() as directory:
        fs.rename(root, row.directory, directory, binned)
        transaction.on_failure(partial(_restore, transaction, row.directory, opened_bin, binned), root)
        fs.sync(directory)
    fs.sync(root)
    transaction.hint(row)
    catalog.delete(transaction.db, row)
    transaction.forget(row)
    transaction.octets -= row.size
    transaction.messages -= row.messages


def _restore(
    transaction: Transaction, directory: str, opened_bin: Callable[[], AbstractContextManager[int]], binned: str
) -> None:
    with opened_bin() as source:
        transaction.fs.rename(source, binned, transaction.handle.root, directory)


def subscribe(transaction: Transaction, name: str, subscribed: bool) -> None:
    """A name without a folder can lose its subscription, but not gain one (NotFoundError)."""
    wanted = folder_name(name)
    row = transaction.named(wanted)
    if row is not None:
        transaction.tell(row, subscribed=subscribed)
        row.subscribed = subscribed
        transaction.hint(row)
    elif subscribed:
        raise NotFoundError("no such folder", code="no-folder")
    if not subscribed:  # where there is a folder, too: a DELETE that was cut off has listed its name already
        subscribed_before(transaction, wanted, remove=True)


def subscribed_before(transaction: Transaction, name: str, *, add: bool = False, remove: bool = False) -> None:
    """The account file's list of subscribed names that have no folder."""
    fs, root = transaction.fs, transaction.handle.root
    account = sidefile.read_account(fs, root)
    if account is None or (name in account.subscriptions) == add:
        return
    if add or remove:
        names = {*account.subscriptions, name} if add else set(account.subscriptions) - {name}
        transaction.on_failure(partial(_list_again, transaction, account.subscriptions))
        sidefile.write_account(fs, root, replace(account, subscriptions=tuple(sorted(names))))


def _list_again(transaction: Transaction, names: tuple[str, ...]) -> None:
    fs, root = transaction.fs, transaction.handle.root
    account = sidefile.read_account(fs, root)
    if account is not None and account.subscriptions != names:
        sidefile.write_account(fs, root, replace(account, subscriptions=names))


def compact_journal(transaction: Transaction, row: FolderRow) -> None:
    """Write the journal again without what no file needs any more. The folder's names are synced: a file whose removal
    is forgotten must not come back."""
    if transaction.has_journalled:  # lines that a failing commit would cut off again
        return
    with transaction.directory(row) as fd, contextlib.suppress(FileNotFoundError):
        compacted = transaction.handle.compacted
        # What is still needed may be large: only a journal that has doubled is worth the work.
        if journal.size(transaction.fs, fd) < max(journal.COMPACT_AT, 2 * compacted.get(row.id, 0)):
            return
        first, last = row.number << 32, (row.number + 1 << 32) - 1
        present = {
            key & 0xFFFFFFFF
            for (key,) in transaction.db.all("SELECT key FROM messages WHERE key BETWEEN ? AND ?", (first, last))
        }
        pending = {
            key & 0xFFFFFFFF
            for (key,) in transaction.db.all("SELECT key FROM doomed WHERE key BETWEEN ? AND ?", (first, last))
        }
        journal.compact(transaction.fs, fd, present, pending)
        compacted[row.id] = 0 if pending else journal.size(transaction.fs, fd)  # removals under way go soon
