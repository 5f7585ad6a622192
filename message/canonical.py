"""DKIM's canonical forms of fields and body, block by block and linear (RFC 6376 3.4). Signer and verifier share it.

Knows bytes only: no keys, no signatures. The body comes in blocks that may cut anything anywhere; runs of blanks and
of empty lines are held as a flag and a number, so no input is looked at twice (a run of blanks cost a library 5 s).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from message.content import BLOCK

_FOLD = re.compile(rb"\r\n(?=[ \t])")
_RUN = re.compile(rb"[ \t]{2,}|\t")
_REVERSED_LINES = re.compile(rb"(?:\n\r)*")
_CRLF_BLOCK = b"\r\n" * 32_768


def relaxed_field(raw: bytes) -> bytes:
    """RFC 6376 3.4.2: name lower case, unfolded, runs of WSP one blank, none at the ends or around the colon."""
    name, _, value = raw.partition(b":")
    value = _RUN.sub(b" ", _FOLD.sub(b"", value.removesuffix(b"\r\n")))
    return name.rstrip(b" \t").lower() + b":" + value.strip(b" \t") + b"\r\n"


def simple_field(raw: bytes) -> bytes:
    """RFC 6376 3.4.1: as it is; a last field without its CRLF gets it."""
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


class BodyHash:
    """SHA-256 of the first `limit` octets of a canonical body (None: all); `length` counts the whole of it."""

    __slots__ = ("_hash", "length", "limit")

    def __init__(self, limit: int | None = None) -> None:
        self._hash = hashlib.sha256()
        self.length = 0
        self.limit = limit

    def update(self, data: bytes) -> None:
        if self.limit is None:
            self._hash.update(data)
        elif self.length < self.limit:
            self._hash.update(data[: self.limit - self.length])
        self.length += len(data)

    def digest(self) -> bytes:
        return self._hash.digest()


class BodyCanon:
    """One body, made canonical once for every hash that wants it. Feed it, then `finish`; nothing after that."""

    def __init__(self, *, relaxed: bool, hashes: Sequence[BodyHash]) -> None:
        self._relaxed = relaxed
        self._hashes = hashes
        self._blank = False  # relaxed: WSP seen whose meaning the next octet decides
        self._cr = False  # a CR seen whose LF may come
        self._lines = 0  # CRLFs held back: they count only when something follows (RFC 6376 3.4.3, 3.4.4)
        self._started = False

    def feed(self, data: bytes) -> None:
        for start in range(0, len(data), BLOCK):
            self._block(data[start : start + BLOCK])

    def finish(self) -> None:
        """End of the body: exactly one CRLF, except that an empty relaxed body stays empty (RFC 6376 3.4.4)."""
        if self._cr:
            self._lines_out(b" \r" if self._blank else b"\r")
        if self._started or not self._relaxed:
            self._put(b"\r\n")

    def _block(self, block: bytes) -> None:
        data = (b" " if self._blank else b"") + (b"\r" if self._cr else b"") + block
        self._cr = data.endswith(b"\r")
        if self._cr:
            data = data[:-1]
        if self._relaxed:
            data = self._relax(data)
        self._lines_out(data)

    def _relax(self, data: bytes) -> bytes:
        """Runs of WSP become one blank, none before CRLF; WSP at the end is held back (RFC 6376 3.4.4)."""
        kept = data.rstrip(b" \t")
        self._blank = len(kept) < len(data)
        if b"\t" in kept or b"  " in kept:
            kept = _RUN.sub(b" ", kept)
        return kept.replace(b" \r\n", b"\r\n")

    def _lines_out(self, data: bytes) -> None:
        """Put `data` out without the CRLFs it ends with; those are counted."""
        text = data.rstrip(b"\r\n")
        tail = data[len(text) :]
        # The tail may hold lone CRs or LFs, which are text: only whole CRLFs at the very end are held back.
        pairs = _REVERSED_LINES.match(tail[::-1])
        held = len(pairs[0]) // 2 if pairs else 0
        text += tail[: len(tail) - 2 * held]
        if text:
            self._empty_lines_out()
            self._started = True
            self._put(text)
        self._lines += held

    def _empty_lines_out(self) -> None:
        octets = 2 * self._lines
        self._lines = 0
        while octets:
            piece = _CRLF_BLOCK[:octets]
            self._put(piece)
            octets -= len(piece)

    def _put(self, data: bytes) -> None:
        for item in self._hashes:
            item.update(data)
