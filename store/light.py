"""A batch of small deliveries on the event loop: only its syncs wait, in threads of their own.

So does the flusher's turn after deliveries, which has nothing to do but to sync the index: its commit waits in such a
thread. As a whole in a thread it waited for the interpreter two dozen times, with the account's lock in hand.

Measured: in a worker thread each of the thirty short calls of a delivery waits for the interpreter, which took more
time than the calls themselves. Whatever would make the loop wait (a lock that is kept for long, an index that must be
made true, a floor or a journal to be synced) gives the batch to a worker thread (`NeedsThreadError`), with nothing
done. The transaction stays open while the folder is synced: it is the writer connection's, under the account lock, and
readers use another.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from store import recover, structure
from store.batch import DURABLE, Batch, Written, committed, fail_all, perform
from store.faults import IndexDamagedError, translated
from store.handle import Handle
from store.lockfile import LOOK, AccountLock
from store.recover import Standing
from store.syncs import Syncing, Syncs
from store.transaction import NeedsThreadError, Transaction
from store.trust import Trust
from store.types import Hint

MOST = 16  # operations, for the sake of everybody else on the loop
SOON = 0.1  # seconds a lock is looked at before a thread waits for it, and kept for a file that is being synced
_NOT_SYNCED = contextlib.nullcontext()


def fits(batch: Batch) -> bool:
    return len(batch) <= MOST and all(operation.light for operation in batch)


async def run(handle: Handle, batch: Batch, syncs: Syncs, after: Written | None = None) -> Sequence[Hint] | None:
    """The hints of what was committed; None: a worker thread must do it, nothing was done. Never raises: every
    operation ends with a result or an error."""
    try:
        with translated():
            return await _run(handle, batch, syncs, after)
    except (IndexDamagedError, NeedsThreadError):
        return None
    except Exception as error:  # every caller hears it
        fail_all(batch, error, handle.ref.id)
        return ()


async def _run(handle: Handle, batch: Batch, syncs: Syncs, after: Written | None) -> Sequence[Hint]:
    if not handle.lock.try_acquire() and not await _let_go(handle.lock):
        raise NeedsThreadError
    try:
        now = recover.standing(handle) if handle.is_current() else None
        if now is None or now.clean or now.trust is not Trust.WHOLE or structure.differs(handle, handle.writer):
            raise NeedsThreadError
        durable = any(map(DURABLE, batch))
        with handle.writer.durable() if durable else _NOT_SYNCED:
            transaction = await _committed(handle, batch, syncs, now, after, durable=durable)
        committed(handle, batch, transaction, light=True)
        return tuple(transaction.hints.values())
    finally:
        handle.lock.release()


async def _let_go(lock: AccountLock) -> bool:
    """Another process is at the account, most often for as long as a sync takes: it is waited for here, where nothing
    is begun yet. Who had it just now lets others go first, and says only then that he waits: else he would leave it to
    himself, and nobody had it meanwhile. True: the lock is ours."""
    loop = asyncio.get_running_loop()
    until, ours = loop.time() + SOON, False
    with lock.waiting() as say:
        while loop.time() < until:
            ours = ours or not lock.leaves_it()
            if ours and lock.try_acquire(waited=True):
                return True
            if ours:
                say()
            await asyncio.sleep(LOOK)
    return False


async def _committed(
    handle: Handle, batch: Batch, syncs: Syncs, now: Standing, after: Written | None, *, durable: bool
) -> Transaction:
    """A single operation's folder is synced from its link on, while its rows are written; several share one sync."""
    alone = len(batch) == 1
    begun: list[Syncing] = []
    early = (lambda directory: begun.append(syncs.begin((directory,)))) if alone else None
    transaction = Transaction(handle, light=True, placed=early)
    transaction.begin(now.generation, now.held)
    if after is not None:
        try:
            after.meanwhile(transaction)
            await _soon(after.syncing)
        except BaseException:
            transaction.take_back()
            raise
    try:
        try:
            for operation in batch:
                perform(transaction, operation, alone=alone)
            if unsynced := transaction.take_unsynced():
                begun.append(syncs.begin(unsynced))
        finally:
            for sync in begun:
                await sync.over()  # a caller that is cancelled meanwhile leaves afterwards
        for sync in begun:
            sync.result()
        transaction.seal()
        if durable:
            await syncs.beside(transaction.keep)
        else:
            transaction.keep()
        transaction.settle()
    except NeedsThreadError:
        lost = next((error for sync in begun if (error := sync.exception())), None)
        lost = await _taken_back(transaction, syncs, again=lost is None) or lost
        if lost is not None:  # told once: never retried and trusted (promise P3)
            raise lost from None
        raise
    except BaseException:
        await _taken_back(transaction, syncs, again=False)
        raise
    return transaction


async def _soon(syncing: Syncing) -> None:
    """A disk that hangs with a file keeps the account from nobody else. Raises OSError, and NeedsThreadError when it
    takes longer; whoever is cancelled leaves at once, for the file is not his to close."""
    if not syncing.done():
        await asyncio.wait((syncing,), timeout=SOON)
    if not syncing.done():
        raise NeedsThreadError
    syncing.result()


async def _taken_back(transaction: Transaction, syncs: Syncs, *, again: bool) -> BaseException | None:
    """`Transaction.abort`, or for a batch that is begun `again` in a thread the same without asking the next writer to
    look; how the sync failed. Before the refusal, or whatever the thread answers, nothing of it is on the disk."""
    whole, lost = transaction.take_back(), None
    if undone := transaction.take_undone():
        sync = syncs.begin(undone)
        await sync.over()
        lost = sync.exception()
    transaction.left(whole=whole and lost is None, again=again)
    return lost
