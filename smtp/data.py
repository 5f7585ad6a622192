"""The decoders of DATA and BDAT, sans-I/O: octets in, message blocks out (RFC 5321 4.1.1.4, 4.5.2, RFC 3030).

Only CR LF "." CR LF ends a message; bare CR, bare LF and NUL are noted, never repaired, and never an end
(security.md rows 1-9). What comes out does not depend on how the octets were cut into segments. Works on whole blocks
with the C loops of `bytes`, because a line at a time costs six times as much.
"""

from __future__ import annotations

import re

from core.status import Status
from message.lines import LineJudge

END = b"\r\n.\r\n"
# Proper prefixes of END that a block may break off in, longest first.
_HELD = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")
_LINE_END = re.compile(rb"\r\n|\r|\n")


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
        # Every END and every stuffed dot begins with these three octets: mostly one search finds the END, or nothing.
        dotted = buffer.find(b"\r\n.")
        end = buffer.find(END, dotted) if dotted >= 0 else -1
        if end >= 0:
            self.done, self.rest, self._tail = True, buffer[end + len(END) :], b""
            block = buffer[: end + 2]
        else:
            self._tail = next((held for held in _HELD if buffer.endswith(held)), b"")
            block = buffer[: len(buffer) - len(self._tail)] if self._tail else buffer
        # The end was searched first, so CR LF "." here always begins a longer line: its dot is a stuffed one.
        return self._finish(block.replace(b"\r\n.", b"\r\n") if dotted != end else block)

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
    """What BDAT brings is the message as it is (RFC 3030 2): no dots, no end inside; `fault` and `size` as above.
    `binary`: it need not consist of lines (RFC 3030 3); whoever takes it makes it so."""

    __slots__ = ("_binary", "_held", "_judge", "size")

    def __init__(self, line_limit: int, *, binary: bool = False) -> None:
        self._judge = LineJudge(line_limit)
        self._binary = binary
        self._held = b""  # a CR whose LF the next octet decides
        self.size = 0

    @property
    def fault(self) -> Status | None:
        return self._judge.fault

    def feed(self, data: bytes) -> bytes:
        if self._binary:
            self.size += len(data)
            return data
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
