"""A plain IMAP client that costs as little as can be: one connection over TLS, answers are looked through, not read."""

from __future__ import annotations

import re
import socket
import ssl
import time
import zlib

RUNS = 3
TAIL = 1 << 19  # more than the longest tagged answer: a COPYUID names each of fifty thousand fragments


class Client:
    """A command at a time; `ask` times it. Raises `AssertionError` when it is refused."""

    def __init__(self, port: int, user: str, password: str = "pw") -> None:
        raw = socket.create_connection(("127.0.0.1", port), timeout=600)
        self._socket = ssl._create_unverified_context().wrap_socket(raw)
        self._number = 0
        self._streams: tuple[zlib._Compress, zlib._Decompress] | None = None
        self._socket.recv(4096)
        self.login = self.ask(f'LOGIN "{user}" {password}')[0]

    def ask(self, command: str, literal: bytes = b"") -> tuple[float, bytes]:
        """Seconds to the tagged OK, and the last 512 KiB of the answer, at least."""
        self._number += 1
        tag = b"b%d" % self._number
        return self.send(tag + b" " + command.encode() + b"\r\n" + literal, tag)

    def send(self, octets: bytes, tag: bytes) -> tuple[float, bytes]:
        """The same for octets made elsewhere: several commands, of which `tag` is the last one's."""
        end = re.compile(rb"%b (OK|NO|BAD)[^\r\n]*\r\n" % tag)
        start = time.perf_counter()
        if self._streams:
            octets = self._streams[0].compress(octets) + self._streams[0].flush(zlib.Z_SYNC_FLUSH)
        self._socket.sendall(octets)
        tail = bytearray()
        while not (match := end.fullmatch(_last_line(tail))):
            data = self._socket.recv(1 << 18)
            if not data:
                raise AssertionError("the connection ended")
            if self._streams:
                data = self._streams[1].decompress(data)
            tail += data
            if len(tail) > 2 * TAIL:
                del tail[:-TAIL]
        seconds = time.perf_counter() - start
        if match[1] != b"OK":
            raise AssertionError(f"{octets[:60]!r}: {tail[-300:]!r}")
        return seconds, bytes(tail)

    def best(self, command: str, before: str = "NOOP") -> float:
        found = []
        for _ in range(RUNS):
            self.ask(before)
            found.append(self.ask(command)[0])
        return min(found)

    def compress(self) -> None:
        """From here on both directions are compressed (RFC 4978)."""
        self.ask("COMPRESS DEFLATE")
        self._streams = zlib.compressobj(1, zlib.DEFLATED, -15), zlib.decompressobj(-15)

    def close(self) -> None:
        self._socket.close()


def _last_line(octets: bytearray) -> bytearray:
    """With its CRLF; nothing where a line is not whole yet."""
    if not octets.endswith(b"\r\n"):
        return bytearray()
    before = octets.rfind(b"\r\n", 0, len(octets) - 2)
    return octets if before < 0 else octets[before + 2 :]
