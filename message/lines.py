"""Whether a message consists of lines: CR LF alone ends one, no NUL, none too long (RFC 5321 2.3.8, 4.5.3.1.6).

Notes what is wrong, repairs nothing (security.md rows 1-9). Works on whole blocks with the C loops of `bytes`, because
a line at a time costs six times as much.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.status import Status, refused
from message.content import Content, blocks

TEXT_LINE = 998  # octets without CR LF, the most that may leave (RFC 5321 4.5.3.1.6, RFC 5322 2.1.1)

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
        """No block cuts a pair: what is not part of one in it is bare."""
        self._bare = self._bare or has_bare(block)
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


def count_line_ends(octets: bytes) -> int:
    """LFs. `bytes.count` of one octet looks at each one in CPython 3.11 (1.6 ns); taking the LFs out jumps from one to
    the next: a fifth of that in text, and at the worst, in nothing but LFs, 13 ns for each."""
    return len(octets) - len(octets.replace(b"\n", b""))


def has_bare(block: bytes) -> bool:
    """Whether there is a CR or LF outside a pair. There is none if we get the block back when we take its LFs out and
    put one behind each CR, and no CR follows the last LF. Searches for one octet jump (43 µs for 64 KiB of text), those
    for a pair look at each octet (73 µs); of nothing but line ends it takes 0.9 ms."""
    lines = block.replace(b"\n", b"")
    ends = len(block) - len(lines)  # no more are put back: CRs without LF would make the block longer by as many
    return lines.replace(b"\r", b"\r\n", ends) != block or block.find(b"\r", block.rfind(b"\n") + 1) >= 0


class LongLines(LineJudge):
    """Whether any line is longer than that, and nothing else: blocks may be cut anywhere."""

    __slots__ = ()

    @property
    def found(self) -> bool:
        return self._long

    def look(self, block: bytes) -> None:
        self._long = self._long or self._has_long_line(block)


def whole_lines(content: Content, start: int = 0) -> Iterator[bytes]:
    """The content in blocks as `LineJudge` wants them: none ends between CR and LF."""
    held = b""
    for block in blocks(content, start):
        data = held + block
        held = b"\r" if data.endswith(b"\r") else b""
        yield data[: len(data) - len(held)]
    if held:
        yield held
