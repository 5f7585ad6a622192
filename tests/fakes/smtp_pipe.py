"""An SMTP session of the server over a connection in memory: octets in, octets out, no socket and no waiting."""

from __future__ import annotations

import asyncio
from typing import cast

from core.waiting import Bounds
from smtp.conversation import Service
from smtp.listeners import LINGER, Server
from smtp.protocol import SmtpProtocol

TURNS = 25  # of the loop after each segment: nothing here waits for anything but the next one


class Pipe(asyncio.Transport):
    """A transport that keeps what is said and never blocks."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 4)})
        self.said = bytearray()
        self.over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said += data

    def close(self) -> None:
        self.over = True

    abort = close

    def is_closing(self) -> bool:
        return self.over

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    resume_reading = pause_reading


class Owner:
    def __init__(self) -> None:
        self.lingering = Bounds(LINGER)

    def add(self, session: object) -> None: ...

    discard = add


class MemorySession:
    """`say` feeds a segment and returns what the server said to it."""

    def __init__(self, what: Service, protocol: type[SmtpProtocol] = SmtpProtocol) -> None:
        self.pipe = Pipe()
        loop = asyncio.get_running_loop()
        self._protocol = protocol(what, cast(Server, Owner()), loop, counted=("127.0.0.1", 4))
        self._protocol.connection_made(self.pipe)

    @property
    def over(self) -> bool:
        return self.pipe.over

    async def say(self, segment: bytes) -> bytes:
        before = len(self.pipe.said)
        if segment and not self.pipe.over:
            self._protocol.data_received(segment)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        return bytes(self.pipe.said[before:])

    async def leave(self) -> None:
        """The peer goes away; returns when the session has ended."""
        task = self._protocol.task
        self._protocol.connection_lost(None)
        if task is not None:
            async with asyncio.timeout(5):
                await task
