"""A remote server that does exactly what a test wrote: one coroutine per connection, in order."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from core.address import parse
from core.envelope import Dsn
from delivery.types import Job, JobRecipient
from message.content import BytesContent

EHLO = "250-remote.test\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 HELP"


class Remote:
    """The remote end of one connection; `heard` are the lines it got."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: list[str]) -> None:
        self.reader, self.writer, self.heard = reader, writer, heard

    async def say(self, text: str) -> None:
        self.writer.write(text.encode() + b"\r\n")
        await self.writer.drain()

    async def hear(self, *, answer: str | None = None) -> str:
        line = (await self.reader.readline()).decode().rstrip("\r\n")
        self.heard.append(line)
        if answer is not None:
            await self.say(answer)
        return line

    async def greet(self, ehlo: str = EHLO, banner: str = "220 remote.test ESMTP") -> None:
        await self.say(banner)
        await self.hear(answer=ehlo)

    async def body(self) -> bytes:
        """Up to the final dot, as on the wire."""
        return await self.reader.readuntil(b"\r\n.\r\n")

    async def start_tls(self, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        transport = await loop.start_tls(
            self.writer.transport, self.writer.transport.get_protocol(), context, server_side=True
        )
        assert transport is not None
        vars(self.writer)["_transport"] = transport
        vars(self.reader)["_transport"] = transport


Script = Callable[[Remote], Awaitable[None]]


class Scripted:
    def __init__(self) -> None:
        self.port = 0
        self.heard: list[str] = []
        self.connections = 0
        self.faults: list[BaseException] = []


@contextlib.asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[Scripted]:
    """The n-th connection runs the n-th script (the last one for all further)."""
    state = Scripted()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = scripts[min(state.connections, len(scripts) - 1)]
        state.connections += 1
        try:
            await script(Remote(reader, writer, state.heard))
        except (OSError, asyncio.IncompleteReadError):
            pass
        except AssertionError as error:
            state.faults.append(error)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        await server.wait_closed()
        assert not state.faults


def job(
    next_hop: str,
    *recipients: str,
    content: bytes = b"Subject: x\r\n\r\nbody\r\n",
    static: bool = True,
    sender: str | None = "maire@mairie.test",
    dsn: Sequence[Dsn] = (),
    **more: Any,
) -> Job:
    """Recipient ids count from 1."""
    people = recipients or ("a@remote.test",)
    return Job(
        queue_id="q1",
        sender=parse(sender) if sender else None,
        recipients=tuple(
            JobRecipient(number, parse(address), dsn[number - 1] if dsn else Dsn())
            for number, address in enumerate(people, 1)
        ),
        content=BytesContent(content),
        next_hop=next_hop,
        static=static,
        **more,
    )
