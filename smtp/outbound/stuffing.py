"""Dot-stuffing on the way out, sans-I/O (RFC 5321 4.5.2): content blocks in, wire octets out, any segmentation.

Refuses bare CR and LF (security.md row 5): what leaves us is one message wherever it is read. A refusal may come after
octets went out; the connection is then cut before the final dot, and nobody has a message (RFC 5321 4.1.1.4).
"""

from __future__ import annotations

from message.lines import has_bare


class BareLineEnd(Exception):
    """The content holds a CR or LF outside a CR LF pair."""


class DotStuffer:
    __slots__ = ("_held", "_line_start")

    def __init__(self) -> None:
        self._held = b""  # a CR whose LF may stand in the next block
        self._line_start = True

    def feed(self, block: bytes) -> bytes:
        """Raises `BareLineEnd`."""
        data = self._held + block if self._held else block
        self._held = b"\r" if data.endswith(b"\r") else b""
        if self._held:
            data = data[:-1]
        if not data:
            return b""
        if has_bare(data):
            raise BareLineEnd
        first = b"." if self._line_start and data.startswith(b".") else b""
        self._line_start = data.endswith(b"\n")
        return first + data.replace(b"\r\n.", b"\r\n..")

    def end(self) -> bytes:
        """The end of data, after a line end when the content lacks one. Raises `BareLineEnd`."""
        if self._held:
            raise BareLineEnd
        return b".\r\n" if self._line_start else b"\r\n.\r\n"
