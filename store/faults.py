"""What the disk and SQLite complain about, in words of the house.

One translator: everything that leaves the store is a `core.errors` error. ENOSPC and EDQUOT are told apart
(452 4.3.1, fault 149) from the rest (451).
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator, Sequence

import apsw

from core.errors import MailError, StorageError, UnreadableError
from store.types import AccountRef

FULL = (errno.ENOSPC, errno.EDQUOT)
TOLD = 50  # accounts that failed, by name
_DAMAGED = apsw.CorruptError | apsw.NotADBError
SAME_KEY = (apsw.SQLITE_CONSTRAINT_UNIQUE, apsw.SQLITE_CONSTRAINT_PRIMARYKEY, apsw.SQLITE_CONSTRAINT_ROWID)


# What is wrong with one file, or one directory: another kind of file in its place, too (ENOTDIR; ESPIPE is a FIFO that
# was opened as a file). Of anything else (no descriptors, no memory) the machine
# is the cause, and nothing is known of the file.
_OF_A_FILE = frozenset(
    (
        errno.EACCES,
        errno.EBADMSG,
        errno.EIO,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENODATA,
        errno.ENOTDIR,
        errno.ENXIO,
        errno.EOVERFLOW,
        errno.EPERM,
        errno.ESPIPE,
        errno.EUCLEAN,
    )
)


class UnopenedError(OSError):
    """A folder's directory, side file or journal could not be read, and nothing of it was changed."""


def is_no_directory(error: OSError) -> bool:
    """There is none: absent, another kind of file, a symbolic link."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def of_a_file(error: OSError) -> bool:
    """Others may be read all the same."""
    return error.errno in _OF_A_FILE


class IndexDamagedError(Exception):
    """The index cannot be read as one: it is thrown away and made again from the files (promise P5)."""


def storage_error(error: OSError | apsw.Error) -> StorageError:
    """`code` is "storage-full", "storage-busy" or "storage"; the public text names no path."""
    full = isinstance(error, apsw.FullError) or (isinstance(error, OSError) and error.errno in FULL)
    if full:
        return StorageError("insufficient storage", code="storage-full", cause=str(error))
    if isinstance(error, apsw.BusyError):  # another program has the index
        return StorageError("the mailbox is busy", code="storage-busy", cause=str(error))
    return StorageError("storage failed", code="storage", cause=f"{type(error).__name__}: {error}")


def of_accounts(failed: Sequence[tuple[AccountRef, MailError]]) -> StorageError:
    """What an operator asked for of many accounts, and some of them failed: a line for each."""
    told = [line_of(ref, error) for ref, error in failed[:TOLD]]
    more = [f"and {len(failed) - TOLD} more"] if len(failed) > TOLD else []
    return StorageError("\n".join([*told, *more]), code=failed[0][1].code)


def line_of(ref: AccountRef, error: MailError) -> str:
    """What an operator is told of one account that failed."""
    return f"{ref.address}: {error.public}{f': {error.__cause__}' if error.__cause__ else ''}"


class translated:
    """Around everything a caller of the store waits for. A class, because each message comes through several."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if isinstance(error, _DAMAGED):
            raise IndexDamagedError(str(error)) from error
        if isinstance(error, OSError | apsw.Error):
            raise storage_error(error) from error


@contextlib.contextmanager
def before_changes() -> Iterator[None]:
    """Around reading what a folder is. Raises UnopenedError where that folder alone cannot be read."""
    try:
        yield
    except OSError as error:
        if not of_a_file(error):
            raise
        raise UnopenedError(error.errno, error.strerror or "", error.filename) from error


_GONE = apsw.CantOpenError | apsw.IOError | apsw.ReadOnlyError | apsw.SQLError


class IndexTornError(IndexDamagedError):
    """Its files were deleted while it was opened, some of them or all."""


def is_gone(error: BaseException) -> bool:
    """What opening an index fails with when somebody deletes its files meanwhile; or because of the disk."""
    return isinstance(error, IndexTornError | FileNotFoundError | _GONE)


@contextlib.contextmanager
def consistent() -> Iterator[None]:
    """Around what compares rows with files: rows that contradict each other are damage, too."""
    try:
        yield
    except apsw.ConstraintError as error:
        if getattr(error, "extendedresult", 0) not in SAME_KEY:
            raise
        raise IndexDamagedError(str(error)) from error


class whole(translated):
    """Where an index that is damaged even after it was made again is just a failing disk."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if isinstance(error, IndexDamagedError | _DAMAGED):
            raise StorageError("storage failed", code="storage-index", cause=str(error)) from error
        super().__exit__(kind, error, trace)


class of_message(whole):
    """Around opening and reading one message's file; `tell` hears what is wrong with that one alone."""

    def __init__(self, tell: Callable[[OSError], None]) -> None:
        self._tell = tell

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and of_a_file(error):
            self._tell(error)
            raise UnreadableError("the message cannot be read for now", cause=str(error)) from error
        super().__exit__(kind, error, trace)
