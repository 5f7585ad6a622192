"""The decoders of DATA and BDAT, sans-I/O: octets in, message blocks out (RFC 5321 4.1.1.4, 4.5.2, RFC 3030).

Only CR LF "." CR LF ends a message; bare CR, bare LF and NUL are noted, never repaired, and never an end
(security.md rows 1-9). What comes out does not depend on how the octets were cut into segments. Works on whole blocks
with the C loops of `bytes`, because a line at a time costs six times as much.
"""

from __future__ import annotations

import re

from core.status import Status, refused

END = b"\r\n.\r\n"
# Proper prefixes of END that a block may break off in, longest first.
_HELD = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")
_LINE_END = re.compile(rb"\r\n|\r|\n")

BARE_LINE_END = refused("Lines end in CRLF; bare CR or LF found", "bare-line-end", "5.5.2", 550)
NUL = refused("Message holds a NUL", "nul", "5.6.0", 550)
LONG_LINE = refused("Line too long", "long-line", "5.5.2", 500)


class LineJudge:
    """Looks at blocks that never begin or end inside a CR LF pair; `fault` tells why the message must be refused."""

    __slots__ = ("_bare", "_column", "_limit", "_long", "_nul")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._column = 0  # octets of the unfinished line before this block
        self._bare = self._nul = self._long = False

    @property
    def fault(self) -> Status | None:
        """In a fixed order, so that the answer does not depend on which block showed what first."""
        if self._bare:
            return BARE_LINE_END
        if self._nul:
            return NUL
        return LONG_LINE if self._long else None

    def look(self, block: bytes) -> None:
        """Since no block cuts a pair, counting finds every bare line end."""
        if not self._bare:
            pairs = block.count(b"\r\n")
            self._bare = block.count(b"\n") != pairs or block.count(b"\r") != pairs
        self._nul = self._nul or b"\0" in block
        self._long = self._long or self._has_long_line(block)

    def _has_long_line(self, block: bytes) -> bool:
        """Jumps from line end to line end at most a limit apart: one look per limit, not per line."""
        start, room = 0, self._limit - self._column
        while len(block) - start > room:
            line_end = block.rfind(b"\n", start, start + room)
            if line_end < 0:
                return True
            start, room = line_end + 1, self._limit
        line_end = block.rfind(b"\n", start)
        if line_end >= 0:
            self._column = len(block) - line_end - 1
        else:
            self._column = len(block) - start + (self._limit - room)
        return False


class DataDecoder:
    """Feed it what arrives after 354; `done` tells the end, `rest` what came after it (the next command), `fault` why
    the message must be refused, `size` its octets so far (dots unstuffed). `mend`: bare line ends become CR LF, for
    devices that their owner listed; they still end nothing (security.md, Decided)."""

    __slots__ = ("_judge", "_mend", "_skip", "_tail", "done", "rest", "size")

    def __init__(self, line_limit: int, *, mend: bool = False) -> None:
        self._judge = LineJudge(line_limit)
        self._mend = mend
        # An imaginary line end before the first line makes an empty message and a first line with a dot ordinary.
        self._tail = b"\r\n"
        self._skip = 2
        self.done = False
        self.rest = b""
        self.size = 0

    @property
    def fault(self) -> Status | None:
        return self._judge.fault

    def feed(self, data: bytes) -> bytes:
        """The message octets that are now certain, maybe none. Not to be called when `done`."""
        buffer = self._tail + data if self._tail else data
        # Every END and every stuffed dot begins with these three octets: mostly one search answers both questions.
        dotted = b"\r\n." in buffer
        end = buffer.find(END) if dotted else -1
        if end >= 0:
            self.done, self.rest, self._tail = True, buffer[end + len(END) :], b""
            block = buffer[: end + 2]
        else:
            self._tail = next((held for held in _HELD if buffer.endswith(held)), b"")
            block = buffer[: len(buffer) - len(self._tail)] if self._tail else buffer
        # The end was searched first, so CR LF "." here always begins a longer line: its dot is a stuffed one.
        return self._finish(block.replace(b"\r\n.", b"\r\n") if dotted else block)

    def _finish(self, block: bytes) -> bytes:
        if self._skip:
            skipped, block = min(self._skip, len(block)), block[self._skip :]
            self._skip -= skipped
        if self._mend:
            block = mended(block)
        self.size += len(block)
        self._judge.look(block)
        return block


class ChunkDecoder:
    """What BDAT brings is the message as it is (RFC 3030 2): no dots, no end inside; `fault` and `size` as above."""

    __slots__ = ("_held", "_judge", "size")

    def __init__(self, line_limit: int) -> None:
        self._judge = LineJudge(line_limit)
        self._held = b""  # a CR whose LF the next octet decides
        self.size = 0

    @property
    def fault(self) -> Status | None:
        return self._judge.fault

    def feed(self, data: bytes) -> bytes:
        block = self._held + data
        self._held = b"\r" if block.endswith(b"\r") else b""
        block = block[: len(block) - len(self._held)]
        self.size += len(block)
        self._judge.look(block)
        return block

    def end(self) -> None:
        """Nothing more comes: a CR that is still held stands alone."""
        self._judge.look(self._held)


def mended(block: bytes) -> bytes:
    """Every line end is CR LF. Blocks never cut a pair."""
    return _LINE_END.sub(b"\r\n", block)
