"""What SQLite is asked about a set of keys: long stretches by their ends, fragments many at once.

A client names fifty thousand messages that are no neighbours in one command; a statement for each of them was most of
what it cost. Knows no table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from store.schema import UID_MASK, key

TOGETHER = 2000  # fragments of one statement: a list of them is made while nobody else has the interpreter
SHORT = 16  # keys that are looked up one by one sooner than a statement of their own takes

Span = tuple[int, int]  # keys, both included
Which = tuple[str, tuple[object, ...]]  # keys: what follows `key` in a statement, and what it is asked with


def between(first: int, last: int) -> Which:
    return "BETWEEN ? AND ?", (first, last)


def among(keys: Iterable[int]) -> Which:
    return "IN (SELECT value FROM json_each(?))", (f"[{','.join(map(str, keys))}]",)


def within(folder: int, ranges: Sequence[tuple[int, int]]) -> list[Span]:
    """UID ranges of a folder as spans of keys, cut to what a UID can be."""
    base = key(folder, 0)
    return [
        (base + (first if first > 0 else 1), base + (last if last < UID_MASK else UID_MASK))
        for first, last in ranges
        if first <= last and last > 0 and first <= UID_MASK
    ]


def of(spans: Iterable[Span]) -> Iterator[Which]:
    """They ascend, and so do the pieces. What lies in none of the spans is in no piece."""
    keys: list[int] = []
    for first, last in spans:
        if first == last:
            keys.append(first)
        elif last - first < SHORT:
            keys += range(first, last + 1)
        else:
            yield from _short(keys)
            yield between(first, last)
            keys = []
        if len(keys) >= TOGETHER:
            yield from _short(keys)
            keys = []
    yield from _short(keys)


def _short(keys: Sequence[int]) -> Iterator[Which]:
    if keys:
        lone = keys[-1] - keys[0] == len(keys) - 1
        yield between(keys[0], keys[-1]) if lone else among(keys)
