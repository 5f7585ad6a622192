"""COMPRESS=DEFLATE (RFC 4978): the example, any split of the stream, bombs, rubbish, and what rests while idle."""

from __future__ import annotations

import asyncio
import random
import re
import zlib

import pytest

from core.config import Limits
from imap.deflate import MOST, Deflate, DeflateError
from tests.fakes.imap_world import PATIENCE, Client, World

TAGGED = re.compile(rb"^a [^\r]*\r\n", re.MULTILINE)
MAIL = b"Subject: one\r\n\r\nbody\r\n"


class Squeezed:
    """A client behind COMPRESS."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.out = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.back = zlib.decompressobj(-15)
        self.text = b""

    def pack(self, data: bytes) -> bytes:
        return self.out.compress(data) + self.out.flush(zlib.Z_SYNC_FLUSH)

    async def until(self, end: bytes) -> bytes:
        while end not in self.text:
            await self._more()
        found, _, self.text = self.text.partition(end)
        return found + end

    async def _more(self) -> None:
        async with asyncio.timeout(PATIENCE):
            data = await self.client.reader.read(65536)
        assert data, self.text
        self.text += self.back.decompress(data)

    async def ask(self, command: bytes) -> bytes:
        await self.client.raw(self.pack(b"a " + command + b"\r\n"))
        looked = 0
        while not (match := TAGGED.search(self.text, looked)):
            looked = max(self.text.rfind(b"\r\n"), 0)
            await self._more()
        answer, self.text = self.text[: match.end()], self.text[match.end() :]
        return answer


async def compressed(world: World) -> Squeezed:
    client = await world.login()
    await client.ok(b"COMPRESS DEFLATE")
    return Squeezed(client)


async def test_rfc4978_example() -> None:
    async with World() as world:
        client = await world.connect()
        assert b"COMPRESS" not in client.greeting
        assert (await client.ask(b"COMPRESS DEFLATE"))[-1].startswith(b"a BAD")
        await client.login()
        assert b" COMPRESS=DEFLATE" in (await client.ok(b"CAPABILITY"))[0]
        assert (await client.ask(b"COMPRESS FOO"))[-1].startswith(b"a BAD")
        assert await client.ok(b"COMPRESS DEFLATE") == [b"a OK DEFLATE active"]
        squeezed = Squeezed(client)
        assert b"NO [COMPRESSIONACTIVE]" in await squeezed.ask(b"COMPRESS DEFLATE")
        assert b"COMPRESS=DEFLATE" not in await squeezed.ask(b"CAPABILITY")


async def test_a_whole_session_in_any_split() -> None:
    async with World() as world:
        squeezed = await compressed(world)
        message = b"Subject: x\r\n\r\n" + b"some words that come again\r\n" * 20_000
        await squeezed.client.raw(squeezed.pack(b"a APPEND INBOX {%d}\r\n" % len(message)))
        assert await squeezed.until(b"\r\n") == b"+ OK\r\n"
        stream = squeezed.pack(message + b"\r\n")
        seed = random.Random(3)
        while stream:
            size = seed.choice([1, 2, 3, 100, 5000])
            await squeezed.client.raw(stream[:size])
            stream = stream[size:]
        assert b"a OK [APPENDUID" in await squeezed.until(b"completed\r\n")
        await squeezed.ask(b"SELECT INBOX")
        answer = await squeezed.ask(b"FETCH 1 BODY.PEEK[]")
        assert message in answer
        pipeline = b"".join(b"p%d NOOP\r\n" % number for number in range(500))
        await squeezed.client.raw(squeezed.pack(pipeline))
        await squeezed.until(b"p499 OK NOOP completed\r\n")


async def test_over_tls_and_in_idle() -> None:
    async with World() as world:
        client = await (await world.connect(tls=True)).login()
        await client.ok(b"SELECT INBOX")
        await client.ok(b"COMPRESS DEFLATE")
        squeezed = Squeezed(client)
        await client.raw(squeezed.pack(b"a IDLE\r\n"))
        await squeezed.until(b"+ idling\r\n")
        (await world.account()).deliver(MAIL)
        assert await squeezed.until(b"\r\n") == b"* 1 EXISTS\r\n"
        for octet in squeezed.pack(b"DONE\r\n"):
            await client.raw(bytes([octet]))
        assert await squeezed.until(b"\r\n") == b"a OK IDLE terminated\r\n"


async def test_what_is_no_deflate_stream_ends_the_connection() -> None:
    async with World() as world:
        for rubbish in (b"a NOOP\r\n" * 100, b"\xff" * 50, zlib.compressobj(9, 8, -15).flush(zlib.Z_FINISH)):
            squeezed = await compressed(world)
            await squeezed.client.raw(rubbish)
            assert b"OK NOOP" not in await squeezed.client.ended()


async def test_clear_text_behind_compress_ends_the_connection() -> None:
    async with World() as world:
        client = await world.login()
        await client.raw(b"a COMPRESS DEFLATE\r\nb NOOP\r\n")
        assert (await client.ended()).startswith(b"* BYE [CLIENTBUG]")


async def test_rfc8437_unauthenticate_ends_compression_both_ways() -> None:
    async with World() as world:
        squeezed = await compressed(world)
        assert (await squeezed.ask(b"UNAUTHENTICATE")).startswith(b"a OK [CAPABILITY ")
        client = squeezed.client
        await client.ok(b"NOOP")
        await client.login()
        assert await client.ok(b"COMPRESS DEFLATE") == [b"a OK DEFLATE active"]
        assert (await Squeezed(client).ask(b"NOOP")) == b"a OK NOOP completed\r\n"


@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_FINISH])
async def test_rfc8437_clear_text_may_be_pipelined_behind_unauthenticate(flush: int) -> None:
    async with World() as world:
        squeezed = await compressed(world)
        last = squeezed.out.compress(b"a NOOP\r\na UNAUTHENTICATE\r\n") + squeezed.out.flush(flush)
        await squeezed.client.raw(last + b"b NOOP\r\n")
        back, text = Deflate(), b""
        while b"a OK [CAPABILITY " not in text:
            async with asyncio.timeout(PATIENCE):
                text += back.inflate(await squeezed.client.reader.read(65536))
        assert text.startswith(b"a OK NOOP completed\r\n")
        assert (back.end() or await squeezed.client.line()).startswith(b"b OK NOOP completed")


async def test_compressed_commands_behind_unauthenticate_end_the_connection() -> None:
    async with World() as world:
        squeezed = await compressed(world)
        await squeezed.client.raw(squeezed.pack(b"a UNAUTHENTICATE\r\nb NOOP\r\n"))
        assert b"BYE [CLIENTBUG] compressed text" in await squeezed.until(b"\r\n")


def test_what_is_behind_the_end_of_compression_is_given_back_and_no_more() -> None:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = stream.compress(b"one") + stream.flush(zlib.Z_SYNC_FLUSH)
    deflate = Deflate()
    assert deflate.inflate(packed + b"clear") == b"one"
    assert deflate.pending
    assert deflate.end() == b"clear"
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflate = Deflate()
    deflate.inflate(bomb.compress(b"b" * 2 * MOST) + bomb.flush(zlib.Z_SYNC_FLUSH))
    with pytest.raises(DeflateError):
        deflate.end()


async def test_h105_a_bomb_is_inflated_piece_by_piece() -> None:
    """1 KiB of octets for each MiB of text: the bounds of commands hold for the text, and others are served."""
    async with World(limits=Limits(message_size="1M")) as world:
        squeezed = await compressed(world)
        other = await world.login()
        bomb = squeezed.pack(b"a" * 30_000_000)
        assert len(bomb) < 40_000
        await squeezed.client.raw(bomb)
        await other.ok(b"NOOP")
        assert b"BAD [TOOBIG]" in await squeezed.until(b"\r\n")
        assert await squeezed.until(b"\r\n")  # BYE: a line without end


def test_h105_no_more_than_a_piece_is_in_hand() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    octets = bomb.compress(b"b" * 10 * MOST) + bomb.flush(zlib.Z_SYNC_FLUSH)
    deflate, pieces = Deflate(), []
    data = octets
    while True:
        pieces.append(deflate.inflate(data))
        data = b""
        assert len(pieces[-1]) <= MOST
        if not deflate.pending:
            break
    assert b"".join(pieces) == b"b" * 10 * MOST


@pytest.mark.parametrize("size", [0, 1, MOST - 1, MOST, MOST + 1, 2 * MOST])
def test_every_length_comes_back(size: int) -> None:
    text = random.Random(size).randbytes(size)
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflate = Deflate()
    found = deflate.inflate(stream.compress(text) + stream.flush(zlib.Z_SYNC_FLUSH))
    while deflate.pending:
        found += deflate.inflate(b"")
    assert found == text


def test_a_rested_compressor_goes_on_in_the_same_stream() -> None:
    deflate, peer = Deflate(), zlib.decompressobj(-15)
    for word in (b"one" * 100, b"two" * 100):
        assert peer.decompress(deflate.deflate(word)) == word
        deflate.rest()
    with pytest.raises(DeflateError):
        deflate.inflate(b"\xff" * 10)
