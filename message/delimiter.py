"""Delimiter lines of one multipart: CRLF "--" boundary ["--"] blanks CRLF, exactly (RFC 2046 5.1.1).

Exactly means that "--abcd" is no delimiter of boundary "abc": a boundary that begins like another one hides nothing
(security.md row 61).
"""

from __future__ import annotations

import re

from core.frozen import dataclass
from message.window import Window

_PADDING = 998  # transport padding is at most one legal line long (RFC 5322 2.1.1)
_TAIL = rb"(--)?[ \t]{0,%d}(?:\r\n|\Z)" % _PADDING
_AFTER = re.compile(_TAIL)
_SPAN = _PADDING + 6  # the longest tail and one octet to see that it ended
_PATIENCE = 64  # false candidates looked at one by one before the regular expression takes over


@dataclass(frozen=True, slots=True)
class Delimiter:
    """`start` is its leading CRLF, which belongs to it; `end` is past its line; `closing`: the last one."""

    start: int
    end: int
    closing: bool


class Finder:
    """Finds the delimiters of one boundary in rising order; linear whatever the content repeats."""

    __slots__ = ("_misses", "_needle", "_pattern")

    def __init__(self, boundary: bytes) -> None:
        self._needle = b"\r\n--" + boundary
        self._pattern: re.Pattern[bytes] | None = None
        self._misses = 0

    def next(self, window: Window, start: int, stop: int) -> Delimiter | None:
        """The first delimiter whose leading CRLF is at or after `start` and whose line ends by `stop`."""
        size = len(self._needle)
        while start + size <= stop:
            data, base = window.at(start, size + _SPAN)
            end = min(len(data), stop - base)
            hit = self._find(data, start - base, end)
            if hit < 0:
                if base + end >= stop:
                    return None
                start = max(start + 1, base + end - size - _SPAN)
                continue
            found = self._check(window, base + hit, stop)
            if found is not None:
                return found
            self._misses += 1
            start = base + hit + 2
        return None

    def _find(self, data: bytes, start: int, end: int) -> int:
        if self._misses < _PATIENCE:
            return data.find(self._needle, start, end)
        if self._pattern is None:
            self._pattern = re.compile(re.escape(self._needle) + _TAIL)
        match = self._pattern.search(data, start, end)
        return match.start() if match else -1

    def _check(self, window: Window, position: int, stop: int) -> Delimiter | None:
        size = len(self._needle)
        data, base = window.at(position, size + _SPAN)
        match = _AFTER.match(data, position + size - base, min(len(data), stop - base))
        return Delimiter(position, base + match.end(), match[1] is not None) if match else None
