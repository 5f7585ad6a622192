"""Index and files made to agree again: after a kill in the middle of a write, a power loss, or with no index at all.

The files are the truth. Three strengths (`store.trust`): look at the folders a dead writer had touched; look at
everything and believe no mod-sequence (power loss, an older or foreign index: HIGHESTMODSEQ becomes modseq_floor, all
messages get it, older expunges are no longer told one by one); go by names alone (no index), which is the second with
no rows to start from; what the octets tell follows (`store.unscanned`). UIDs come from file names, so clients download
nothing again (promise P5).
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Mapping, Sequence

import core.log
from core.frozen import dataclass
from store import catalog, contents, folders, journal, layout, leftovers, sidefile
from store.catalog import FolderRow
from store.faults import IndexDamagedError, UnopenedError, before_changes, consistent, is_no_directory, of_a_file
from store.handle import AGAIN, Handle, Looked, folder_directory
from store.lockfile import ALL, State, Word
from store.names import LONG, being_made, directory_folder
from store.names import folder_directory as folder_directory_name
from store.scan import scan_folder
from store.schema import NEW_LIFE, UNOPENED, UNOPENED_OLD
from store.sidefile import FolderFile
from store.transaction import Transaction
from store.trust import Trust, judge
from store.types import INBOX

log = core.log.get(__name__)
NO_CUR = "INBOX has no cur/"


@dataclass(frozen=True, slots=True)
class Standing:
    """What index and lock file say of each other."""

    generation: int
    clean: bool
    word: Word | None
    trust: Trust
    held: tuple[int, int] = (0, 0)  # octets and messages of the account


def standing(handle: Handle, *, found: bool = True) -> Standing:
    """Under the account lock."""
    state = handle.writer.one("SELECT generation, clean, octets, messages FROM state") or (0, 0, 0, 0)
    generation, clean = int(state[0]), bool(state[1])
    word = handle.lock.read()
    trust = judge(word, generation, clean, handle.tools.boot) if found else Trust.NOTHING
    return Standing(generation, clean, word, trust, (int(state[2]), int(state[3])))


def agree(handle: Handle, *, found: bool = True) -> Standing:
    """Make the index true, and tell how it stands then. Under the account lock; `found` False when the index was just
    made empty."""
    now = standing(handle, found=found)
    if now.trust is Trust.WHOLE:
        return now
    word = now.word
    if word is not None:  # a new account has no past
        log.info("store-recovery", account=handle.ref.id, trust=now.trust.value)
    if now.trust is Trust.ROWS:
        _refuse_damage(handle)
    touched = word.folders if word is not None and now.trust is Trust.TOUCHED else (ALL,)
    if not _are_there(handle, touched):
        touched = (ALL,)
    generation = 1 + max(now.generation, word.generation if word else 0)
    # Floors are raised before the word says "busy": where no index knows them, side files are believed besides.
    if word is not None and word.boot == handle.tools.boot and (word.state is State.BUSY or ALL in touched):
        _make_durable(handle, touched)
    with handle.writer.durable(), consistent():
        _reconcile(handle, now.trust, touched, generation)
    stopped = word is not None and word.state is State.CLEAN
    word = Word(handle.tools.boot, generation, State.IDLE)
    # Synced where it says "clean": else a power loss leaves that here, and an index brought back from that stop would
    # be believed.
    handle.lock.write(word, sync=stopped)
    handle.touched = handle.dirty = True
    return Standing(generation, False, word, Trust.WHOLE)


def doubt(handle: Handle, now: Standing) -> None:
    """Folders were made, renamed or removed by hand: whoever looks next looks at all of them. Under the account lock,
    with an index that is `agree`d on."""
    log.info("store-folders-changed", account=handle.ref.id)
    handle.lock.write(Word(handle.tools.boot, now.generation, State.BUSY, (ALL,)))


def _are_there(handle: Handle, touched: tuple[str, ...]) -> bool:
    """False: one was taken away by hand meanwhile, and would keep the account shut."""
    for row in catalog.everything(handle.writer) if ALL not in touched else ():
        if str(row.number) in touched and row.directory:  # an account without INBOX is nobody's wish
            try:
                if not handle.fs.exists(handle.root, f"{row.directory}/cur"):
                    return False
            except OSError as error:
                if is_no_directory(error):
                    return False
    return True


def _make_durable(handle: Handle, touched: tuple[str, ...]) -> None:
    """A writer that was killed may have left names, lines and side files that no sync has covered. They are about to be
    believed, told, and acknowledged to whoever delivers again: a power loss must not take them any more."""
    fs, root = handle.fs, handle.root
    if ALL in touched:
        fs.sync(root)
        known = ["", *(name for name in fs.names(root) if name.startswith("."))]
    else:
        numbers = [int(number) for number in touched]
        known = [row.directory for row in catalog.everything(handle.writer) if row.number in numbers]
    for directory in known:
        with contextlib.ExitStack() as opened:
            try:
                fd = opened.enter_context(folder_directory(fs, root, directory))
                cur = opened.enter_context(folder_directory(fs, fd, "cur"))
                lines = journal.opened_to_sync(fs, fd)
            except OSError as error:
                if is_no_directory(error) or of_a_file(error):  # nor is it believed, then
                    continue
                raise
            if lines is not None:
                opened.callback(fs.close, lines)
                fs.sync_data(lines)
            fs.sync(fd)
            fs.sync(cur)


def _refuse_damage(handle: Handle) -> None:
    """After a power loss some disks have kept pages of different times: rows are not compared with files before SQLite
    itself calls the index whole. Raises IndexDamagedError: it is then made again."""
    counts = set(contents.counts(handle.writer))
    answer = handle.writer.value("PRAGMA quick_check(1)")
    if answer != "ok" or len(counts) > 1:
        raise IndexDamagedError(f"{answer}, {len(counts)} different counts")


def _reconcile(handle: Handle, trust: Trust, touched: tuple[str, ...], generation: int) -> None:
    """In transactions of their own, which leave the lock's old word: cut off, it all begins again."""
    transaction = Transaction(handle, quiet=True)
    handle.writing.trim()
    handle.writer.run("BEGIN IMMEDIATE")
    try:
        _new_life(handle, trust)
        if trust is Trust.ROWS:
            contents.mend(handle.writer)
        unread = frozenset[str]()
        if ALL in touched:
            _finish_rename(handle)
            unread = _agree_on_folders(transaction, trust)
        for row in catalog.everything(handle.writer):
            if row.id not in unread and (ALL in touched or str(row.number) in touched):
                _look(transaction, row, trust)
        _count_account(transaction)
        handle.writer.run("UPDATE state SET generation = ?, clean = 0", (generation,))
        _new_life(handle, trust)
        transaction.sync_links()
        handle.writer.run("COMMIT")
        transaction.committed()
    except BaseException:
        if handle.writer.in_transaction:
            handle.writer.run("ROLLBACK")
        raise


