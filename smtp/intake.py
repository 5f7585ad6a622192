"""One message to its final dot or last chunk: blocks from the peer through the decoder into delivery's `Reception`.

Back-pressure is the await on `feed`: nothing here holds more than a block. A message that must be refused is read to
its true end all the same, so that session and peer stay in step (security.md rows 1-7, 20, 40).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from core.clock import Clock
from core.status import Status, refused
from delivery.types import Reception
from smtp.data import ChunkDecoder, DataDecoder
from smtp.guards import RateMeter
from smtp.stream import PeerReader

BLOCK = 256 * 1024  # octets looked at in one go: the most that may keep the interpreter (design.md 6)
DISCARD = 4  # a message that grows past so many times the limit is not even read to its end

TOO_BIG = refused("Message is larger than this server accepts", "too-big", "5.3.4", 552)


class TooSlow(Exception):
    """The peer feeds us by the drop."""


class FarTooBig(Exception):
    """The peer goes on and on beyond the limit."""


class Decoder(Protocol):
    @property
    def size(self) -> int: ...

    @property
    def fault(self) -> Status | None: ...

    def feed(self, data: bytes) -> bytes: ...


D = TypeVar("D", bound=Decoder)


@dataclass(slots=True)
class Intake(Generic[D]):
    """`wait` is called before each wait for the peer (it sets the stall deadline), `rest` after it."""

    reader: PeerReader
    reception: Reception
    decoder: D
    meter: RateMeter
    clock: Clock
    size_limit: int
    wait: Callable[[], None]
    rest: Callable[[], None]
    begun: bool = False  # something of the message is here

    async def run(self: Intake[DataDecoder]) -> Status | None:
        """Until the final dot; None when delivery may finish, else why the message is refused. Raises `Hangup`,
        `TooSlow`, `FarTooBig`; whoever calls then aborts the reception."""
        while not self.decoder.done:
            block = self.decoder.feed(await self._next())
            if block and self._refusal() is None:
                await self.reception.feed(block)
            del block  # a peer that stands still keeps none of it in memory
        self.reader.unread(self.decoder.rest)
        return self._refusal()

    async def chunk(self: Intake[ChunkDecoder], size: int, *, last: bool) -> Status | None:
        """The octets of one BDAT, all of them (RFC 3030 2); as `run`."""
        while size:
            data = await self._next(min(size, BLOCK))
            size -= len(data)
            block = self.decoder.feed(data)
            if block and self._refusal() is None:
                await self.reception.feed(block)
            del block, data
        if last:
            self.decoder.end()
        return self._refusal()

    async def _next(self, size: int = BLOCK) -> bytes:
        self.wait()
        if self.begun:
            self.reader.acknowledge()
        begin = self.clock.monotonic()
        data = await self.reader.block(size)
        self.begun = True
        self.rest()
        self.meter.add(self.clock.monotonic() - begin, len(data))
        if self.meter.too_slow:
            raise TooSlow
        if self.decoder.size > DISCARD * self.size_limit:
            raise FarTooBig
        return data

    def _refusal(self) -> Status | None:
        if self.decoder.size > self.size_limit:
            return TOO_BIG
        return self.decoder.fault
