"""Who is behind a listed balancer is the peer; anybody else who says so is not believed (security.md row 19)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_network

from core.config import Limits
from tests.fakes.imap_world import World

HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 143\r\n"


async def lines(port: int, header: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(header)
    try:
        async with asyncio.timeout(20):
            return await reader.readline()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_the_client_behind_a_balancer_is_counted() -> None:
    async with World(limits=Limits(connections_per_address=1)) as world:
        world.server.use(replace(world.services, proxy_from=(ip_network("127.0.0.0/8"),)))
        reader, writer = await asyncio.open_connection("127.0.0.1", world.plain_port)
        writer.write(HEADER)
        assert (await reader.readline()).startswith(b"* OK")
        assert (await lines(world.plain_port, HEADER)).startswith(b"* BYE [LIMIT]")
        assert (await lines(world.plain_port, HEADER.replace(b"2.7", b"2.8"))).startswith(b"* OK")
        writer.close()


async def test_h019_a_balancer_without_its_header_is_cut_and_a_stranger_with_one_is_no_balancer() -> None:
    async with World() as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.plain_port)
        writer.write(HEADER)
        assert (await reader.readline()).startswith(b"* OK")
        assert b" BAD " in await reader.readline()
        writer.close()
        world.server.use(replace(world.services, proxy_from=(ip_network("127.0.0.0/8"),)))
        assert await lines(world.plain_port, b"a LOGIN b c and so on\r\n") == b""
