"""PROXY headers: exact octets, both versions, and nothing believed that is not one (security.md row 19)."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.proxy import MAX_V2, SIGNATURE, Claim, ProxyError, read_header

V4 = bytes([192, 0, 2, 1]) + bytes([198, 51, 100, 1]) + struct.pack("!HH", 4711, 25)
V6 = bytes(15) + b"\1" + bytes(15) + b"\2" + struct.pack("!HH", 4711, 25)


def second(command: int, family: int, data: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(data) if length is None else length) + data


class Octets:
    def __init__(self, data: bytes) -> None:
        self.data = data

    async def read(self, count: int) -> bytes:
        if len(self.data) < count:
            raise ProxyError("connection closed")
        taken, self.data = self.data[:count], self.data[count:]
        return taken


async def parse(data: bytes) -> tuple[Claim, bytes]:
    """The claim, and what was left for whoever comes next."""
    octets = Octets(data)
    return await read_header(octets.read), octets.data


@pytest.mark.parametrize(
    ("header", "claim"),
    [
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 25\r\n", ("192.0.2.1", 4711)),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 25\r\n", ("2001:db8::1", 4711)),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
        (second(0x21, 0x11, V4), ("192.0.2.1", 4711)),
        (second(0x21, 0x21, V6), ("::1", 4711)),
        (second(0x21, 0x11, V4 + b"\3\0\4abcd"), ("192.0.2.1", 4711)),
        (second(0x20, 0x00, b""), None),
        (second(0x20, 0x11, V4), None),
        (second(0x21, 0x00, b"x" * 10), None),
    ],
)
async def test_headers_are_read_to_their_last_octet(header: bytes, claim: Claim) -> None:
    assert await parse(header + b"\x16\x03EHLO") == (claim, b"\x16\x03EHLO")


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO client.test\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 99999\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 +711 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 04711 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 00\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.1 4711 25\r\n",
        b"PROXY TCP6 fe80::1%eth0 2001:db8::2 4711 25\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 4711 25\r\n",
        b"PROXY TCP4 192.0.2.1  198.51.100.1 4711 25\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.1 4711 25\r\n",
        b"PROXY TCP4 192.0.2.\xe9 198.51.100.1 4711 25\r\n",
        b"PROXY " + b"x" * 200 + b"\r\n",
        b"PROXY TCP4 192.0.2.1",
        second(0x11, 0x11, V4),
        second(0x22, 0x11, V4),
        second(0x21, 0x11, V4[:11]),
        second(0x21, 0x21, V6[:35]),
        second(0x21, 0x31, b"x" * 216),
        pytest.param(second(0x21, 0x11, V4 + bytes(MAX_V2 + 1 - len(V4))), id="one octet too many"),
        SIGNATURE,
        b"",
    ],
)
async def test_h019_anything_else_is_refused(header: bytes) -> None:
    with pytest.raises(ProxyError):
        await parse(header)


STARTS = (b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\0\x0c")


@given(st.binary(max_size=64), st.sampled_from(STARTS))
async def test_h019_no_octets_raise_anything_else(data: bytes, prefix: bytes) -> None:
    with contextlib.suppress(ProxyError):
        await parse(prefix + data)
