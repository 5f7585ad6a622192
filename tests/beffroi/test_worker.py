"""The workers' own care: a scheduler that failed ends its process; the web door closes on whoever brings nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from beffroi.worker import delivery, web

PATIENCE = 10.0  # seconds


async def test_p6_a_scheduler_that_failed_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: killed.append(arguments))

    async def run(error: BaseException | None) -> None:
        if error is not None:
            raise error

    for error, ends in ((None, False), (asyncio.CancelledError(), False), (RuntimeError("bug"), True)):
        killed.clear()
        task = asyncio.create_task(run(error))
        task.add_done_callback(delivery._end_with)
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert killed == ([(os.getpid(), signal.SIGTERM)] if ends else [])


@asynccontextmanager
async def door(seconds: float) -> AsyncIterator[int]:
    """A web server whose requests take `seconds`; its port."""

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await asyncio.sleep(seconds)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        settings = uvicorn.Config(application, http=web.Patient, log_config=None, lifespan="off")
        server = web._Server(settings)
        task = asyncio.create_task(server.serve(sockets=[sock]))
        async with asyncio.timeout(PATIENCE):
            while not server.started:
                await asyncio.sleep(0.01)
        yield sock.getsockname()[1]
        server.should_exit = True
        async with asyncio.timeout(PATIENCE):
            await task


REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\n", REQUEST + b"GET / HTTP/1.1\r\n"])
async def test_h036_a_connection_that_brings_no_whole_request_is_closed(
    beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "LOOK", 0.2)
    async with door(0.0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(beginning)
        async with asyncio.timeout(PATIENCE):
            while not reader.at_eof():
                writer.write(b"X: y\r\n" if beginning else b"")
                try:
                    await asyncio.wait_for(reader.read(1000), 0.05)
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
        writer.close()


async def test_h036_a_long_answer_and_the_next_request_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "LOOK", 0.2)
    async with door(0.9) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(PATIENCE):
            for _ in range(2):
                writer.write(REQUEST)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                assert await reader.readexactly(2) == b"ok"
        writer.close()
