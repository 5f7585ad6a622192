"""Operations that wait for one account, and the batch they become: performed, committed and answered together.

Refusals and failures of one operation are its own; a sync or commit that fails is the whole batch's. An operation can
be performed again when its batch was given up before anything of it was kept.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

import core.log
from core.errors import StorageError
from store import newcomers, recover, structure
from store.faults import IndexDamagedError, is_gone, storage_error, translated
from store.handle import Handle
from store.lockfile import State, Word
from store.recover import Standing
from store.syncs import Syncing
from store.transaction import NeedsThreadError, Transaction, UndoFailedError

log = core.log.get(__name__)
T = TypeVar("T")

TRIES = 5  # to open an index whose files are being deleted


@dataclass(slots=True, eq=False)
class Operation(Generic[T]):
    """`claim` is taken once: by whoever begins it, or by the caller who takes it back. `over`: it is committed, or will
    never be. `durable`: the index is synced too. `light`: short enough for the event loop (`store.light`)."""

    work: Callable[[Transaction], T]
    future: asyncio.Future[T]
    over: asyncio.Future[None]
    durable: bool = False
    light: bool = False
    claim: threading.Lock = field(default_factory=threading.Lock)
    begun: bool = False
    result: T | None = None
    error: BaseException | None = field(default=None)

    def lose_patience(self) -> None:
        if self.claim.acquire(blocking=False) and not self.future.done():
            self.future.set_exception(StorageError("the mailbox is busy", code="storage-busy"))


class Written(NamedTuple):
    """The file that an operation links, whose sync may not be over; what may be done `meanwhile` asks the index alone,
    and is the operation's own to do where nobody did."""

    syncing: Syncing
    meanwhile: Callable[[Transaction], None]


Batch = Sequence[Operation[Any]]
DURABLE = attrgetter("durable")  # of an operation


def ready(handle: Handle) -> Standing:
    """The index is the one we opened, the last writer ended well, and a clean stop is not claimed any longer. Under the
    account lock. Raises StorageError where its directory is not the account's any more: whoever comes next opens the
    one that is (`Accounts.use`)."""
    if not handle.is_current():
        if handle.is_displaced():
            raise StorageError("the mailbox was moved", code="storage-moved")
        reload(handle)
    now = recover.agree(handle)
    if structure.differs(handle, handle.writer):
        recover.doubt(handle, now)
        now = recover.agree(handle)
    if now.clean:
        # Synced: else a power loss leaves "clean" here, and an index brought back from that stop would be believed.
        # Before the index forgets it: where this fails it is done again.
        handle.lock.write(Word(handle.tools.boot, now.generation, State.IDLE), sync=True)
        with handle.writer.durable():
            handle.writer.run("UPDATE state SET clean = 0")
    return now


def reload(handle: Handle, *, damaged: bool = False) -> bool:
    """Open the index (again) and make it true. Under the account lock. False: it was not there,
    or of no use. Begun again where its files are deleted meanwhile; one that was not made true is let go, for it may be
    empty, and nobody must read it."""
    tries = 0
    while True:
        try:
            return _reload(handle, damaged=damaged)
        except BaseException as error:
            tries += 1
            intact = handle.is_current()
            handle.let_index_go()
            if intact or tries == TRIES or not is_gone(error):
                raise


def _reload(handle: Handle, *, damaged: bool) -> bool:
    if damaged:
        handle.discard_index()
    found = handle.load()
    recover.agree(handle, found=found)
    newcomers.ensure(handle.fs, handle.root, handle.writer)
    return found


def perform(transaction: Transaction, operation: Operation[Any], *, alone: bool) -> None:
    """One operation; what goes wrong with it alone is its answer. `alone`: it is the whole batch."""
    if not operation.begun and not operation.claim.acquire(blocking=False):
        operation.error = asyncio.CancelledError()
        return
    operation.begun, operation.error = True, None
    try:
        with transaction.operation(alone=alone), translated():
            operation.result = operation.work(transaction)
    except (IndexDamagedError, UndoFailedError, NeedsThreadError):
        raise
    except Exception as error:  # it is that operation's answer
        operation.error = error


def _refusal(error: Exception) -> StorageError:
    """A full disk is told as such, even when it also kept us from undoing."""
    if isinstance(error, UndoFailedError) and isinstance(error.__cause__, OSError):
        return storage_error(error.__cause__)
    return storage_error(OSError(repr(error)))


def fail_all(batch: Batch, error: Exception, account_id: str) -> None:
    """The commit failed: nothing of the batch was kept. Each caller gets an error of its own; the flusher, which tries
    each second, says so itself."""
    known = error if isinstance(error, StorageError) else _refusal(error)
    if not all(operation.durable for operation in batch):
        log.error(
            "store-batch-failed", account=account_id, cause=repr(error), operations=len(batch), fields=known.fields
        )
    for operation in batch:
        operation.result = None
        if operation.error is None or not isinstance(operation.error, asyncio.CancelledError):
            operation.error = StorageError(known.public, code=known.code, **known.fields)


def committed(handle: Handle, batch: Batch, transaction: Transaction, *, light: bool = False) -> None:
    """What the flusher will have to do. What is `light` leaves nothing but an index that is not synced."""
    handle.touched = True
    handle.behind = handle.behind or transaction.unfinished
    unsynced = not all(map(DURABLE, batch))
    if transaction.unfinished or (unsynced and (not light or handle.writer.has_grown)):
        handle.dirty = True
    elif unsynced:
        handle.unsynced = True


def answer(operation: Operation[Any]) -> None:
    operation.over.set_result(None)
    if operation.future.done():
        return
    if isinstance(operation.error, asyncio.CancelledError):
        operation.future.cancel()
    elif operation.error is not None:
        operation.future.set_exception(operation.error)
        operation.future.exception()  # a caller that left has nobody to look at it
    else:
        operation.future.set_result(operation.result)
