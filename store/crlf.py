"""Line ends of files that others wrote: CRLF, as on the wire (design.md section 5)."""

from __future__ import annotations

from store.fsops import BLOCK, FileSystem


def copy_with_crlf(fs: FileSystem, source: int, size: int, target: int, *, end: bool) -> int:
    """`size` octets of `source` into the empty file `target`: lone LF becomes CRLF, CRLF stays, across block borders;
    with `end` a last line without an end gets one. Returns the octets written."""
    offset, held, last = 0, b"", b"\n"
    for start in range(0, size, BLOCK):
        block = held + fs.read(source, start, min(start + BLOCK, size))
        held = b"\r" if block.endswith(b"\r") else b""
        block = block[: len(block) - len(held)].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        fs.write(target, block, offset)
        offset += len(block)
        last = block[-1:] or last
    tail = held + (b"" if not end else b"\n" if held else b"" if last == b"\n" else b"\r\n")
    if tail:
        fs.write(target, tail, offset)
    return offset + len(tail)
