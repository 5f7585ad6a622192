"""A stretch of a result, as PARTIAL names it (RFC 9394 4, RFC 5267 4.4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from imap.errors import BadSyntax
from imap.types import MAX_NUMBER
from imap.wire.scanner import Scanner

T = TypeVar("T")

# partial-range = nz-number ":" nz-number / "-" nz-number ":" "-" nz-number (RFC 9394 4)
_WINDOW = re.compile(rb"(-?)([1-9][0-9]{0,9}):\1([1-9][0-9]{0,9})(?![0-9])")


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a result: positions `first` to `last`, both included, counted from 1; with `from_end` from the end.
    `text` names it in the answer: "1:9" for "9:1" and "-1:-9" for "-9:-1", which are the same (RFC 9394 4)."""

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


def read_window(scanner: Scanner) -> Window:
    match = scanner.match(_WINDOW, "range of positions")
    first, last = int(match[2]), int(match[3])
    if max(first, last) > MAX_NUMBER:
        raise BadSyntax("position too large")
    sign = match[1]
    return Window(first, last, bool(sign), b"%b%d:%b%d" % (sign, min(first, last), sign, max(first, last)))
