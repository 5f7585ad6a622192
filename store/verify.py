"""Files against index, account by account: what an operator runs after a crash and before trusting a backup.

An account whose index is missing is told as such and left alone; opening it (or `rebuild`) makes the index.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence

from store import catalog, contents, copies, journal, lacking, misplaced, odd, records, sidefile, structure, unreadable
from store.catalog import FolderRow
from store.faults import is_no_directory, of_a_file
from store.fsops import FileSystem
from store.handle import Handle, folder_directory
from store.index import INDEX_FILE
from store.names import account_local, believed, parse
from store.schema import CONTENT_TABLES, UID_MASK, key
from store.sidefile import FOLDER_FILE
from store.types import AccountRef

_WRITTEN_AGAIN = "take it away, it is written again when the mailbox is next used"


def accounts_on_disk(
    fs: FileSystem, domains: int, domain: str | None, *, passing: bool = False
) -> Iterator[AccountRef]:
    """Every account directory, as its side file names it; `domain` None: all domains. `passing`: by those that cannot
    be read, which `nameless` names. Raises OSError."""
    for _, _, _, ref in _entries(fs, domains, domain, passing=passing):
        if ref is not None:
            yield ref


def nameless(fs: FileSystem, domains: int, domain: str | None) -> Iterator[str]:
    """Mail that `accounts_on_disk` does not tell of, because the side file that names its account is lost: one line for
    each."""
    yield from _closed(fs, domains, domain)
    for fd, name, entry, ref in _entries(fs, domains, domain, passing=True):
        if ref is None:
            try:
                with folder_directory(fs, fd, entry) as root:
                    sidefile.read_account(fs, root)
            except OSError as error:
                if not is_no_directory(error):
                    remedy = f": {_WRITTEN_AGAIN}" if error.errno == errno.ENXIO else ""
                    yield f"{name}/{entry}: {error.strerror}; its mail serves nobody{remedy}"
                    continue
            if _holds_mail(fs, fd, entry):
                yield f"{name}/{entry}: beffroi-account is missing or damaged, or the directory is a symbolic link"


def _holds_mail(fs: FileSystem, domain: int, entry: str) -> bool:
    with contextlib.suppress(NotADirectoryError):
        return fs.exists(domain, f"{entry}/cur")
    return False


def _closed(fs: FileSystem, domains: int, domain: str | None) -> Iterator[str]:
    """Domains that belong to another user, or that the disk does not give."""
    for name in sorted(fs.names(domains)) if domain is None else [domain]:
        try:
            with folder_directory(fs, domains, name) as fd:
                fs.names(fd)
        except OSError as error:
            if of_a_file(error) and not is_no_directory(error):
                yield f"{name}: {error.strerror}; its mail serves nobody"


def _entries(
    fs: FileSystem, domains: int, domain: str | None, *, passing: bool
) -> Iterator[tuple[int, str, str, AccountRef | None]]:
    """The domain's directory (open until the next is asked for) and name, and what lies in it: its name, and the
    account that its side file names. `passing`: by what cannot be read."""
    for name in sorted(fs.names(domains)) if domain is None else [domain]:
        try:
            with folder_directory(fs, domains, name) as fd:
                entries = [entry for entry in sorted(fs.names(fd)) if not entry.startswith(".")]
                for entry in entries:
                    yield fd, name, entry, _ref(fs, fd, name, entry, passing=passing)
        except OSError as error:
            if not is_no_directory(error) and not (passing and of_a_file(error)):
                raise


def _ref(fs: FileSystem, domain: int, domain_name: str, entry: str, *, passing: bool) -> AccountRef | None:
    try:
        with folder_directory(fs, domain, entry) as root:
            file = sidefile.read_account(fs, root)
        return AccountRef(file.id, file.organisation, domain_name, account_local(entry)) if file else None
    except ValueError:
        return None
    except OSError as error:
        if not is_no_directory(error) and not (passing and of_a_file(error)):
            raise
        return None


def has_index(fs: FileSystem, root: int) -> bool:
    return fs.exists(root, INDEX_FILE)


def left_alone(fs: FileSystem, root: int, ref: AccountRef, largest: int) -> Iterator[str]:
    """One line for each file in an account's folders that can be no message, and for each folder that cannot be read;
    needs no index. Raises OSError."""
    owner = fs.status(root).st_uid
    unread: list[str] = []
    amiss = misplaced.found(fs, root)
    yield from misplaced_lines(ref, amiss)

    def tell(directory: str, error: OSError) -> None:
        if directory not in amiss:
            unread.append(unopened(ref, directory, error))

    for folder in copies.folders(fs, root, tell):
        with folder_directory(fs, root, folder.directory) as fd:
            for where in ("cur", "new"):
                yield from (f"{ref.address} {folder.name}: {line}" for line in _odd(fs, fd, where, owner, largest))
    yield from unread


def misplaced_lines(ref: AccountRef, amiss: misplaced.Misplaced) -> list[str]:
    """One for each; that of the account's own files names no folder."""
    labels = {
        directory: f"{ref.address} {copies.label(directory)}" if directory else ref.address for directory in amiss
    }
    return [f"{labels[directory]}: {line}" for directory, lines in amiss.items() for line in lines]