def _look(transaction: Transaction, row: FolderRow, trust: Trust) -> None:
    """One folder. One that cannot be read keeps what the index tells of it, and nobody else waits for it."""
    try:
        _take_words(transaction, row)
        if not row.directory and not transaction.fs.exists(transaction.handle.root, "cur"):
            raise UnopenedError(errno.EIO, NO_CUR)
        scan_folder(transaction, row.id, _believed(row, trust))
    except UnopenedError as error:
        _keep(transaction, row, trust, error)


def _believed(row: FolderRow, trust: Trust) -> Trust:
    """A folder that could not be read when no row was believed is still to be looked at so."""
    return Trust.ROWS if row.changed == UNOPENED_OLD and trust is Trust.TOUCHED else trust


def _keep(transaction: Transaction, row: FolderRow, trust: Trust, error: OSError) -> None:
    """The folder cannot be read: its row says so, and it is refused until it can (`Transaction.refuse_unopened`)."""
    handle = transaction.handle
    handle.tell_once("store-folder-unread", row.directory, folder=row.id, directory=row.directory, cause=str(error))
    row.changed = UNOPENED if _believed(row, trust) is Trust.TOUCHED else UNOPENED_OLD
    catalog.update(transaction.db, row)
    transaction.forget_rows()
    handle.structure = Looked(again=handle.tools.clock.monotonic() + AGAIN)


