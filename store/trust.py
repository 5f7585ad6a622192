"""How far an index can be believed when the account's lock is taken. Pure."""

from __future__ import annotations

from enum import Enum

from store.lockfile import State, Word


class Trust(Enum):
    """How far the index can be believed when the lock is taken."""

    WHOLE = "whole"
    TOUCHED = "touched"  # a writer died: its folders must be looked at
    ROWS = "rows"  # rows may be old: every folder is looked at, no mod-sequence is believed
    NOTHING = "nothing"  # it was just made


def judge(word: Word | None, generation: int, clean: bool, boot: str) -> Trust:
    """The lock file's word against the index's own state; pure."""
    if word is None:
        return Trust.ROWS
    same_boot, same_index = word.boot == boot, word.generation == generation
    if word.state is State.CLEAN:
        return Trust.WHOLE if same_index and (clean or same_boot) else Trust.ROWS
    if not same_boot:
        return Trust.ROWS
    if word.state is State.BUSY:
        return Trust.TOUCHED if same_index or word.generation + 1 == generation else Trust.ROWS
    return Trust.WHOLE if same_index else Trust.ROWS
