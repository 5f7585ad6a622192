"""What went wrong with the queue's file, in words of the house: no room, a failing disk, or somebody who holds it."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from pathlib import Path

from core.errors import MailError, StorageError, TemporaryError

FULL = "queue-full"  # code of an error
PROBE = 65_536  # octets that a disk with room has

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NOT_ITS_FAULT = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY)


def not_its_fault(cause: BaseException | None) -> bool:
    """The disk, or who else uses the file: what is in it may be sound."""
    return _code(cause) in _NOT_ITS_FAULT


def translated(error: Exception, directory: Path) -> MailError:
    """The first cause decides: after a full disk SQLite has no savepoint left, and that complaint hides the cause."""
    cause: BaseException = error
    while cause.__context__ is not None and not isinstance(cause, MailError):
        cause = cause.__context__
    if isinstance(cause, MailError):
        return cause
    code = _code(cause)
    full = code == sqlite3.SQLITE_FULL or (isinstance(cause, OSError) and cause.errno in _NO_ROOM)
    if full or (code == sqlite3.SQLITE_IOERR and not _has_room(directory)):
        return StorageError("the queue's disk is full", code=FULL, error=str(cause))
    if isinstance(cause, OSError) or code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT):
        return StorageError("the queue cannot be written", code="queue-storage", error=str(cause))
    return TemporaryError("the queue is unavailable", code="queue-unavailable", error=str(cause))


def _has_room(directory: Path) -> bool:
    """SQLite calls a disk full for ENOSPC at a write alone: a quota that is used up (EDQUOT), no room for its shared
    memory, or none at a sync, are I/O errors to it (faults 149, 150). So the disk is asked."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            os.posix_fallocate(file.fileno(), 0, PROBE)
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno not in _NO_ROOM
    return True


def _code(cause: BaseException | None) -> int:
    """SQLite's primary result code; 0 where it is none of its errors."""
    return int(getattr(cause, "sqlite_errorcode", 0)) & 0xFF