def _new_life(handle: Handle, trust: Trust) -> None:
    """Rows that are not believed may come to stand for other messages: what was derived from them (the text index) is
    compared again. Before and after, because a long look commits in between."""
    if trust in (Trust.ROWS, Trust.NOTHING):
        handle.writer.run(f"UPDATE state SET life = {NEW_LIFE}")  # noqa: S608 - constant text


# -- the set of folders ------------------------------------------------------------------------------------------------


def _finish_rename(handle: Handle) -> None:
    """A rename of several folders that was cut off is completed from its intent."""
    intent = sidefile.read_intent(handle.fs, handle.root)
    if intent is None:
        return
    for old, new, name in intent.moves:
        present = new if handle.fs.exists(handle.root, new) else old
        if new.startswith(LONG) and handle.fs.exists(handle.root, present):
            sidefile.rename_folder(handle.fs, handle.root, present, name)
        if present != new and handle.fs.exists(handle.root, old):
            handle.fs.rename(handle.root, old, handle.root, new)
    handle.fs.sync(handle.root)
    sidefile.remove_intent(handle.fs, handle.root)


@dataclass(frozen=True, slots=True)
class _Found:
    """A folder on disk: its directory, its side file, its name."""

    directory: str
    file: FolderFile
    name: str


def _agree_on_folders(transaction: Transaction, trust: Trust) -> frozenset[str]:
    """Rows for the folders that are there, none for those that are not; identity as the side files tell it. The ids of
    those whose directories cannot be read: they stay as they are."""
    known = {row.id: row for row in catalog.everything(transaction.db)}
    items, errors = _folders_on_disk(transaction)
    unread = {row.id: row for row in known.values() if row.directory in errors}
    if "" in errors and all(row.directory for row in unread.values()):
        raise errors[""]
    found = {item.file.id: item for item in _distinct(transaction, items, unread)}
    for row in known.values():
        if row.id in unread:
            _keep(transaction, row, trust, errors[row.directory])
        elif row.id not in found:
            catalog.delete(transaction.db, row)
    # Names and directories are unique: those that changed step aside before they take their new places.
    for row in known.values():
        if row.id in found and (row.name, row.directory) != (found[row.id].name, found[row.id].directory):
            row.name, row.directory = f"\0{row.id}", f"\0{row.id}"
            catalog.rename(transaction.db, row)
    for item in found.values():
        row = known.get(item.file.id) or _new_row(transaction, item)
        _take_identity(row, item, _believed(row, trust))
        catalog.rename(transaction.db, row)
        catalog.update(transaction.db, row)
    transaction.forget_rows()
    leftovers.sweep(transaction.fs, transaction.handle.root, transaction.now)
    return frozenset(unread)


def _folders_on_disk(transaction: Transaction) -> tuple[list[_Found], dict[str, OSError]]:
    """And the directories that cannot be read."""
    fs, root = transaction.fs, transaction.handle.root
    items: list[_Found] = []
    errors: dict[str, OSError] = {}
    swept = False
    for directory in ["", *sorted(name for name in fs.names(root) if name.startswith("."))]:
        if being_made(directory):
            layout.remove_tree(fs, root, directory)
            swept = True
            continue
        try:
            with before_changes():
                item = _folder_at(transaction, directory)
        except UnopenedError as error:
            errors[directory] = error
            continue
        if item is not None:
            items.append(item)
    if swept:  # after a clean stop nobody looks again for what a power loss may bring back
        fs.sync(root)
    return items, errors


def _distinct(transaction: Transaction, items: Sequence[_Found], unread: Mapping[str, FolderRow]) -> list[_Found]:
    """A directory copied by hand becomes a folder of its own: the copy is the one that the index does not know. One
    that tells the name of another (".%41" beside ".A") is left alone. `unread` by their ids keep theirs, and names."""
    places = catalog.places(transaction.db)
    found: dict[str, _Found] = {}
    taken = {row.name for row in unread.values()}
    for each in sorted(items, key=lambda item: (places.get(item.file.id) != item.directory, not _is_usual(item))):
        if each.name in taken:
            ref = transaction.handle.ref.id
            log.warning("store-odd-folder", account=ref, directory=each.directory, cause="another folder has its name")
            continue
        taken.add(each.name)
        item = _with_new_identity(transaction, each) if each.file.id in found or each.file.id in unread else each
        found[item.file.id] = item
    return list(found.values())


