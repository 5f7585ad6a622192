"""TLS at the doors of IMAP, with the contexts that the suite itself makes (security.md section 3.2)."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme
import uvloop

from core.config import Limits
from core.tls import ServerTls
from imap.listeners import Mode, Server
from tests.fakes.imap_world import PATIENCE, Client, World, client_context

AUTHORITY = trustme.CA()
ISSUED = AUTHORITY.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)  # without forward secrecy there is RSA only


def contexts(tls: ServerTls) -> Callable[[], ssl.SSLContext]:
    return lambda: tls.context


@contextlib.asynccontextmanager
async def doors(path: Path, count: int = 1, *, limits: Limits | None = None) -> AsyncIterator[list[tuple[int, int]]]:
    """For each of `count` servers the ports with STARTTLS and with TLS from the first octet."""
    chain, key = path / "chain.pem", path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in ISSUED.cert_chain_pems))
    key.write_bytes(ISSUED.private_key_pem.bytes())
    world = World(plaintext=False, limits=limits)
    servers, ports = [], []
    for _ in range(count):
        server, tls = Server(world.services), ServerTls(chain, key, alpn="imap")
        pair = World._socket(), World._socket()
        for sock, mode in zip(pair, (Mode.STARTTLS, Mode.IMPLICIT), strict=True):
            server.serve(sock, mode, contexts(tls))
        servers.append(server)
        ports.append((pair[0].getsockname()[1], pair[1].getsockname()[1]))
    try:
        yield ports
    finally:
        for server in servers:
            await server.close(grace=2.0)


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


async def connected(port: int, context: ssl.SSLContext | None = None, name: str | None = None) -> Client:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    client = Client(reader, writer)
    client.greeting = await client.line()
    return client


async def test_h023_starttls_a_second_time_or_inside_tls_is_bad(tmp_path: Path) -> None:
    async with doors(tmp_path) as ((clear, implicit),):
        client = await connected(clear)
        assert (await client.ask(b"STARTTLS now"))[-1].startswith(b"a BAD")
        await client.ok(b"STARTTLS")
        await client.writer.start_tls(trusting(), server_hostname="127.0.0.1")
        inside = await connected(implicit, trusting())
        for one in (client, inside):
            assert b"STARTTLS" not in (await one.ok(b"CAPABILITY"))[0]
            assert (await one.ask(b"STARTTLS"))[-1] == b"a BAD [CLIENTBUG] TLS is already on or not available"
            await one.ok(b"NOOP")
            await one.close()


async def test_h029_old_protocols_and_weak_ciphers_are_refused(tmp_path: Path) -> None:
    def old(context: ssl.SSLContext) -> None:
        with warnings.catch_warnings(action="ignore"):  # deprecated, which is the point
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")

    def weak(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-GCM-SHA256:AES256-SHA:@SECLEVEL=0")  # no forward secrecy

    def handshake(port: int, context: ssl.SSLContext, before: bytes) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            if before:
                raw.recv(4000)
                raw.sendall(before)
                assert raw.recv(4000).startswith(b"a OK")
            with context.wrap_socket(raw, server_hostname="127.0.0.1"):
                pass

    async with doors(tmp_path) as ((clear, implicit),):
        for port, before in ((clear, b"a STARTTLS\r\n"), (implicit, b"")):
            await asyncio.to_thread(handshake, port, trusting(), before)
            for change in (old, weak):
                context = trusting()
                change(context)
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await asyncio.to_thread(handshake, port, context, before)


async def test_h032_a_ticket_is_worth_something_where_it_was_given_only(tmp_path: Path) -> None:
    """TLS 1.2 sessions can be offered again by hand."""
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def visit(port: int, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as sock,
        ):
            sock.recv(1000)
            return sock.session, bool(sock.session_reused)

    async with doors(tmp_path, 2) as ((_, one), (_, two)):
        ticket, _ = await asyncio.to_thread(visit, one, None)
        assert (await asyncio.to_thread(visit, one, ticket))[1] is True
        assert (await asyncio.to_thread(visit, two, ticket))[1] is False


async def test_h031_a_stalled_handshake_ends_on_both_doors(tmp_path: Path) -> None:
    async with doors(tmp_path, limits=Limits(tls_handshake=0.2)) as ((clear, implicit),):
        reader, writer = await asyncio.open_connection("127.0.0.1", implicit)
        writer.write(b"\x16\x03")
        client = await connected(clear)
        await client.ok(b"STARTTLS")
        await client.raw(b"\x16\x03")
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                assert b"OK" not in await reader.read()
            with contextlib.suppress(ConnectionResetError):
                assert b"OK" not in await client.reader.read()
        writer.close()
        await client.close()


async def test_h033_who_offers_imap_hears_it_agreed_and_other_protocols_are_not(tmp_path: Path) -> None:
    """RFC 7301; OpenSSL goes on when nothing is agreed, and three lines that are no commands end that."""
    async with doors(tmp_path) as ((clear, implicit),):
        for offered, agreed in ((["imap"], "imap"), (["h2", "imap"], "imap"), (["http/1.1"], None), ([], None)):
            context = trusting()
            if offered:
                context.set_alpn_protocols(offered)
            client = await connected(implicit, context)
            assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == agreed
            await client.close()
        context = trusting()
        context.set_alpn_protocols(["imap"])
        client = await connected(clear)
        await client.ok(b"STARTTLS")
        await client.writer.start_tls(context, server_hostname="127.0.0.1")
        assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "imap"
        await client.close()


async def test_h034_a_flood_of_server_names_leaves_nothing_behind(tmp_path: Path) -> None:
    """Whatever name is asked for, the one certificate answers."""
    context = trusting()
    context.check_hostname = False
    seen = set()
    async with doors(tmp_path) as ((_, implicit),):
        for number in range(20):
            client = await connected(implicit, context, f"x{number}.{'y' * 50}.test")
            assert client.greeting.startswith(b"* OK")
            seen.add(client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
            await client.close()
    assert len(seen) == 1


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("starttls", [False, True])
def test_a_connection_that_idles_keeps_no_buffer_for_its_input(
    loop: Callable[[], asyncio.AbstractEventLoop], starttls: bool
) -> None:
    """256 KiB under both loops, as far as they were ever written to; what comes after DONE finds it again."""

    async def live() -> None:
        async with World() as world:
            client = await world.connect(tls=not starttls)
            if starttls:
                await client.ok(b"STARTTLS")
                await client.writer.start_tls(client_context())
            await client.login()
            await client.append(b"INBOX", b"Subject: x\r\n\r\n" + b"y" * 200_000)
            (connection,) = world.server._connections
            between = connection._channel._encrypted
            assert between is not None
            assert bytes(between.get_buffer(1)).count(0) < 200_000
            await client.raw(b"a IDLE\r\n")
            assert await client.line() == b"+ idling"
            async with asyncio.timeout(PATIENCE):
                while connection._channel._stained:
                    await asyncio.sleep(0)
            assert bytes(between.get_buffer(1)).count(0) > 2**18 - 2 * mmap.PAGESIZE
            await client.raw(b"DONE\r\n")
            assert (await client.until(b"a"))[-1].startswith(b"a OK")
            assert (await client.append(b"INBOX", b"Subject: x\r\n\r\n" + b"z" * 200_000))[-1].startswith(b"a OK")

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(live())
