"""Load over the wire, the same for both sides: an SMTP sender with many connections, an idler."""

from __future__ import annotations

import asyncio
import ssl
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import uvloop


@dataclass(frozen=True)
class Sent:
    """`seconds` from the first connection to the last 250; `latencies` of the final reply, in seconds."""

    messages: int
    seconds: float
    latencies: tuple[float, ...]

    @property
    def p99(self) -> float:
        return sorted(self.latencies)[int(len(self.latencies) * 0.99)]


def message(size: int, sender: str, recipient: str, number: int) -> bytes:
    head = (
        f"From: {sender}\r\nTo: {recipient}\r\nSubject: message {number}\r\n"
        f"Date: Sun, 22 Nov 2026 10:00:00 +0100\r\nMessage-ID: <{number}.{time.time_ns()}@bench>\r\n\r\n"
    ).encode()
    line = b"Les mots du conseil municipal, ligne apres ligne, jusqu'a la fin du registre.\r\n"
    return (head + line * ((size - len(head)) // len(line) + 1))[: size - 2].rstrip(b"\r\n") + b"\r\n"


async def _reply(reader: asyncio.StreamReader) -> bytes:
    while True:
        line = await asyncio.wait_for(reader.readline(), 120)
        if line[3:4] != b"-":
            return line


async def transaction(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sender: str, recipient: str, data: bytes
) -> float:
    """One message in a session that has greeted; seconds from the final dot to its 250."""
    writer.write(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode())
    for wanted in (b"250", b"250", b"354"):
        line = await _reply(reader)
        if not line.startswith(wanted):
            raise AssertionError(line)
    start = time.perf_counter()
    writer.write(data + b".\r\n")
    await writer.drain()
    line = await _reply(reader)
    if not line.startswith(b"250"):
        raise AssertionError(line)
    return time.perf_counter() - start


Job = tuple[bytes, bytes]  # MAIL, RCPT and DATA in one write; the message with its final dot


def jobs(sender: str, recipients: Sequence[str], size: int, count: int) -> list[Job]:
    """`count` messages of `size` octets, all made before anybody's clock runs."""
    made = []
    for number in range(count):
        recipient = recipients[number % len(recipients)]
        envelope = f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode()
        made.append((envelope, message(size, sender, recipient, number) + b".\r\n"))
    return made


def _dialogue(batch: Sequence[Job], latencies: list[float]) -> Iterator[tuple[bytes, int]]:
    """What one session writes, and how many replies it then waits for."""
    yield b"", 1
    yield b"EHLO mx.partner.test\r\n", 1
    for envelope, data in batch:
        yield envelope, 3
        start = time.perf_counter()
        yield data, 1
        latencies.append(time.perf_counter() - start)
    yield b"QUIT\r\n", 1


class _Sender(asyncio.Protocol):
    """One session. A protocol and no streams: it shares the machine's cores with who is measured, and with streams and
    coroutines it took a millisecond of CPU for each message, a third of what the server took."""

    def __init__(self, dialogue: Iterator[tuple[bytes, int]], over: asyncio.Future[None]) -> None:
        self._dialogue, self._over = dialogue, over
        self._rest = b""
        self._awaited = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio's
        self._go_on()

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for line in lines:
            if line[3:4] == b"-":
                continue
            if line[:1] not in b"23":
                self._end(AssertionError(line))
                return
            self._awaited -= 1
            if not self._awaited and not self._go_on():
                return

    def connection_lost(self, exception: Exception | None) -> None:
        self._end(AssertionError(f"cut off: {exception}"))

    def _go_on(self) -> bool:
        """False when nothing is left to say."""
        step = next(self._dialogue, None)
        if step is None:
            self._end(None)
            return False
        octets, self._awaited = step
        if octets:
            self._transport.write(octets)
        return True

    def _end(self, fault: AssertionError | None) -> None:
        self._transport.close()
        if self._over.done():
            return
        if fault is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(fault)


async def _send(port: int, work: Sequence[Job], connections: int, per_connection: int) -> Sent:
    loop = asyncio.get_running_loop()
    batches = [work[i : i + per_connection] for i in range(0, len(work), per_connection)]
    latencies: list[float] = []

    async def worker() -> None:
        while batches:
            over: asyncio.Future[None] = loop.create_future()
            dialogue = _dialogue(batches.pop(), latencies)
            await loop.create_connection(partial(_Sender, dialogue, over), "127.0.0.1", port)
            await asyncio.wait_for(over, 120)

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(connections)))
    return Sent(len(work), time.perf_counter() - start, tuple(latencies))


def send(port: int, work: Sequence[Job], *, connections: int, per_connection: int = 1) -> Sent:
    """All of `work` over `connections` parallel connections, `per_connection` messages in each."""
    return uvloop.run(_send(port, work, connections, per_connection))


class Idlers:
    """Many TLS connections that log in, SELECT and stay idle; used inside one running loop."""

    def __init__(self) -> None:
        self._writers: list[asyncio.StreamWriter] = []
        self._readers: dict[str, asyncio.StreamReader] = {}

    async def open(
        self,
        port: int,
        users: Sequence[str],
        password: str,
        *,
        idle: bool = True,
        parallel: int = 20,
        compressed: bool = False,
    ) -> None:
        context = ssl._create_unverified_context()
        gate = asyncio.Semaphore(parallel)

        async def one(user: str) -> None:
            async with gate:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=16384)
                await reader.readline()
                writer.write(f'a LOGIN "{user}" "{password}"\r\nb SELECT INBOX\r\n'.encode())
                while not (line := await asyncio.wait_for(reader.readline(), 120)).startswith(b"b "):
                    if line.startswith((b"a NO", b"a BAD", b"* BYE")) or not line:
                        raise AssertionError(f"{user}: {line!r}")
                command = b"c IDLE\r\n"
                if compressed:
                    writer.write(b"d COMPRESS DEFLATE\r\n")
                    if not (line := await asyncio.wait_for(reader.readline(), 60)).startswith(b"d OK"):
                        raise AssertionError(line)
                    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
                    command = stream.compress(command) + stream.flush(zlib.Z_SYNC_FLUSH)
                if idle:
                    writer.write(command)
                    await asyncio.wait_for(reader.read(1000), 60)
                self._writers.append(writer)
                self._readers[user] = reader

        await asyncio.gather(*(one(user) for user in users))

    async def wait_for(self, user: str, word: bytes) -> float:
        """The `perf_counter` at which a line with `word` came to the last connection of `user`."""
        while word not in (line := await self._readers[user].readline()):
            if not line:
                raise AssertionError(f"{user}: the connection ended")
        return time.perf_counter()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()
