"""How far an index is believed, by the lock file's word: every row of the table."""

from __future__ import annotations

import pytest

from store.lockfile import WORD_SIZE, State, Word
from store.trust import Trust, judge

HERE, ELSEWHERE = "boot-1", "boot-2"


@pytest.mark.parametrize(
    ("word", "generation", "clean", "trust"),
    [
        (None, 5, False, Trust.ROWS),
        (None, 5, True, Trust.ROWS),
        (Word(HERE, 5, State.IDLE), 5, False, Trust.WHOLE),
        (Word(HERE, 5, State.IDLE), 4, False, Trust.ROWS),  # an older copy of the index
        (Word(HERE, 5, State.IDLE), 9, False, Trust.ROWS),  # another account's, or a newer one
        (Word(ELSEWHERE, 5, State.IDLE), 5, False, Trust.ROWS),  # power loss
        (Word(HERE, 5, State.BUSY, ("1",)), 5, False, Trust.TOUCHED),  # killed before the commit
        (Word(HERE, 5, State.BUSY, ("1",)), 6, False, Trust.TOUCHED),  # killed after it
        (Word(HERE, 5, State.BUSY, ("1",)), 4, False, Trust.ROWS),
        (Word(ELSEWHERE, 5, State.BUSY), 5, False, Trust.ROWS),
        (Word(HERE, 5, State.CLEAN), 5, True, Trust.WHOLE),
        (Word(ELSEWHERE, 5, State.CLEAN), 5, True, Trust.WHOLE),  # a clean stop survives a reboot
        (Word(ELSEWHERE, 5, State.CLEAN), 4, True, Trust.ROWS),
        (Word(ELSEWHERE, 5, State.CLEAN), 5, False, Trust.ROWS),  # in use since, then power loss
        (Word(HERE, 5, State.CLEAN), 5, False, Trust.WHOLE),  # killed while it said so
    ],
)
def test_f159_an_index_is_believed_as_far_as_the_lock_file_tells(
    word: Word | None, generation: int, clean: bool, trust: Trust
) -> None:
    assert judge(word, generation, clean, HERE) is trust


def test_a_word_comes_back_and_damage_tells_nothing() -> None:
    word = Word("0f-1", 12, State.BUSY, ("1", "7"))
    assert len(word.pack()) == WORD_SIZE
    assert Word.unpack(word.pack()) == word
    for data in (b"", b"\0" * WORD_SIZE, b"1 b x idle \n", b"2 b 1 idle \n", b"1 b 1 odd \n", b"\xff" * 9):
        assert Word.unpack(data) is None


def test_a_word_with_too_many_folders_names_all() -> None:
    word = Word("boot", 1, State.BUSY, tuple(str(number) for number in range(200)))
    assert Word.unpack(word.pack()) == Word("boot", 1, State.BUSY, ("*",))