def _is_usual(item: _Found) -> bool:
    """Its directory is called as we would call it."""
    return item.directory == ("" if item.name == INBOX else folder_directory_name(item.name, item.file.id))


def _folder_at(transaction: Transaction, directory: str) -> _Found | None:
    """None for what is no folder: a symbolic link, a directory without cur/, a name that tells nothing. Raises OSError
    where that cannot be read."""
    try:
        with folder_directory(transaction.fs, transaction.handle.root, directory) as fd:
            if not transaction.fs.exists(fd, "cur"):
                if not directory:  # as fsck may leave it: INBOX is not forgotten
                    raise UnopenedError(errno.EIO, NO_CUR)
                return None
            file = sidefile.read_folder(transaction.fs, fd)
    except OSError as error:
        if not is_no_directory(error):
            raise
        log.warning("store-odd-folder", account=transaction.handle.ref.id, directory=directory, cause=str(error))
        return None
    name = directory_folder(directory) or (file.name if file else _known_name(transaction, directory))
    if file is None and name:
        return _with_new_identity(transaction, _Found(directory, _blank(), name))
    return _Found(directory, file, name) if file and name else None


def _known_name(transaction: Transaction, directory: str) -> str:
    """Of a directory that does not tell it, as the index has it."""
    return next((row.name for row in catalog.everything(transaction.db) if row.directory == directory), "")


def _blank() -> FolderFile:
    return FolderFile(id="", uidvalidity=1, uid_floor=1, modseq_floor=1)


def _with_new_identity(transaction: Transaction, item: _Found) -> _Found:
    """The side file is lost: from the index if that still knows the directory, else a new UIDVALIDITY, higher than any
    before (RFC 9051 2.3.1.1)."""
    known = [row for row in catalog.everything(transaction.db) if row.directory == item.directory and not item.file.id]
    if known:
        file = known[0].side()
    else:
        uidvalidity = folders.next_uidvalidity(transaction)
        use = (layout.STANDARD | dict(transaction.tools.standard)).get(item.name, "")
        file = FolderFile(transaction.tools.ids.object_id(), uidvalidity, 1, 1, use, keywords=item.file.keywords)
    with folder_directory(transaction.fs, transaction.handle.root, item.directory) as fd:
        sidefile.write_folder(transaction.fs, fd, file)
    return _Found(item.directory, file, item.name)


def _new_row(transaction: Transaction, item: _Found) -> FolderRow:
    """It is looked at as if its rows were not believed: its messages have UIDs below its floor, and keep them."""
    row = catalog.fresh(item.file, item.name, item.directory)
    row.changed = UNOPENED_OLD
    catalog.insert(transaction.db, row)
    return row


def _take_identity(row: FolderRow, item: _Found, trust: Trust) -> None:
    file = item.file
    row.name, row.directory, row.keywords = item.name, item.directory, file.keywords
    row.special_use, row.subscribed = file.special_use, file.subscribed
    if trust is not Trust.TOUCHED:
        row.uidvalidity = file.uidvalidity
        row.uid_floor, row.modseq_floor = file.uid_floor, file.modseq_floor
        row.uidnext = file.uid_floor
        row.modseq = row.forgotten = file.modseq_floor


def _take_words(transaction: Transaction, row: FolderRow) -> None:
    """What the side file tells beside identity and floors: letters in file names mean its keywords, and a writer that
    died had written them before it could tell the index."""
    try:
        with before_changes(), folder_directory(transaction.fs, transaction.handle.root, row.directory) as fd:
            file = sidefile.read_folder(transaction.fs, fd)
    except FileNotFoundError:
        return
    if file is not None:
        row.keywords, row.special_use, row.subscribed = file.keywords, file.special_use, file.subscribed
        catalog.update(transaction.db, row)


def _count_account(transaction: Transaction) -> None:
    transaction.db.run(
        "UPDATE state SET octets = (SELECT coalesce(sum(size), 0) FROM folders), "
        "messages = (SELECT coalesce(sum(messages), 0) FROM folders)"
    )
