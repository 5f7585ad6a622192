"""HTTPS to strangers: the address looked at, the certificate of the name, nothing followed, everything bounded."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trustme

from core.https import Https, HttpsFailed
from tests.fakes.resolver import FakeResolver

NAME = "mta-sts.r.test"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@contextlib.asynccontextmanager
async def web(
    authority: trustme.CA, answer: bytes, *, name: str = NAME, allowed: Callable[[str], bool] = lambda address: True,
    addresses: tuple[str, ...] = ("127.0.0.1",), timeout: float = 20.0, stall: bool = False,
) -> AsyncIterator[tuple[Https, int, list[bytes]]]:  # fmt: skip
    heard: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0
            )
            heard.append(head + await reader.readexactly(length))
            if stall:
                await reader.read()
            writer.write(answer)
            await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    https = Https(FakeResolver({NAME: {"A": list(addresses)}}), trusted, allowed, timeout=timeout)
    try:
        yield https, server.sockets[0].getsockname()[1], heard
    finally:
        await https.close()
        server.close()
        await server.wait_closed()


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nhello"


async def test_a_page_is_fetched_by_name(authority: trustme.CA) -> None:
    async with web(authority, OK) as (https, port, heard):
        reply = await https.get(f"https://{NAME}:{port}/.well-known/x?y", most=100)
    assert (reply.status, reply.media, reply.body) == (200, "text/plain", b"hello")
    head = heard[0].decode().lower()
    assert head.startswith("get /.well-known/x?y http/1.1\r\n")
    assert f"host: {NAME}:{port}\r\n" in head


async def test_octets_are_posted(authority: trustme.CA) -> None:
    async with web(authority, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n") as (https, port, heard):
        reply = await https.post(f"https://{NAME}:{port}/tls", b"data", "application/tlsrpt+gzip")
    assert reply.status == 201
    assert heard[0].endswith(b"\r\n\r\ndata")
    assert b"application/tlsrpt+gzip" in heard[0]


async def test_a_redirection_is_an_answer_not_a_way(authority: trustme.CA) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: https://mta-sts.r.test/else\r\nContent-Length: 0\r\n\r\n"
    async with web(authority, answer) as (https, port, heard):
        assert (await https.get(f"https://{NAME}:{port}/", most=10)).status == 302
    assert len(heard) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"name": "else.test"}, "certificate"),
        ({"allowed": lambda address: False}, "dns"),
        ({"addresses": ()}, "dns"),
        ({"stall": True, "timeout": 0.3}, "timeout"),
        ({"answer": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b"x" * 500}, "too-long"),
        ({"answer": b"no http at all\r\n\r\n"}, "protocol"),
    ],
    ids=["certificate", "private", "no-address", "stall", "long", "garbage"],
)
async def test_h127_failures_have_names(authority: trustme.CA, options: dict[str, Any], reason: str) -> None:
    answer = options.pop("answer", OK) if "answer" in options else OK
    async with web(authority, answer, **options) as (https, port, _):
        with pytest.raises(HttpsFailed) as failed:
            await https.get(f"https://{NAME}:{port}/", most=100)
    assert failed.value.reason == reason


@pytest.mark.parametrize(
    "url", ["http://r.test/", "https://", "https://a:b@r.test/", "https://r.test/é", "https://[::1"]
)
async def test_h127_what_is_no_https_address(authority: trustme.CA, url: str) -> None:
    async with web(authority, OK) as (https, _, _):
        with pytest.raises(HttpsFailed) as failed:
            await https.get(url, most=100)
    assert failed.value.reason == "bad-url"
