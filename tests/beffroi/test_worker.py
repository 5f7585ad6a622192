"""The workers' own care: a scheduler that failed ends its process; the web door closes on whoever brings nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from beffroi.installation import initialise
from beffroi.wiring import open_rooms
from beffroi.worker import delivery, web
from beffroi.worker.bootstrap import Assignment
from beffroi.worker.front import Front
from core.address import parse
from core.config import Config, Delivery, TlsFiles, load
from delivery.queue.rows import NewMessage, NewRecipient
from message.content import BytesContent
from tests.fakes.scripted_smtp import Remote, scripted

PATIENCE = 10.0  # seconds
ASSIGNMENT = Assignment("delivery", 0, Path(), (), 0, 0)


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


async def test_f148_a_reload_neither_waits_for_a_server_nor_cuts_it_off(tmp_path: Path) -> None:
    reached, goes_on = asyncio.Event(), asyncio.Event()

    async def silent(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        await remote.body()
        reached.set()
        await goes_on.wait()
        await remote.say("250 taken")
        await remote.hear(answer="221 bye")

    first = load(await asyncio.to_thread(initialise, tmp_path / "data", "mx.dept.test"))
    async with scripted(silent) as remote:
        config = first.model_copy(update={"delivery": Delivery(routes={"*": f"127.0.0.1:{remote.port}"})})
        runner = await delivery.start(ASSIGNMENT, config)
        queue = runner._rooms.queue
        to = (NewRecipient(parse("a@far.test")),)
        await queue.enqueue(NewMessage("q1", parse("maire@ville.test"), BytesContent(b"Subject: x\r\n\r\n"), to))
        async with asyncio.timeout(30):
            await reached.wait()
            async with asyncio.timeout(10):
                await runner.reload(first)
            [waiting] = await queue.administration.list(None)
            assert (waiting.recipients[0].state, waiting.recipients[0].attempts) == ("active", 0)
            goes_on.set()
            while await queue.administration.list(None):
                await asyncio.sleep(0.01)
            await runner.drain()
            await runner.close()
    assert sum(line.startswith("MAIL") for line in remote.heard) == 1


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


async def test_f166_a_reload_takes_a_certificate_at_another_path_and_keeps_the_last_good(tmp_path: Path) -> None:
    """The paths of the start were read again, whatever the file said by then."""
    path = await asyncio.to_thread(initialise, tmp_path / "data", "mx.dept.test")
    other = await asyncio.to_thread(initialise, tmp_path / "other", "mx.dept.test")
    first = load(path)
    second = first.model_copy(update={"tls": load(other).tls.model_copy(update=_paths(other))})
    absent = first.model_copy(update={"tls": TlsFiles(certificate="absent", key="absent")})
    async with AsyncExitStack() as stack:
        front = Front(first, await stack.enter_async_context(open_rooms(first)), stack)
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        await front.serve((("imaps", sock),))
        port = sock.getsockname()[1]
        assert await shown(port) == certificate(first)
        await front.reload(second)
        assert await shown(port) == certificate(second) != certificate(first)
        with pytest.raises(OSError):
            await front.reload(absent)
        assert await shown(port) == certificate(second)
        await front.close()


async def test_a_reload_brings_the_new_limits_to_those_who_count_connections(tmp_path: Path) -> None:
    path = await asyncio.to_thread(initialise, tmp_path / "data", "mx.dept.test")
    config = load(path)
    exempt = config.limits.model_copy(update={"exempt": ["127.0.0.0/8"], "connections_per_address": 0})
    closed = config.model_copy(update={"limits": config.limits.model_copy(update={"connections_per_address": 0})})
    async with AsyncExitStack() as stack:
        front = Front(config, await stack.enter_async_context(open_rooms(config)), stack)
        for wanted, admitted in ((closed, False), (closed.model_copy(update={"limits": exempt}), True)):
            await front.reload(wanted)
            assert (front._gate.enter("127.0.0.1") is None) is admitted
            assert front._seats.take_address("127.0.0.1") is admitted
        await front.close()


def _paths(config: Path) -> dict[str, str]:
    return {"certificate": str(config.parent / "tls/certificate.pem"), "key": str(config.parent / "tls/key.pem")}


def certificate(config: Config) -> bytes:
    return ssl.PEM_cert_to_DER_cert(config.certificate_file.read_text())


async def shown(port: int) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return found
