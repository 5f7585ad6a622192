"""RETURN (...) of SEARCH and SORT: what of a result is to be told (RFC 4731 3.1, RFC 5182 2.1, RFC 9394 3.1).

Values and their parser; refuses to know results.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Flag, auto
from typing import TypeVar

from imap.errors import BadSyntax
from imap.types import MAX_NUMBER
from imap.wire.scanner import Scanner

T = TypeVar("T")

# partial-range = nz-number ":" nz-number / "-" nz-number ":" "-" nz-number (RFC 9394 4)
_WINDOW = re.compile(rb"(-?)([1-9][0-9]{0,9}):\1([1-9][0-9]{0,9})(?![0-9])")


class Want(Flag):
    NONE = 0
    MIN = auto()
    MAX = auto()
    ALL = auto()
    COUNT = auto()
    SAVE = auto()


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a result: positions `first` to `last`, both included, counted from 1; with `from_end` from the end.
    `text` is how the client wrote it, which the answer repeats."""

    first: int
    last: int
    from_end: bool
    text: bytes

    @property
    def size(self) -> int:
        return abs(self.last - self.first) + 1

    def cut(self, found: Sequence[T]) -> Sequence[T]:
        low, high = min(self.first, self.last), max(self.first, self.last)
        if not self.from_end:
            return found[low - 1 : high]
        size = len(found)
        return found[max(size - high, 0) : max(size - low + 1, 0)]


@dataclass(frozen=True, slots=True)
class Returns:
    """`window`: PARTIAL."""

    wants: Want = Want.NONE
    window: Window | None = None

    @property
    def only_saves(self) -> bool:
        """RFC 5182 2.1: SAVE alone is answered by the tagged OK only."""
        return self.wants is Want.SAVE and self.window is None


def try_parse(scanner: Scanner) -> Returns | None:
    """search-return-opts = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")", behind the SP; the SP
    after it as well. None without it; "()" means ALL (RFC 4731 3.1)."""
    if not scanner.try_token(b"RETURN "):
        return None
    found = Returns()
    for change in scanner.parenthesised(lambda: _option(scanner), empty=True):
        found = change(found)
    scanner.space()
    if found.window and Want.ALL in found.wants:
        raise BadSyntax("ALL and PARTIAL exclude each other")  # RFC 9394 3.1
    return found if found.wants or found.window else Returns(Want.ALL)


Change = Callable[[Returns], Returns]


def _option(scanner: Scanner) -> Change:
    read = OPTIONS.get(scanner.keyword())
    if read is None:
        raise BadSyntax("unknown RETURN option")
    return read(scanner)


def _wanting(want: Want) -> Callable[[Scanner], Change]:
    return lambda _: lambda found: replace(found, wants=found.wants | want)


def _partial(scanner: Scanner) -> Change:
    scanner.space()
    window = read_window(scanner)

    def change(found: Returns) -> Returns:
        if found.window:
            raise BadSyntax("one PARTIAL only")  # RFC 9394 3.1
        return replace(found, window=window)

    return change


def read_window(scanner: Scanner) -> Window:
    match = scanner.match(_WINDOW, "range of positions")
    first, last = int(match[2]), int(match[3])
    if max(first, last) > MAX_NUMBER:
        raise BadSyntax("position too large")
    return Window(first, last, bool(match[1]), match[0])


OPTIONS: Mapping[str, Callable[[Scanner], Change]] = {
    "MIN": _wanting(Want.MIN),
    "MAX": _wanting(Want.MAX),
    "ALL": _wanting(Want.ALL),
    "COUNT": _wanting(Want.COUNT),
    "SAVE": _wanting(Want.SAVE),
    "PARTIAL": _partial,
}
