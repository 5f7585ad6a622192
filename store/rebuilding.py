"""One account's index made again from its files, all of which are read: what `store rebuild` does.

In steps, because somebody may keep the account's lock: each step may be begun again (`Accounts.patiently`) and needs a
thread only while it works. What was read is kept meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import core.log
from core.errors import StorageError
from store import batch, beside, catalog, mending, outside, structure, unreadable, unscanned
from store.accounts import Accounts, last_flush, performed
from store.faults import IndexDamagedError, translated, whole
from store.handle import Handle, ReadingAhead
from store.schema import UNOPENED
from store.transaction import Transaction
from store.types import AccountRef

log = core.log.get(__name__)


class Rebuilding:
    """`read`, `install`, `catch_up`, in this order, then `close`, whatever became of them. All block, and raise
    StorageError: LockKeptError after `wait` seconds, with nothing of that step begun. `readers` read ahead; `indexed`
    is told how many messages more are known."""

    def __init__(
        self, accounts: Accounts, ref: AccountRef, readers: ReadingAhead | None, indexed: Callable[[int], None]
    ) -> None:
        self._accounts, self._ref, self._readers, self._indexed = accounts, ref, readers, indexed
        self._turn = threading.Lock()  # of whoever closes while a step that nobody waits for any more goes on
        self._closed = False
        self._handle: Handle | None = None
        self._name = ""  # of what was read and is not in its place yet

    def read(self, wait: float) -> None:
        """All messages, while the account goes on."""
        with self._step(), whole():
            if self._handle is None:
                tools = replace(self._accounts.tools, readers=self._readers, indexed=self._indexed)
                self._handle = self._accounts.open_handle(self._ref, tools, wait=wait, first=mending.complete)
            mending.restore_side_files(self._handle, wait)
            mending.restore_journals(self._handle, wait)
            self._name = beside.build(self._handle)

    def install(self, wait: float) -> None:
        """What only the old index knows (flags not yet in file names, which of two files under one UID is another
        folder's) is written down, and the new one takes its place."""
        with self._step(), whole(), self._opened.lock.held(wait):
            handle = self._opened
            try:
                with translated():
                    performed(handle, batch.ready(handle).generation, _look)
                    last_flush(handle, batch.ready(handle).generation)
            except IndexDamagedError as error:
                log.error("store-index-damaged", account=handle.ref.id, cause=str(error))
            beside.install(handle, self._name)
            self._name = ""
            batch.reload(handle)

    def catch_up(self, wait: float) -> int:
        """With what came while the new index was made, and what could not be read then. How many messages there are."""
        with self._step(), whole(), self._opened.lock.held(wait):
            _scan_rest(self._opened)
            return int(self._opened.writer.value("SELECT messages FROM state"))

    def close(self) -> None:
        with self._turn:
            self._closed = True
            handle, self._handle = self._handle, None
            if handle is not None:
                if self._name:
                    with contextlib.suppress(OSError):  # it is swept after a day
                        beside.discard(handle, self._name)
                handle.close()

    @property
    def _opened(self) -> Handle:
        assert self._handle is not None
        return self._handle

    @contextlib.contextmanager
    def _step(self) -> Iterator[None]:
        with self._turn:
            if self._closed:
                raise StorageError("the rebuild was given up", code="storage-busy")
            yield


def _look(transaction: Transaction) -> None:
    """What hands brought gets its own UIDs, while it is known whose those in its names are (promise P4). A directory
    that is no folder any more is left to the new index, which has none for it."""
    fs, root = transaction.fs, transaction.handle.root
    for row in catalog.everything(transaction.db):
        if row.changed > UNOPENED and structure.name_of(fs, root, row.directory):
            outside.examine(transaction, row.id)


def _scan_rest(handle: Handle) -> None:
    """Under the account's lock. Raises StorageError."""
    place: unscanned.Place | None = unscanned.START
    with translated():
        while place is not None:
            place = performed(handle, batch.ready(handle).generation, partial(unscanned.scan_behind, place=place))
        if unread := unscanned.count(handle.writer) + unreadable.count(handle.writer):
            raise StorageError(
                f"{unread} message files cannot be read, all others are known again; store verify names them",
                code="storage-unread",
            )
