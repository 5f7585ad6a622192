"""Words that are nearly the same: mistyped, or of one stem. Pure; what SEARCH's FUZZY looks for besides (RFC 6203 3).

Both words are in `collation.searchable` form: accents and case are gone already.
"""

from __future__ import annotations

from collections.abc import Iterable

SHORTEST = 4  # letters; a shorter word is like too many others
_LONG = 8  # letters from which two slips are forgiven
_STEM = 0.58  # of the longer word that two words of one stem begin with
_ENDING = 5  # letters by which two words of one stem may differ in length


def likeness(wanted: str, word: str) -> float:
    """1 for the same word, 0 for another one, the share that is equal between."""
    if wanted == word:
        return 1.0
    longer = max(len(wanted), len(word))
    if min(len(wanted), len(word)) < SHORTEST or abs(len(wanted) - len(word)) > _ENDING:
        return 0.0
    begins = _prefix(wanted, word)
    if begins >= SHORTEST and begins >= _STEM * longer:
        return begins / longer
    slips = 2 if len(wanted) >= _LONG else 1
    return 1 - found / longer if (found := distance(wanted, word, slips)) <= slips else 0.0


def _prefix(left: str, right: str) -> int:
    for count, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return count
    return min(len(left), len(right))


def distance(left: str, right: str, most: int) -> int:
    """Letters that must be changed, added, left out or exchanged with their neighbour (optimal string alignment);
    `most` + 1 when there are more."""
    if abs(len(left) - len(right)) > most:
        return most + 1
    before, row = list[int](), list(range(len(right) + 1))
    for i, letter in enumerate(left, 1):
        before, above, row = row, before, [i]
        for j, other in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == right[j - 2] and left[i - 2] == other:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)


def alike(wanted: str, words: Iterable[str], most: int) -> tuple[tuple[str, float], ...]:
    """The `most` likest of `words`, the likest first; `wanted` itself is none of them."""
    rated = ((word, likeness(wanted, word)) for word in words if word != wanted)
    return tuple(sorted((pair for pair in rated if pair[1]), key=lambda pair: (-pair[1], pair[0]))[:most])
