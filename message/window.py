"""A sliding view of at most one `content.BLOCK` over a message, so that no single call works on more than that."""

from __future__ import annotations

from message.content import BLOCK, Content
from message.lines import count_line_ends


class Window:
    """Reads forward mostly; going back costs one read. Positions are octets of the message."""

    __slots__ = ("_base", "_content", "_data", "size")

    def __init__(self, content: Content) -> None:
        self._content = content
        self._base = 0
        self._data = b""
        self.size = content.size

    def at(self, position: int, need: int) -> tuple[bytes, int]:
        """(data, base): octets of the message from `base` on that hold `need` octets at `position`, fewer only at the
        end of the message. `need` is at most BLOCK."""
        have = self._base + len(self._data)
        if not (self._base <= position and min(position + need, self.size) <= have):
            self._base = position
            self._data = self._content.read(position, min(position + BLOCK, self.size))
        return self._data, self._base

    def read(self, start: int, stop: int) -> bytes:
        """At most BLOCK octets."""
        stop = min(stop, self.size, start + BLOCK)
        data, base = self.at(start, stop - start)
        return data[start - base : stop - base]

    def find(self, needle: bytes, start: int, stop: int) -> int:
        """The first place of `needle` wholly inside [start, stop), or -1."""
        stop = min(stop, self.size)
        while start + len(needle) <= stop:
            data, base = self.at(start, len(needle))
            end = min(len(data), stop - base)
            hit = data.find(needle, start - base, end)
            if hit >= 0:
                return base + hit
            start = base + end - len(needle) + 1
        return -1

    def count_lines(self, start: int, stop: int) -> int:
        """Line ends in [start, stop)."""
        lines = 0
        while start < min(stop, self.size):
            data, base = self.at(start, 1)
            end = min(len(data), stop - base)
            lines += count_line_ends(data[start - base : end])
            start = base + end
        return lines
