"""Replies of a remote server, sans-I/O: octets in, whole replies out (RFC 5321 4.2, RFC 3463), within bounds.

A hostile server cannot make us read for ever: 4 KiB a line, 100 lines a reply, codes 200 to 599, one code per reply
(security.md row 139). What is kept of its text is printable ASCII (promise P9).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINE = 4096
MAX_LINES = 100
MAX_DIAGNOSTIC = 500  # characters of reply text that reach bounces and logs

# Reply-line = Reply-code [ SP textstring ] CRLF; Reply-code = %x32-35 %x30-35 %x30-39
_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)")


class ReplyFault(Exception):
    """What came is no SMTP reply; the connection is useless. `reason` is ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class RemoteReply:
    """`lines` without code, printable ASCII; `enhanced` only when its class agrees with the code, else ""."""

    code: int
    lines: tuple[str, ...]
    enhanced: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.code < 300

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    @property
    def diagnostic(self) -> str:
        """One line for a bounce (RFC 3464 2.3.6)."""
        return f"{self.code} {' '.join(self.lines)}".strip()[:MAX_DIAGNOSTIC]


class ReplyParser:
    """`feed` octets, `pop` replies."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._code = 0

    @property
    def pending(self) -> bool:
        """Whether anything unread is here: nothing may be before a TLS handshake (row 26)."""
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def pop(self) -> RemoteReply | None:
        """The next whole reply, None when more octets are needed. Raises `ReplyFault`."""
        while (end := self._buffer.find(b"\n")) >= 0:
            if end > MAX_LINE:
                raise ReplyFault("reply-line-too-long")
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            if self._take(line):
                return self._whole()
        if len(self._buffer) > MAX_LINE:
            raise ReplyFault("reply-line-too-long")
        return None

    def _take(self, line: bytes) -> bool:
        """One line; True when it is the last of its reply."""
        match = _LINE.fullmatch(line)
        if not match:
            raise ReplyFault("bad-reply")
        code = int(match[1])
        if self._lines and code != self._code:
            raise ReplyFault("bad-reply")  # RFC 5321 4.2.1: the code is the same on all lines
        if len(self._lines) >= MAX_LINES:
            raise ReplyFault("too-many-reply-lines")
        self._code = code
        self._lines.append(printable((match[3] or b"").decode("ascii", "replace")))
        return match[2] != b"-"

    def _whole(self) -> RemoteReply:
        lines, self._lines = tuple(self._lines), []
        match = _ENHANCED.match(lines[0])
        enhanced = match[1] if match and match[1][0] == str(self._code)[0] else ""
        return RemoteReply(self._code, lines, enhanced)


def printable(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text)
