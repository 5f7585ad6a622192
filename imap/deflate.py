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
SYNC = b"\0\0\xff\xff"  # how a sync flush ends; elsewhere in a stream by chance only


class DeflateError(ConnectionError):
    """The peer's octets are no deflate stream."""


class Deflate:
    """Both directions of one connection, from COMPRESS to its end or to UNAUTHENTICATE."""

    __slots__ = ("_behind", "_compressor", "_ended", "_full", "_inflater", "_waiting")

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(RAW)
        self._waiting = b""  # compressed octets not looked at yet
        self._behind = b""  # what came behind the last sync flush: clear text, where that was the last one of all
        self._ended = False  # the peer ended its stream
        self._full = False  # the last piece was cut at `MOST`: there may be more of it
        self._compressor: isal_zlib.Compress | None = None

    @property
    def pending(self) -> bool:
        """There is, or may be, clear text that needs no more octets of the peer."""
        return self._full or bool(self._waiting or self._behind)

    def inflate(self, data: bytes) -> bytes:
        """The next clear text, at most `MOST` octets, of what waits and of `data` behind it; b"" when more is needed.
        Raises `DeflateError`."""
        if self._ended:  # RFC 4978 has no end of compression: nothing behind it can be understood
            raise DeflateError("the deflate stream ended")
        try:
            clear = self._inflater.decompress(self._next(data), MOST)
        except zlib.error as error:
            raise DeflateError("not a deflate stream") from error
        self._waiting = self._inflater.unconsumed_tail
        self._full = len(clear) == MOST
        if self._inflater.eof:
            self._ended, self._full = True, False
            self._behind = self._inflater.unused_data + self._behind
            if not clear:
                raise DeflateError("the deflate stream ended")
        return clear

    def _next(self, data: bytes) -> bytes:
        """What is inflated in one go: what waits, then all up to the last sync flush, then what is behind that. So a
        command that ends compression is met before the clear text behind it (RFC 8437 4.1)."""
        if self._waiting:
            self._behind += data
            return self._waiting
        data, self._behind = self._behind + data if self._behind else data, b""
        end = data.rfind(SYNC) + len(SYNC)
        if len(SYNC) <= end < len(data):
            data, self._behind = data[:end], data[end:]
        return data

    def end(self) -> bytes:
        """The peer compresses no more: what it sent behind, in clear text. Raises `DeflateError` when there is more
        compressed than was inflated."""
        if self._full or self._waiting:
            raise DeflateError("compressed octets behind the end of compression")
        return self._behind

    def deflate(self, data: bytes) -> bytes:
        """`data` compressed, whole: the peer can read it without waiting for more."""
        if self._compressor is None:
            self._compressor = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, RAW)
        return bytes(self._compressor.compress(data) + self._compressor.flush(isal_zlib.Z_SYNC_FLUSH))

    def rest(self) -> None:
        """Nothing will be sent for a while."""
        self._compressor = None
