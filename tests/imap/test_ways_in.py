"""AUTHENTICATE with each mechanism over the wire, on a real directory (RFC 9051 6.2.2, 4959, 7628, 7677)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import product
from pathlib import Path

from core.address import parse
from directory.types import Actor
from imap.listeners import Mode, Server
from tests.fakes.imap_world import Client, World
from tests.fakes.ways_in import MECHANISMS, OWN, TOKEN, USER, Sasl, Ways, ways_in


@contextlib.asynccontextmanager
async def served(path: Path) -> AsyncIterator[tuple[Ways, int]]:
    async with ways_in(path) as ways:
        world = World(plaintext=False)
        server = Server(replace(world.services, directory=ways.directory))
        sock = World._socket()
        server.serve(sock, Mode.IMPLICIT, lambda: ways.tls.context)
        try:
            yield ways, sock.getsockname()[1]
        finally:
            await server.close(grace=2.0)


@contextlib.asynccontextmanager
async def connected(ways: Ways, port: int, *names: str) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ways.client(*names))
    client = Client(reader, writer)
    client.greeting = await client.line()
    try:
        yield client
    finally:
        await client.close()


async def authenticate(client: Client, sasl: Sasl, *, initial: bool) -> bytes:
    """The tagged answer."""
    first = sasl.line(None) if initial else None
    shown = b"" if first is None else b" " + (first or b"=")
    await client.raw(b"a AUTHENTICATE " + sasl.mechanism.encode() + shown + b"\r\n")
    line = await client.line()
    if first is None and sasl.mechanism != "LOGIN":
        assert line == b"+ "
        await client.raw(sasl.line(None) + b"\r\n")
        line = await client.line()
    while line.startswith(b"+ "):
        await client.raw(sasl.line(line[2:]) + b"\r\n")
        line = await client.line()
    return line


async def test_each_mechanism_with_and_without_initial_response(tmp_path: Path) -> None:
    async with served(tmp_path) as (ways, port):
        for mechanism, initial in product(MECHANISMS, (True, False)):
            password = ways.clear if mechanism.startswith("SCRAM") else OWN
            async with connected(ways, port) as client:
                assert f" AUTH={mechanism}".encode() in client.greeting
                assert b"AUTH=EXTERNAL" not in client.greeting
                wrong = Sasl(mechanism, f"wrong {initial}", "wrong")
                refused = b"a NO [AUTHENTICATIONFAILED] authentication failed"
                assert await authenticate(client, wrong, initial=initial) == refused, mechanism
                said = await authenticate(client, Sasl(mechanism, password), initial=initial)
                assert said.startswith(b"a OK [CAPABILITY "), mechanism
                assert (await client.ok(b"MYRIGHTS INBOX"))[0].startswith(b"* MYRIGHTS INBOX ")


async def test_external_speaks_for_the_certificate(tmp_path: Path) -> None:
    async with served(tmp_path) as (ways, port):
        async with connected(ways, port, USER) as client:
            assert b" AUTH=EXTERNAL" in client.greeting
            assert (await client.ask(b"AUTHENTICATE EXTERNAL ="))[-1].startswith(b"a OK")
        async with connected(ways, port, USER) as client:
            assert (await authenticate(client, Sasl("EXTERNAL", ""), initial=False)).startswith(b"a OK")
        async with connected(ways, port, "eve@autre.test") as client:
            assert (await client.ask(b"AUTHENTICATE EXTERNAL ="))[-1].startswith(b"a NO [AUTHENTICATIONFAILED]")
        async with connected(ways, port) as client:
            assert await client.ask(b"AUTHENTICATE EXTERNAL =") == [
                b"a NO [CANNOT] this authentication mechanism is not offered"
            ]


async def test_h095_each_mechanism_can_be_cancelled(tmp_path: Path) -> None:
    async with served(tmp_path) as (ways, port):
        for mechanism in MECHANISMS:
            async with connected(ways, port) as client:
                await client.raw(b"a AUTHENTICATE " + mechanism.encode() + b"\r\n")
                assert (await client.line()).startswith(b"+ ")
                await client.raw(b"*\r\n")
                assert await client.line() == b"a BAD [AUTHENTICATIONFAILED] authentication cancelled"
                await client.ok(b"NOOP")


async def test_an_app_password_that_is_taken_back_ends_its_sessions(tmp_path: Path) -> None:
    async with served(tmp_path) as (ways, port), connected(ways, port) as client:
        await client.ok(f"LOGIN {USER} {ways.clear}".encode())
        (app,) = await ways.directory.app_passwords(Actor.console(), parse(USER))
        await ways.directory.remove_app_password(Actor.console(), parse(USER), app.id)
        assert (await client.ended()).startswith(b"* BYE [UNAVAILABLE]")


async def test_a_long_token_fits(tmp_path: Path) -> None:
    """Tokens of big providers have some kilobytes: more than a line before login, so they come after the challenge."""
    async with served(tmp_path) as (ways, port), connected(ways, port) as client:
        long = Sasl("OAUTHBEARER", "", TOKEN + "x" * 7000)
        assert await authenticate(client, long, initial=False) == b"a NO [AUTHENTICATIONFAILED] authentication failed"
