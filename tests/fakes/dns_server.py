"""A DNS server on loopback that says what a test wants: wire in, wire out, UDP and TCP on one free port."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import cast

import dns.message
import dns.rcode
import dns.rrset

Answerer = Callable[[dns.message.Message, bool], dns.message.Message | bytes | None]


def answering(
    *rrsets: str, flags: int = 0, rcode: dns.rcode.Rcode = dns.rcode.NOERROR
) -> Callable[[dns.message.Message, bool], dns.message.Message]:
    """Answers every question with these records, each "name ttl type data"."""

    def answer(question: dns.message.Message, _tcp: bool) -> dns.message.Message:
        response = dns.message.make_response(question, recursion_available=True)
        response.set_rcode(rcode)
        response.flags |= flags
        for line in rrsets:
            name, ttl, kind, data = line.split(" ", 3)
            response.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, data))
        return response

    return answer


class DnsServer(asyncio.DatagramProtocol):
    """`questions` is (name, type, over TCP) of everything asked. Use as an asynchronous context manager."""

    def __init__(self, answer: Answerer) -> None:
        self.answer = answer
        self.questions: list[tuple[str, str, bool]] = []

    async def __aenter__(self) -> DnsServer:
        self._server = await asyncio.start_server(self._stream, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", self.port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()
        self._server.close()
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        wire = self._reply(data, False)
        if wire is not None:
            self._transport.sendto(wire, peer)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        wire = self._reply(await reader.readexactly(length), True)
        if wire is not None:
            writer.write(struct.pack("!H", len(wire)) + wire)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    def _reply(self, data: bytes, tcp: bool) -> bytes | None:
        question = dns.message.from_wire(data)
        asked = question.question[0]
        self.questions.append((asked.name.to_text(True), asked.rdtype.name, tcp))
        reply = self.answer(question, tcp)
        return reply.to_wire() if isinstance(reply, dns.message.Message) else reply
