"""Where the folders of a closed account stand, without opening it: one look into an index that its word vouches for.

Serves the looks for sessions that idle (`store.changes`): most of what ends in another word, a clean stop above all,
is news to nobody, and an open index takes 390 KiB. Blocking: call it in a worker thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from core.errors import StorageError
from store import catalog
from store.faults import IndexDamagedError, translated
from store.fsops import FileSystem
from store.index import INDEX_FILE, Connection
from store.lockfile import State, Word
from store.names import account_directory
from store.schema import VERSION
from store.trust import Trust, judge
from store.types import AccountRef, Hint


def folders(fs: FileSystem, domains: int, ref: AccountRef, word: Word, boot: str) -> Sequence[Hint] | None:
    """`word`: the lock file's; `boot`: this run of the kernel. None where the index is not wholly what the word tells:
    whoever opens the account judges it."""
    if word.state is State.BUSY:
        return None
    with contextlib.suppress(OSError, StorageError, IndexDamagedError):
        root = fs.open_directory(domains, f"{ref.domain}/{account_directory(ref.local)}")
        try:
            if fs.is_plain(fs.stat(root, INDEX_FILE)):
                with translated():
                    return _rows(f"{fs.real_path(root)}/{INDEX_FILE}", ref, word, boot)
        finally:
            fs.close(root)
    return None


def _rows(path: str, ref: AccountRef, word: Word, boot: str) -> Sequence[Hint] | None:
    with contextlib.closing(Connection(path, create=False)) as db, db.reading():
        if db.value("PRAGMA user_version") != VERSION:
            return None
        state = db.one("SELECT account, generation, clean FROM state")
        if state is None or state[0] != ref.id or judge(word, state[1], bool(state[2]), boot) is not Trust.WHOLE:
            return None
        return [Hint(ref.id, row.id, row.modseq) for row in catalog.everything(db)]