def unopened(ref: AccountRef, directory: str, error: OSError) -> str:
    """What is told of a folder whose directory, side file or journal cannot be read."""
    return f"{ref.address} {copies.label(directory)}: the folder cannot be read: {error.strerror}"


def _odd(fs: FileSystem, folder: int, where: str, owner: int, largest: int) -> Iterator[str]:
    """Of all in the folder's `where`."""
    try:
        with folder_directory(fs, folder, where) as directory:
            for name in sorted(fs.names(directory)):
                if why := _why(fs, directory, name, owner, largest):
                    yield _left(f"{where}/{name}", why)
    except OSError as error:
        if not is_no_directory(error):  # what else stands there `misplaced` tells
            raise


def _left(path: str, why: str) -> str:
    return f"file {path!r} {why}; it is left alone, and no client sees it{odd.remedy(why)}"


def verify_account(handle: Handle, amiss: misplaced.Misplaced) -> list[str]:
    """Under the account lock, with the index made true. One line per fault, but for those that are told as `amiss`
    with their cause."""
    label = f"{handle.ref.local}@{handle.ref.domain}"
    rows = catalog.everything(handle.writer)
    faults = [f"{label}: {fault}" for fault in _verify_structure(handle, rows, amiss)]
    for row in rows:
        try:
            if _has_cur(handle, row):
                faults += [f"{label} {row.name}: {fault}" for fault in _verify_folder(handle, row)]
        except OSError as error:
            if not of_a_file(error):
                raise
            if row.directory not in amiss:
                faults.append(f"{label} {row.name}: the folder cannot be read: {error.strerror}")
    answer = handle.writer.value("PRAGMA quick_check")
    if answer != "ok":
        faults.append(f"{label}: index is damaged: {answer}")
    return faults


def _verify_structure(handle: Handle, rows: Sequence[FolderRow], amiss: misplaced.Misplaced) -> Iterator[str]:
    """Folders both ways, the quota's sums, the tables that go with `messages`, a rename cut off."""
    on_disk = {folder.directory: folder for folder in copies.folders(handle.fs, handle.root, copies.told_elsewhere)}
    known = {row.directory: row for row in rows}
    unopened = catalog.unopened(handle.writer)
    yield from (_without_folder(handle, row) for row in rows if row.directory not in {*on_disk, *unopened, *amiss})
    for directory, folder in on_disk.items():
        if directory in known and known[directory].name != folder.name:
            yield f"directory {directory!r} is {folder.name!r}, the index tells {known[directory].name!r}"
    names = {row.name for row in rows}
    for directory in sorted(structure.directories(handle.fs, handle.root) - known.keys()):
        try:
            name = structure.name_of(handle.fs, handle.root, directory)
            why = "" if name else structure.tells_nothing(handle.fs, handle.root, directory)
        except OSError as error:
            if directory not in amiss:
                yield f"directory {directory!r} cannot be read: {error.strerror}"
            continue
        if name in names:
            yield f"directory {directory!r} tells {name!r}, which another folder is called; it is left alone"
        elif name:
            yield f"directory {directory!r} is not in the index"
        elif why:
            yield f"directory {directory!r} {why}"
    told = handle.writer.one("SELECT octets, messages FROM state")
    sums = (sum(row.size for row in rows), sum(row.messages for row in rows))
    if told != sums:
        yield f"octets and messages {sums} are told as {told}"
    counts = contents.counts(handle.writer)
    if len(set(counts)) > 1:
        yield f"messages tell of {counts[0]} contents, tables {CONTENT_TABLES} hold (of those, in all) {counts[1:]}"
    if sidefile.read_intent(handle.fs, handle.root) is not None:
        yield "a rename of folders was cut off"


def _without_folder(handle: Handle, row: FolderRow) -> str:
    """A folder of the index that the files do not tell of."""
    if not _has_cur(handle, row):
        if handle.fs.exists(handle.root, row.directory or "."):
            if misplaced.is_no_folder(handle.fs, handle.root, row.directory):
                return f"folder {row.name!r}: {misplaced.no_directory(handle.fs, handle.root, row.directory)}"
            return f"folder {row.name!r} has no cur/ (beffroi store rebuild makes it again, empty)"
        return f"folder {row.name!r} has no directory"
    return f"folder {row.name!r}: {FOLDER_FILE} is missing or damaged in its directory {row.directory or '.'!r}"


