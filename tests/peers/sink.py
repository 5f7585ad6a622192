"""A remote server that keeps what it gets, and is difficult where a recipient's name asks for it.

`nobody-…`: unknown, for good. `later-…`: refused for now the first time. `cut-…`: the first message is taken and the
connection ends without an answer. Everybody else is taken. One thread, one loop; captures are read by the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

EHLO = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 100000000\r\n"
_PATH = re.compile(rb"(?:FROM|TO):<([^>]*)>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Capture:
    """One message that was taken whole. `at`: monotonic seconds; `answered`: whether the sender was told."""

    at: float
    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    answered: bool


@dataclass
class Sink:
    """`captures` in the order they came; `closed`: no connection is served while it is set."""

    port: int = 0
    captures: list[Capture] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)
    _seen: set[str] = field(default_factory=set)

    def first_time(self, recipient: str) -> bool:
        new = recipient not in self._seen
        self._seen.add(recipient)
        return new

    def rcpt(self, recipient: str) -> bytes:
        if recipient.startswith("nobody-"):
            return b"550 5.1.1 nobody of that name\r\n"
        if recipient.startswith("later-") and self.first_time(recipient):
            return b"450 4.2.0 come back later\r\n"
        return b"250 2.1.5 ok\r\n"

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.closed.is_set():
            writer.close()
            return
        writer.write(b"220 sink.test ESMTP\r\n")
        sender, people = "", list[str]()
        while line := await reader.readline():
            verb = line[:4].upper()
            found = _PATH.search(line)
            path = found[1].decode() if found else ""
            if verb == b"EHLO":
                writer.write(EHLO)
            elif verb == b"MAIL":
                sender, people = path, []
                writer.write(b"250 2.1.0 ok\r\n")
            elif verb == b"RCPT":
                answer = self.rcpt(path)
                writer.write(answer)
                people += [path] if answer.startswith(b"250") else []
            elif verb == b"DATA" and people:
                writer.write(b"354 go\r\n")
                raw = await reader.readuntil(b"\r\n.\r\n")
                raw = re.sub(rb"(?m)^\.", b"", raw[:-3])
                told = not any(name.startswith("cut-") and self.first_time(name) for name in people)
                self.captures.append(Capture(time.monotonic(), sender, tuple(people), raw, told))
                if not told:
                    return
                writer.write(b"250 2.0.0 taken\r\n")
            elif verb == b"DATA":
                writer.write(b"503 5.5.1 no recipients\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 bye\r\n")
                return
            else:
                writer.write(b"250 2.0.0 ok\r\n")
            await writer.drain()


@contextlib.contextmanager
def sink() -> Iterator[Sink]:
    state, ready, loop = Sink(), threading.Event(), asyncio.new_event_loop()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await state.session(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the sender was killed
        finally:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 26)
        state.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stopping.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    stopping = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield state
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()
