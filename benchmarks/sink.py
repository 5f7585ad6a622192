"""A server that takes every message and keeps none, in a process of its own: prints its port, then answers each line on
standard input with how many messages it has taken."""

from __future__ import annotations

import asyncio
import sys

import uvloop

REPLIES = {
    b"EHLO": b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 SIZE 100000000\r\n",
    b"HELO": b"250 sink.test\r\n",
    b"DATA": b"354 go\r\n",
    b"QUIT": b"221 bye\r\n",
}


class Sink:
    def __init__(self) -> None:
        self.taken = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink.test ESMTP\r\n")
        try:
            while line := await reader.readline():
                verb = line[:4].upper()
                writer.write(REPLIES.get(verb, b"250 ok\r\n"))
                if verb == b"DATA":
                    await reader.readuntil(b"\r\n.\r\n")
                    self.taken += 1
                    writer.write(b"250 2.0.0 taken\r\n")
                if verb == b"QUIT":
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()


async def main() -> None:
    sink = Sink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, limit=1 << 20, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(sink.taken, flush=True)


if __name__ == "__main__":
    uvloop.run(main())
