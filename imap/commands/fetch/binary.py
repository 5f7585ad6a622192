"""BINARY, BINARY.PEEK, BINARY.SIZE: parts without their transfer encoding (RFC 3516 4, RFC 9051 6.4.5).

A literal needs its length first, so a part is decoded twice, block by block: once to count, once to send. Nothing of it
is kept between, and other sessions get their turn after every block. Knows no response; reads through `MessageFile`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from imap.commands.fetch.section import Partial, Span, clip
from message.content import BLOCK
from message.parts import PartKind, Tree
from message.transfer import Encoding, decoder
from store.store import MessageFile


class UnknownEncodingError(Exception):
    """A part whose Content-Transfer-Encoding nobody knows: NO [UNKNOWN-CTE] (RFC 3516 4.3)."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An item of decoded octets; `size_only`: their number. `label` is what the answer calls it."""

    name: bytes
    path: tuple[int, ...]
    peek: bool
    partial: Partial | None = None
    size_only: bool = False
    label: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        origin = b"<%d>" % self.partial.start if self.partial else b""
        path = b".".join(b"%d" % number for number in self.path)
        object.__setattr__(self, "label", b"%b[%b]%b" % (self.name, path, origin))


@dataclass(frozen=True, slots=True)
class Encoded:
    """Where a part lies in its file, and how it is encoded."""

    span: Span
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class Measured:
    """Octets `start` to `stop` of what `source` decodes to. `nul`: only a literal8 can carry them."""

    source: Encoded
    start: int
    stop: int
    nul: bool


def locate(tree: Tree, path: tuple[int, ...], size: int) -> Encoded | None:
    """The part; None when there is none. Multiparts and messages are never encoded (RFC 2045 6.4), nor is the whole."""
    part = tree.part(path)
    span = tree.section(path)
    if part is None or span is None:
        return None
    plain = not path or part.kind is not PartKind.LEAF
    return Encoded(clip(span, size), Encoding.BINARY if plain else part.encoding)


async def measure(file: MessageFile, source: Encoded, partial: Partial | None) -> Measured:
    """Raises `UnknownEncodingError`, `StorageError`."""
    total, nul = 0, False
    low, high = (partial.start, partial.start + partial.length) if partial else (0, file.size * 2)
    async for block in pieces(file, source):
        nul = nul or b"\0" in block[max(low - total, 0) : max(high - total, 0)]
        total += len(block)
    start, stop = partial.cut((0, total)) if partial else (0, total)
    return Measured(source, start, stop, nul)


async def pieces(file: MessageFile, source: Encoded) -> AsyncIterator[bytes]:
    """The decoded octets, at most a block at a time."""
    codec = decoder(source.encoding)
    if codec is None:
        raise UnknownEncodingError
    start, stop = source.span
    while start < stop:
        block = await file.read(start, min(start + BLOCK, stop))
        if not block:
            break
        start += len(block)
        yield codec.feed(block)
        await asyncio.sleep(0)
    yield codec.flush()


async def inside(file: MessageFile, measured: Measured) -> AsyncIterator[bytes]:
    """Exactly the octets that were measured."""
    position = 0
    async for block in pieces(file, measured.source):
        first, last = max(measured.start - position, 0), measured.stop - position
        position += len(block)
        if first < last and (piece := block[first:last]):
            yield piece
        if position >= measured.stop:
            return
