"""A bad road between two mail servers, as TCP shows packet loss, delay, reordering and narrow links to its ends: octets
come late and unevenly, in small pieces, stand still for a while, and some connections are reset in the middle.

Without TLS, or the final dot is not seen. What a reset may double is counted: messages whose dot reached the receiver
and whose answer did not come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

DOT = b"\r\n.\r\n"
SOON = 1000  # octets: before the first message is through
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: the end is an RST


@dataclass
class Roughness:
    """Seconds and octets. `stall_each`: every so many pieces. `reset_share`: of connections, each after 1 to
    `reset_within` octets of both directions; before that all are reset soon, until `resets_first` were."""

    pause: float = 0.002  # the mean before each piece
    piece: int = 600  # the longest
    stall: float = 0.7
    stall_each: int = 100
    reset_share: float = 0.6
    reset_within: int = 30_000
    resets_first: int = 3


@dataclass
class Road:
    """`resets`: connections that were cut; `unanswered`: those of them that had a message under way whose dot was
    delivered and whose answer was not; `pieces`: how many went through, `stalls`: of them late."""

    target: tuple[str, int]
    roughness: Roughness
    chance: random.Random
    port: int = 0
    connections: int = 0
    resets: int = 0
    unanswered: int = 0
    pieces: int = 0
    stalls: int = 0
    smooth: bool = False  # from now on nothing is reset any more
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            there, back = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        passage = _Passage(self, self._fate())
        self._writers |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(passage.pump(reader, back, sending=True))
                group.create_task(passage.pump(there, writer, sending=False))
        except* (_Cut, OSError):
            passage.cut((writer, back))
        finally:
            self._writers -= {writer, back}
            for end in (writer, back):
                end.close()

    def _fate(self) -> int:
        """After how many octets the connection is reset; 0: it is not."""
        if self.resets < self.roughness.resets_first:
            return self.chance.randint(1, SOON)
        doomed = not self.smooth and self.chance.random() < self.roughness.reset_share
        return self.chance.randint(1, self.roughness.reset_within) if doomed else 0


class _Cut(Exception):
    pass


@dataclass
class _Passage:
    road: Road
    fate: int
    carried: int = 0
    tail: bytes = b""
    waiting: bool = False  # a dot was delivered and its answer was not yet

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, sending: bool) -> None:
        while data := await reader.read(4096):
            while data:
                size = self.road.chance.randint(1, self.road.roughness.piece)
                await self._late()
                await self._pass(data[:size], writer, sending=sending)
                data = data[size:]
        writer.write_eof()

    async def _late(self) -> None:
        road = self.road
        road.pieces += 1
        pause = road.chance.expovariate(1 / road.roughness.pause)
        if road.pieces % road.roughness.stall_each == 0:
            road.stalls += 1
            pause += road.roughness.stall
        await asyncio.sleep(pause)

    async def _pass(self, piece: bytes, writer: asyncio.StreamWriter, *, sending: bool) -> None:
        if self.fate and self.carried + len(piece) >= self.fate:
            self._deliver(piece[: max(0, self.fate - self.carried)], writer, sending=sending)
            raise _Cut
        self.carried += len(piece)
        self._deliver(piece, writer, sending=sending)
        await writer.drain()

    def _deliver(self, piece: bytes, writer: asyncio.StreamWriter, *, sending: bool) -> None:
        writer.write(piece)
        if sending:
            seen = self.tail + piece
            self.tail = seen[-len(DOT) + 1 :]
            self.waiting = self.waiting or DOT in seen
        elif b"\n" in piece:
            self.waiting = False

    def cut(self, writers: tuple[asyncio.StreamWriter, ...]) -> None:
        self.road.resets += 1
        self.road.unanswered += self.waiting
        for writer in writers:
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


@contextlib.contextmanager
def road(target: tuple[str, int], seed: int, roughness: Roughness | None = None) -> Iterator[Road]:
    """Leads from `port` on loopback to `target`."""
    state = Road(target, roughness or Roughness(), random.Random(seed))
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        server = await asyncio.start_server(state.carry, "127.0.0.1", 0)
        state.port = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    def run() -> None:
        asyncio.set_event_loop(loop)
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(serving)
        for task in (left := asyncio.all_tasks(loop)):
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()

    serving = loop.create_task(serve())
    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(10)
    try:
        yield state
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join(10)
