"""The words of a message as the text index keeps them, and what of a pattern can be looked up in it. Pure.

A word is a run of letters and digits in `collation.searchable` form; a pattern without separators that is found in a
text lies inside one of its words. Words that no person wrote (parts of keys, identifiers, tracking addresses) would
swell a vocabulary without end: of these only the three-letter pieces are kept, which a message is then looked at for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from message.collation import searchable
from message.text import Kind, Piece

WORD = re.compile(r"[^\W_]+")
GRAM = 3
_LONGEST_WORD = 24  # "anticonstitutionnellement", the longest of French, is cut into pieces; nobody minds
_LONGEST_NUMBER = 12
_LONGEST_MIXED = 4  # "n4", "a380"
MAX_TEXT = 1024 * 1024  # characters of one message that are indexed; longer ones are looked at when they are searched
_BLOCK = 32 * 1024
MAX_WORDS = 20_000  # different ones of one message, likewise


def is_odd(word: str) -> bool:
    if word.isalpha():
        return len(word) > _LONGEST_WORD
    return len(word) > (_LONGEST_NUMBER if word.isdecimal() else _LONGEST_MIXED)


def grams(word: str) -> set[str]:
    return {word[start : start + GRAM] for start in range(len(word) - GRAM + 1)}


@dataclass(slots=True)
class Words:
    """`head` from where TEXT looks and BODY does not, `body` from all else; `head_grams` and `body_grams` of their odd
    words.
    `whole`: nothing was left out."""

    head: set[str] = field(default_factory=set)
    body: set[str] = field(default_factory=set)
    head_grams: set[str] = field(default_factory=set)
    body_grams: set[str] = field(default_factory=set)
    whole: bool = True

    def add(self, text: str, *, header: bool) -> None:
        words, odd = (self.head, self.head_grams) if header else (self.body, self.body_grams)
        for word in set(WORD.findall(searchable(text))) - words:
            if is_odd(word):
                odd |= grams(word)
            else:
                words.add(word)


def gather(pieces: Iterable[Piece]) -> Words:
    """From `message.text.pieces`."""
    found, held, part, room = Words(), "", -1, MAX_TEXT
    for piece in pieces:
        if piece.kind is Kind.BLANKS:  # its words are known
            continue
        room -= len(piece.text)
        if room < 0 or len(found.head) + len(found.body) > MAX_WORDS or len(held) > MAX_TEXT // 4:
            found.whole = False
            break
        if piece.kind is not Kind.TEXT:
            found.add(piece.text, header=piece.header)
            continue
        if piece.part != part:
            found.add(held, header=False)
            held, part = "", piece.part
        held = _all_but_last_word(found, held + piece.text)
    found.add(held, header=False)
    return found


def _all_but_last_word(found: Words, text: str) -> str:
    """Blocks stay short, so that nobody waits long for the interpreter; what may go on is given back."""
    if len(text) < _BLOCK:
        return text
    cut = max(text.rfind(" "), text.rfind("\n"))
    found.add(text[: cut + 1], header=False)
    return text[cut + 1 :]
