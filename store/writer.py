"""Group commit: all changes to one account, one batch at a time, each batch under one lock and one commit.

Operations wait in a queue of their account while a batch runs; the next batch takes all of them. A batch of small
deliveries runs on the event loop (`store.light`), any other in a worker thread. Knows the order commit > publish >
acknowledge. An operation that has not begun can still be taken back (its caller was cancelled or lost patience): then
nothing of it happens (promise P2); one that has begun is waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

import core.log
from core.errors import StorageError
from store import light
from store.batch import Batch, Operation, Written, answer, committed, fail_all, perform, ready, reload
from store.ending import through
from store.faults import IndexDamagedError, storage_error, translated
from store.handle import Handle
from store.lockfile import LockKeptError
from store.syncs import Syncing, Syncs
from store.transaction import Transaction
from store.types import Hint

log = core.log.get(__name__)
T = TypeVar("T")

MAX_BATCH = 128
PATIENCE = 30.0  # seconds an operation waits for its turn
IN_THREAD = 1.0  # seconds a worker thread waits for the account's lock: there are few of them, and others need them
LOOK_AGAIN = 0.005  # seconds between looks at a lock that is kept longer; less than `lockfile.COURTESY`


class Writer:
    """The one writer of an account in this process."""

    def __init__(self, handle: Handle, pool: Executor, syncs: Syncs, publish: Callable[[Sequence[Hint]], None]) -> None:
        self._handle, self._pool, self._syncs, self._publish = handle, pool, syncs, publish
        self._queue: deque[Operation[Any]] = deque()
        self._running: asyncio.Future[None] | None = None  # over when nobody is at work

    async def submit(
        self,
        work: Callable[[Transaction], T],
        *,
        durable: bool = False,
        small: bool = False,
        at_once: bool = False,
        patience: float | None = None,
        after: Written | None = None,
    ) -> T:
        """Run `work` inside a transaction; when this returns it is committed and published. What it did to files is
        durable; with `durable` the index is synced too. `small`: it may run on the event loop; `at_once`: then without
        a look at who else comes in this turn of the loop, to share its batch. `after`: the sync of the file that it
        links, and what needs no more than the index is done before that is over, where the disk has nothing else to do
        for us: under load the account's lock would be kept from others for as long. Raises StorageError when it has not
        begun after `patience` seconds."""
        loop = asyncio.get_running_loop()
        operation = Operation(work, loop.create_future(), loop.create_future(), durable, small)
        with self._handle.pinned():
            if after is not None and (self._running is not None or self._syncs.under_way > 1):
                await self._synced(after.syncing, operation)
                after = None
            begins = small and at_once and self._running is None
            if not begins or not await self._alone(operation, after):
                if after is not None:
                    await self._synced(after.syncing, operation)
                self._queue.append(operation)
                if self._running is None:
                    self._running = asyncio.create_task(self._drain())
            return await _outcome(operation, PATIENCE if patience is None else patience)

    async def _synced(self, syncing: Syncing, operation: Operation[Any]) -> None:
        """Raises StorageError when the disk did not take the file."""
        try:
            await syncing
        except OSError as error:
            refusal = storage_error(error)
            fail_all((operation,), refusal, self._handle.ref.id)
            raise refusal from error

    async def _alone(self, operation: Operation[T], after: Written | None) -> bool:
        """Nobody else is at work: the caller goes the way himself, which spares a task and turns of the loop; cancelled
        meanwhile, he leaves at its end. False: a worker thread must do it, nothing was done."""
        begun, caller = asyncio.get_running_loop().create_future(), asyncio.current_task()
        cancelled = caller.cancelling() if caller else 0
        self._running = begun
        try:
            hints = await light.run(self._handle, (operation,), self._syncs, after)
            if hints is None:
                operation.light = False
            else:
                self._publish(hints)
                answer(operation)
        finally:
            self._running = asyncio.create_task(self._drain()) if self._queue else None
            begun.set_result(None)
        if caller is not None and caller.cancelling() > cancelled:
            raise asyncio.CancelledError
        return hints is not None

    async def _drain(self) -> None:
        try:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
                self._publish(await self._committed(batch))
                for operation in batch:
                    answer(operation)
        finally:
            self._running = None

    async def _committed(self, batch: Batch) -> Sequence[Hint]:
        hints = await light.run(self._handle, batch, self._syncs) if light.fits(batch) else None
        while hints is None:
            running = asyncio.get_running_loop().run_in_executor(self._pool, self._run, batch)
            await through(running)  # only the end of the loop cancels us; callers wait for answers all the same
            hints = running.result()
            if hints is None and not await self._let_go(batch):
                return ()
        return hints

    async def _let_go(self, batch: Batch) -> bool:
        """Whether the lock, which somebody keeps, was let go before everybody had left. Without a thread: a process
        that is stopped may keep many accounts."""
        lock = self._handle.lock
        with lock.waiting() as say:
            while not lock.try_acquire():
                if all(operation.future.done() for operation in batch):
                    return False
                say()
                await asyncio.sleep(LOOK_AGAIN)
            lock.release()
        return True

    async def idle(self) -> None:
        """Until nothing is queued or running."""
        while self._running is not None:
            await asyncio.wait((self._running,))

    # -- in the worker thread ------------------------------------------------------------------------------------------

    def _run(self, batch: Batch) -> Sequence[Hint] | None:
        """Never raises: every operation ends with a result or an error. None: the lock is kept, nothing was done."""
        try:
            with translated():
                return self._batch(batch)
        except LockKeptError:
            return None
        except IndexDamagedError as error:
            return self._again(batch, error)
        except Exception as error:  # every caller hears it
            fail_all(batch, error, self._handle.ref.id)
            return ()

    def _again(self, batch: Batch, error: IndexDamagedError) -> Sequence[Hint] | None:
        """The index turned out to be damaged: it is made again from the files, and the batch is tried once more."""
        log.error("store-index-damaged", account=self._handle.ref.id, cause=str(error))
        try:
            with translated(), self._handle.lock.held(IN_THREAD):
                reload(self._handle, damaged=True)
            with translated():
                return self._batch(batch)
        except LockKeptError:
            return None
        except IndexDamagedError as again:
            fail_all(batch, StorageError("storage failed", code="storage-index", cause=str(again)), self._handle.ref.id)
        except Exception as again:  # likewise
            fail_all(batch, again, self._handle.ref.id)
        return ()

    def _batch(self, batch: Batch) -> Sequence[Hint]:
        handle = self._handle
        with handle.lock.held(IN_THREAD):
            now = ready(handle)  # first: where the index was replaced, its writer is another one from here on
            with handle.writer.roomy():
                if any(operation.durable for operation in batch):
                    with handle.writer.durable():
                        transaction = _transact(handle, batch, now.generation)
                else:
                    with handle.fs.turn.taken():
                        transaction = _transact(handle, batch, now.generation)
            committed(handle, batch, transaction)
            return tuple(transaction.hints.values())


def _transact(handle: Handle, batch: Batch, generation: int) -> Transaction:
    transaction = Transaction(handle)
    transaction.begin(generation)
    try:
        for operation in batch:
            perform(transaction, operation, alone=len(batch) == 1)
        transaction.commit()
    except BaseException:
        transaction.abort()
        raise
    return transaction


async def _outcome(operation: Operation[T], patience: float) -> T:
    """Its result. Taken back when it has not begun after `patience`, or when the caller is cancelled; once begun it
    will be committed or not, and is over when we leave."""
    if operation.future.done():
        return operation.future.result()
    timer = asyncio.get_running_loop().call_later(patience, operation.lose_patience)
    try:
        return await operation.future
    except asyncio.CancelledError:
        if not operation.claim.acquire(blocking=False):
            await through(operation.over)
        raise
    finally:
        timer.cancel()
