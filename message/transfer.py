"""Content-Transfer-Encodings undone block by block, in linear time and bounded memory (RFC 2045 6; security.md 68).

A decoder is made only when somebody asks for decoded content. An encoding we do not know is no decoder: None.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Protocol


class Encoding(Enum):
    """RFC 2045 6.1. UNKNOWN: content of unknown meaning, never decoded (RFC 2045 6.4)."""

    SEVENBIT = 0
    EIGHTBIT = 1
    BINARY = 2
    QUOTED_PRINTABLE = 3
    BASE64 = 4
    UNKNOWN = 5


NAMES = {
    b"7bit": Encoding.SEVENBIT,
    b"8bit": Encoding.EIGHTBIT,
    b"binary": Encoding.BINARY,
    b"quoted-printable": Encoding.QUOTED_PRINTABLE,
    b"base64": Encoding.BASE64,
}


def encoding(token: bytes) -> Encoding:
    """The encoding named by a Content-Transfer-Encoding token; absent (b"") is 7bit (RFC 2045 6.1)."""
    return NAMES.get(token.lower(), Encoding.UNKNOWN) if token else Encoding.SEVENBIT


class Decoder(Protocol):
    """Fed blocks of any size; `flush` ends it and returns what was held back."""

    def feed(self, block: bytes) -> bytes: ...

    def flush(self) -> bytes: ...


class _Identity:
    __slots__ = ()

    def feed(self, block: bytes) -> bytes:
        return block

    def flush(self) -> bytes:
        return b""


_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(octet for octet in range(256) if octet not in _BASE64)


class _Base64:
    """RFC 2045 6.8: characters outside the alphabet are ignored, the first padding ends the data."""

    __slots__ = ("_done", "_held")

    def __init__(self) -> None:
        self._held = b""
        self._done = False

    def feed(self, block: bytes) -> bytes:
        if self._done:
            return b""
        data = self._held + block.translate(None, _NOT_BASE64)
        padding = data.find(b"=")
        if padding >= 0:
            self._done, self._held = True, b""
            return _quads(data[:padding])
        whole = len(data) & ~3
        self._held = data[whole:]
        return binascii.a2b_base64(data[:whole])

    def flush(self) -> bytes:
        held, self._held, self._done = self._held, b"", True
        return _quads(held)


def _quads(data: bytes) -> bytes:
    """Decode with the padding that belongs there; a single left-over character carries no octet and is dropped."""
    if len(data) % 4 == 1:
        data = data[:-1]
    return binascii.a2b_base64(data + b"=" * (-len(data) % 4))


# Starts at the first blank of a run only: without the look-behind a long run of blanks would be quadratic.
_TRAILING = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n)")
# What is no escape is text. `a2b_qp` has its own ideas of that, which depend on where the octets are cut.
_NO_ESCAPE = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?\n)")
_HELD_BLANKS = 1024  # a run of blanks longer than any legal line is text, not transport padding


class _QuotedPrintable:
    """RFC 2045 6.7: blanks at line ends were added in transport, "=" at a line end joins, bad escapes stay as text."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, block: bytes) -> bytes:
        data = self._held + block
        cut = _hold(data)
        self._held = data[cut:]
        return _unquote(data[:cut])

    def flush(self) -> bytes:
        held, self._held = self._held.rstrip(b" \t\r"), b""
        return _unquote(held.removesuffix(b"="))


def _hold(data: bytes) -> int:
    """Where the part that later octets may change begins: an unfinished escape, or blanks that may end a line."""
    solid = len(data.rstrip(b" \t\r"))
    if len(data) - solid > _HELD_BLANKS:
        solid = len(data)
    equals = data.rfind(b"=", max(0, solid - 2), solid)
    return equals if equals >= 0 else solid


def _unquote(data: bytes) -> bytes:
    return binascii.a2b_qp(_NO_ESCAPE.sub(b"=3D", _TRAILING.sub(b"", data)))


def decoder(kind: Encoding) -> Decoder | None:
    """A fresh decoder; None for an unknown encoding (IMAP answers NO [UNKNOWN-CTE], RFC 3516 4.3)."""
    if kind is Encoding.UNKNOWN:
        return None
    if kind is Encoding.BASE64:
        return _Base64()
    if kind is Encoding.QUOTED_PRINTABLE:
        return _QuotedPrintable()
    return _Identity()


def decoded(kind: Encoding, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The decoded octets of `blocks`, block by block; those of an unknown encoding come as they are."""
    codec = decoder(kind) or _Identity()
    for block in blocks:
        if piece := codec.feed(block):
            yield piece
    if piece := codec.flush():
        yield piece
