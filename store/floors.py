"""A clean stop: exact floors in the side files, everything synced, and the lock file says so (promise P4).

The index's copy is lowered first: a floor in a side file may be higher than the index believes, never lower.
"""

from __future__ import annotations

from store import catalog, sidefile
from store.handle import Handle, folder_directory
from store.lockfile import State, Word


def settle(handle: Handle) -> None:
    """Under the account lock, with an index that was just made true (`store.writer.ready`). Where a folder could not be
    read, this is no clean stop: whoever comes next believes no more than after a kill."""
    db = handle.writer
    if catalog.unopened(db):  # a floor that may be too low is not written
        handle.touched = False
        return
    inexact = [row for row in catalog.everything(db) if (row.uid_floor, row.modseq_floor) != (row.uidnext, row.modseq)]
    generation = int(db.value("SELECT generation FROM state")) + 1
    with db.durable():
        db.run("BEGIN IMMEDIATE")
        db.run("UPDATE folders SET uid_floor = uidnext, modseq_floor = modseq")
        db.run("UPDATE state SET clean = 1, generation = ?", (generation,))
        db.run("COMMIT")
    db.shrink()
    for row in inexact:
        with folder_directory(handle.fs, handle.root, row.directory) as fd:
            sidefile.update_folder(handle.fs, fd, row.side(), uid_floor=row.uidnext, modseq_floor=row.modseq)
    handle.lock.write(Word(handle.tools.boot, generation, State.CLEAN), sync=True)
    handle.touched = False
