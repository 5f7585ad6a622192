"""How IMAP sessions end: accounts that are suspended, peers that stall or leave, a server that stops."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import time

import pytest

from core.config import Limits
from imap import channel, listeners
from imap.listeners import Mode
from tests.fakes.imap_world import World, client_context


async def test_h117_sessions_of_a_suspended_account_end_within_five_seconds() -> None:
    async with World() as world:
        world.directory.add("bob")
        idle, waiting, other = await world.login(), await world.login(), await world.login("bob")
        await idle.ok(b"SELECT INBOX")
        await idle.raw(b"a IDLE\r\n")
        await idle.line()
        world.directory.suspend(world.alice)
        async with asyncio.timeout(5):
            assert (await idle.ended()).startswith(b"* BYE")
            assert (await waiting.ended()).startswith(b"* BYE")
        await other.ok(b"NOOP")


async def test_h117_sessions_of_a_changed_password_end_within_five_seconds() -> None:
    async with World() as world:
        world.directory.add("bob")
        before, other = await world.login(), await world.login("bob")
        world.directory.change_password(world.alice)
        after = await world.login()
        async with asyncio.timeout(5):
            assert (await before.ended()).startswith(b"* BYE")
        await after.ok(b"NOOP")
        await other.ok(b"NOOP")


async def test_quiet_sessions_are_looked_at_only_when_the_directory_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "WATCH", 0.01)
    async with World() as world:
        client = await world.login()
        asked: list[int] = []
        for _ in range(3):
            await asyncio.sleep(0.1)
            await client.ok(b"NOOP")
            asked.append(world.directory.asked)
        assert asked[-1] == asked[0] == 1


async def test_a_clean_stop_says_bye_and_lets_commands_finish() -> None:
    async with World() as world:
        client = await world.login()
        await client.raw(b"a IDLE\r\n")
        await client.line()
        await world.server.close(grace=2)
        assert (await client.ended()).startswith(b"* BYE [UNAVAILABLE]")
        with pytest.raises(OSError):
            await world.connect()


async def pester(peer: socket.socket) -> None:
    """Until the other side has let go."""
    async with asyncio.timeout(5):
        while True:
            await asyncio.get_running_loop().sock_sendall(peer, b"x")
            await asyncio.sleep(0.05)


async def test_h037_a_connection_that_is_over_does_not_wait_for_a_peer_that_never_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channel, "LINGER", 0.2)
    async with World() as world:
        world.plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(peer, ("127.0.0.1", world.plain_port))
            await loop.sock_sendall(peer, b"a CAPABILITY\r\n" * 60 + b"b LOGOUT\r\n")
            with pytest.raises(ConnectionError):
                await pester(peer)


async def test_a_half_closed_peer_still_gets_its_answers() -> None:
    async with World() as world:
        client = await world.connect()
        await client.raw(b"a NOOP\r\nb LOGOUT\r\n")
        client.writer.write_eof()
        assert (await client.ended()).endswith(b"b OK LOGOUT completed\r\n")


async def test_a_stalled_handshake_ends() -> None:
    async with World(limits=Limits(tls_handshake=0.3)) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.tls_port)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
        writer.close()
        assert (await world.connect(tls=True)).greeting.startswith(b"* OK")


async def test_renewed_certificates_are_used_without_a_restart() -> None:
    async with World() as world:
        asked: list[ssl.SSLContext] = []
        door_context = world.context

        def contexts() -> ssl.SSLContext:
            asked.append(door_context)
            return door_context

        sock = world._socket()
        world.server.serve(sock, Mode.IMPLICIT, contexts)
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1], ssl=client_context())
            assert (await reader.readline()).startswith(b"* OK")
            writer.close()
        assert len(asked) == 2


async def test_f154_a_process_out_of_descriptors_waits_and_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(asyncio.get_running_loop())
    real, tries = kind.sock_accept, 0

    async def accept(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> object:
        nonlocal tries
        tries += 1
        if full:
            raise OSError(errno.EMFILE, "Too many open files")
        return await real(loop, sock)

    full = True
    monkeypatch.setattr(kind, "sock_accept", accept)
    async with World() as world:
        began = time.monotonic()
        async with asyncio.timeout(20):
            while tries < 6:  # three of each door, with two pauses: a busy machine only makes them longer
                await asyncio.sleep(0.01)
        assert time.monotonic() - began > listeners.ACCEPT_PAUSE
        full = False
        client = await world.login()
        await client.ok(b"NOOP")