def _has_cur(handle: Handle, row: FolderRow) -> bool:
    with contextlib.suppress(NotADirectoryError):
        return handle.fs.exists(handle.root, f"{row.directory or '.'}/cur")
    return False


def _verify_folder(handle: Handle, row: FolderRow) -> Iterator[str]:
    fs = handle.fs
    cur = handle.writing.cur(row.id, row.directory)
    span = (key(row.number, 0), key(row.number, UID_MASK))
    doomed = {name for (name,) in handle.writer.all("SELECT name FROM doomed WHERE key BETWEEN ? AND ?", span)}
    names = set(fs.names(cur))
    files = names - doomed
    rows = {
        name: (uid, size, email_id == unreadable.MARK)
        for uid, name, size, email_id in handle.writer.all(
            f"SELECT key & {UID_MASK}, name, size, email_id FROM messages WHERE key BETWEEN ? AND ?",  # noqa: S608 - constants
            span,
        )
    }
    yield from (f"UID {rows[name][0]} has no file" for name in sorted(rows.keys() - files))
    for name in sorted(files - rows.keys()):
        why = _why(fs, cur, name, handle.owner, handle.tools.limits.message_octets)
        yield _left(f"cur/{name}", why) if why else f"file {name!r} is not in the index{_misnumbered(row, name)}"
    with folder_directory(fs, handle.root, row.directory) as fd:
        yield from _odd(fs, fd, "new", handle.owner, handle.tools.limits.message_octets)
    for name in sorted(files & rows.keys()):
        yield from _verify_file(handle, cur, name, *rows[name])
    yield from _verify_counts(handle, row)
    with folder_directory(handle.fs, handle.root, row.directory) as fd:
        told = journal.read(fs, fd)
    yield from (f"UID {uid} is removed but present" for _, (uid, _, _) in sorted(rows.items()) if uid in told.removed)
    if lines := lacking.lines(handle.writer, row, told, names.__contains__):
        yield f"{journal.JOURNAL} lacks {len(lines)} lines or has them damaged: beffroi store rebuild writes them again"


def _misnumbered(row: FolderRow, name: str) -> str:
    made = parse(name)
    if made is None or believed(made.uid, max(row.uidnext, row.uid_floor)):
        return ""
    return f"; the folder never gave UID {made.uid}, the message gets the next one"


def _verify_file(handle: Handle, cur: int, name: str, uid: int, size: int, marked: bool) -> Iterator[str]:
    """`marked`: it could not be read before. All of such a file is read; any other is opened."""
    made = parse(name)
    try:
        status = handle.fs.stat(cur, name)
        why = odd.stranger(status, handle.owner)
        if not why:
            unreadable.try_file(handle.fs, cur, name, status.st_size if marked else 0)
    except OSError as error:
        yield f"UID {uid}: {handle.fs.real_path(cur)}/{name} cannot be read: {error.strerror or error}"
        return
    if why:
        yield f"UID {uid}: file {name!r} {why}"
    elif made is None or made.uid != uid or made.size != size or status.st_size != size:
        yield f"UID {uid}: file has {status.st_size} octets, index and name tell {size}"


def _why(fs: FileSystem, directory: int, name: str, owner: int, largest: int) -> str:
    """ "" for what may be a message, and for what somebody took away meanwhile."""
    try:
        return odd.reason(fs.stat(directory, name), owner, largest)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return odd.unreadable(error)


def _verify_counts(handle: Handle, row: FolderRow) -> Iterator[str]:
    counted = records.counted(handle.writer, row)
    told = (row.messages, row.unseen, row.deleted, row.size)
    if counted[:4] != told:
        yield f"counts {counted[:4]} are told as {told}"
    if counted[4] >= row.uidnext:
        yield f"UIDNEXT {row.uidnext} is not above UID {counted[4]}"
    if row.uid_floor < row.uidnext or row.modseq_floor < row.modseq:
        yield "floors are too low"
    with folder_directory(handle.fs, handle.root, row.directory) as fd:
        file = sidefile.read_folder(handle.fs, fd)
    if file is None or (file.id, file.uidvalidity) != (row.id, row.uidvalidity):
        yield "identity differs from the side file"
    elif (file.keywords, file.special_use, file.subscribed) != (row.keywords, row.special_use, row.subscribed):
        yield "keywords, special use or subscription differ from the side file"
    elif file.uid_floor < row.uidnext or file.modseq_floor < row.modseq:
        yield "floors of the side file are too low"
