"""Group commit: all changes to one account, one batch at a time, each batch under one lock and one commit.

Operations wait in a queue of their account while a batch runs in a worker thread; the next batch takes all of them.
Knows the order commit > publish > acknowledge. An operation that has not begun can still be taken back (its caller was
cancelled or lost patience): then nothing of it happens (promise P2); one that has begun is waited for.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import core.log
from core.errors import StorageError
from store import recover
from store.ending import through
from store.faults import IndexDamagedError, storage_error, translated
from store.handle import Handle
from store.lockfile import State, Word
from store.transaction import Transaction, UndoFailedError
from store.types import Hint

log = core.log.get(__name__)
T = TypeVar("T")

MAX_BATCH = 128
PATIENCE = 30.0  # seconds an operation waits for its turn


@dataclass(slots=True, eq=False)
class _Operation(Generic[T]):
    """`claim` is taken once: by the worker thread that begins it, or by the caller who takes it back."""

    work: Callable[[Transaction], T]
    future: asyncio.Future[T]
    durable: bool
    claim: threading.Lock = field(default_factory=threading.Lock)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    begun: bool = False
    result: T | None = None
    error: BaseException | None = field(default=None)

    def lose_patience(self) -> None:
        if self.claim.acquire(blocking=False) and not self.future.done():
            self.future.set_exception(StorageError("the mailbox is busy", code="storage-busy"))


class Writer:
    """The one writer of an account in this process."""

    def __init__(self, handle: Handle, pool: Executor, publish: Callable[[Sequence[Hint]], None]) -> None:
        self._handle, self._pool, self._publish = handle, pool, publish
        self._queue: deque[_Operation[Any]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def submit(self, work: Callable[[Transaction], T], *, durable: bool = False) -> T:
        """Run `work` inside a transaction; when this returns it is committed and published. What it did to files is
        durable; with `durable` the index is synced too."""
        operation = _Operation(work, asyncio.get_running_loop().create_future(), durable)
        self._queue.append(operation)
        if self._running is None:
            self._running = asyncio.create_task(self._drain())
        with self._handle.pinned():
            return await _outcome(operation)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
                running = loop.run_in_executor(self._pool, self._run, batch)
                await through(running)  # only the end of the loop cancels us; callers wait for answers all the same
                self._publish(running.result())
                for operation in batch:
                    _answer(operation)
        finally:
            self._running = None

    async def idle(self) -> None:
        """Until nothing is queued or running."""
        while self._running is not None:
            await asyncio.wait((self._running,))

    # -- in the worker thread ------------------------------------------------------------------------------------------

    def _run(self, batch: Sequence[_Operation[Any]]) -> Sequence[Hint]:
        """Never raises: every operation ends with a result or an error."""
        try:
            with translated():
                return self._batch(batch)
        except IndexDamagedError as error:
            return self._again(batch, error)
        except Exception as error:
            _fail_all(batch, error)
            return ()

    def _again(self, batch: Sequence[_Operation[Any]], error: IndexDamagedError) -> Sequence[Hint]:
        """The index turned out to be damaged: it is made again from the files, and the batch is tried once more."""
        log.error("store-index-damaged", account=self._handle.ref.id, cause=str(error))
        try:
            with translated(), self._handle.lock.held():
                reload(self._handle, damaged=True)
            with translated():
                return self._batch(batch)
        except IndexDamagedError as again:
            _fail_all(batch, StorageError("storage failed", code="storage-index", cause=str(again)))
        except Exception as again:
            _fail_all(batch, again)
        return ()

    def _batch(self, batch: Sequence[_Operation[Any]]) -> Sequence[Hint]:
        handle = self._handle
        with handle.lock.held():
            ready(handle)
            if any(operation.durable for operation in batch):
                with handle.writer.durable():
                    transaction = _transact(handle, batch)
            else:
                with handle.fs.turn.taken():
                    transaction = _transact(handle, batch)
            handle.touched = True
            handle.behind = handle.behind or transaction.unfinished
            if transaction.unfinished or not all(operation.durable for operation in batch):
                handle.dirty = True
            return tuple(transaction.hints.values())


def _transact(handle: Handle, batch: Sequence[_Operation[Any]]) -> Transaction:
    transaction = Transaction(handle)
    transaction.begin()
    try:
        for operation in batch:
            _perform(transaction, operation)
        transaction.commit()
    except BaseException:
        transaction.abort()
        raise
    return transaction


async def _outcome(operation: _Operation[T]) -> T:
    """Its result. Taken back when it has not begun after `PATIENCE`, or when the caller is cancelled; once begun it
    will be committed or not, and is over when we leave."""
    timer = asyncio.get_running_loop().call_later(PATIENCE, operation.lose_patience)
    try:
        return await operation.future
    except asyncio.CancelledError:
        if not operation.claim.acquire(blocking=False):
            await through(operation.over.wait())
        raise
    finally:
        timer.cancel()


def ready(handle: Handle) -> None:
    """The index is the one we opened, the last writer ended well, and a clean stop is not claimed any longer."""
    if not handle.is_current():
        reload(handle)
    recover.agree(handle)
    state = handle.writer.one("SELECT generation, clean FROM state")
    if state is not None and state[1]:
        with handle.writer.durable():
            handle.writer.run("UPDATE state SET clean = 0")
        handle.lock.write(Word(handle.tools.boot, int(state[0]), State.IDLE))


def reload(handle: Handle, *, damaged: bool = False) -> None:
    """Open the index (again) and make it true. Under the account lock."""
    if damaged:
        handle.discard_index()
    found = handle.load()
    recover.agree(handle, found=found)


def _perform(transaction: Transaction, operation: _Operation[Any]) -> None:
    """Refusals and failures of one operation are its own; a damaged index is everybody's."""
    if not operation.begun and not operation.claim.acquire(blocking=False):
        operation.error = asyncio.CancelledError()
        return
    operation.begun, operation.error = True, None
    try:
        with transaction.operation(), translated():
            operation.result = operation.work(transaction)
    except (IndexDamagedError, UndoFailedError):
        raise
    except Exception as error:
        operation.error = error


def _fail_all(batch: Sequence[_Operation[Any]], error: Exception) -> None:
    """The commit failed: nothing of the batch was kept. Each caller gets an error of its own."""
    known = error if isinstance(error, StorageError) else storage_error(OSError(repr(error)))
    log.error("store-batch-failed", cause=repr(error), operations=len(batch), fields=known.fields)
    for operation in batch:
        operation.result = None
        if operation.error is None or not isinstance(operation.error, asyncio.CancelledError):
            operation.error = StorageError(known.public, code=known.code, **known.fields)


def _answer(operation: _Operation[Any]) -> None:
    operation.over.set()
    if operation.future.done():
        return
    if isinstance(operation.error, asyncio.CancelledError):
        operation.future.cancel()
    elif operation.error is not None:
        operation.future.set_exception(operation.error)
        operation.future.exception()  # a caller that left has nobody to look at it
    else:
        operation.future.set_result(operation.result)
