"""COMPRESS=DEFLATE (RFC 4978): one connection's raw deflate streams, bounded both ways. `isal` is touched here only.

Knows octets only. What comes in is inflated in pieces of at most `MOST` octets, each when it is asked for: a bomb fills
no memory, and the framing that reads the pieces has the bounds of any command (security.md row 105). What goes out ends
in a sync flush. The compressor's 67 KiB are given back while a connection waits: a deflate stream may go on with a
compressor that remembers nothing, only the first words after a rest are compressed less. The inflater must remember
what its peer may refer to; zlib's does with less than isal's 68 KiB.
"""

from __future__ import annotations

import zlib

from isal import isal_zlib

MOST = 64 * 1024  # octets of clear text in hand at once
LEVEL = 1  # of isal: 15 times as fast as zlib's default and 89 % of its ratio
RAW = -15  # RFC 4978 3: no zlib header, a window of 32 KiB


class DeflateError(ConnectionError):
    """The peer's octets are no deflate stream."""


class Deflate:
    __slots__ = ("_compressor", "_full", "_inflater", "_waiting")

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(RAW)
        self._waiting = b""  # compressed octets not looked at yet
        self._full = False  # the last piece was cut at `MOST`: there may be more of it
        self._compressor: isal_zlib.Compress | None = None

    @property
    def pending(self) -> bool:
        """There is, or may be, clear text that needs no more octets of the peer."""
        return self._full or bool(self._waiting)

    def inflate(self, data: bytes) -> bytes:
        """The next clear text, at most `MOST` octets, of what waits and of `data` behind it; b"" when more is needed.
        Raises `DeflateError`."""
        data = self._waiting + data if self._waiting else data
        try:
            clear = self._inflater.decompress(data, MOST)
        except zlib.error as error:
            raise DeflateError("not a deflate stream") from error
        if self._inflater.eof:  # RFC 4978 has no end of compression: nothing behind it can be understood
            raise DeflateError("the deflate stream ended")
        self._waiting = self._inflater.unconsumed_tail
        self._full = len(clear) == MOST
        return clear

    def deflate(self, data: bytes) -> bytes:
        """`data` compressed, whole: the peer can read it without waiting for more."""
        if self._compressor is None:
            self._compressor = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, RAW)
        return bytes(self._compressor.compress(data) + self._compressor.flush(isal_zlib.Z_SYNC_FLUSH))

    def rest(self) -> None:
        """Nothing will be sent for a while."""
        self._compressor = None
