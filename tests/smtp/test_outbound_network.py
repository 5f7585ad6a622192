"""The network's faults (f165): an address family that leads nowhere, resets, a way out that is blocked."""

from __future__ import annotations

import socket
import struct

import pytest
from structlog.testing import capture_logs

from core.clock import ManualClock
from delivery.types import ResultKind
from smtp.outbound.connection import PATIENCE
from smtp.outbound.dialogue import Stage
from smtp.outbound.egress import MANY, PAUSE, Egress
from tests.fakes.resolver import FakeResolver, Zone
from tests.fakes.scripted_smtp import Remote, job, scripted
from tests.smtp.agent import agent, good


async def test_f165_an_ipv6_that_leads_nowhere_costs_one_attempt() -> None:
    """The answer for IPv6 comes first; nobody is there, or there is no IPv6 here at all."""
    zone: Zone = {"r.test": {"MX": [(10, "mx.r.test")]}, "mx.r.test": {"AAAA": ["::1"], "A": ["127.0.0.1"]}}
    async with scripted(good) as remote, agent(FakeResolver(zone), port=remote.port) as made:
        (result,) = await made.deliver(job("r.test", "a@r.test", static=False))
    assert (result.kind, remote.connections) == (ResultKind.DELIVERED, 1)


def reset(remote: Remote) -> None:
    """RST instead of FIN."""
    sock: socket.socket = remote.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    remote.writer.transport.abort()


@pytest.mark.parametrize("after", ["connect", "ehlo", "mail", "data"])
async def test_f165_a_reset_at_any_moment_defers_and_another_host_may_take_it(after: str) -> None:
    async def script(remote: Remote) -> None:
        if after == "connect":
            return reset(remote)
        await remote.say("220 hi")
        if after != "ehlo":
            await remote.hear(answer="250 remote.test")
        if after == "data":
            await remote.hear(answer="250 ok")
            await remote.hear(answer="250 ok")
            await remote.hear(answer="354 go")
        return reset(remote)

    zone: Zone = {
        "r.test": {"MX": [(10, "one.r.test"), (20, "two.r.test")]},
        "one.r.test": {"A": ["127.0.0.1"]},
        "two.r.test": {"A": ["127.0.0.1"]},
    }
    content = b"Subject: x\r\n\r\n" + b"y" * 76 * 2000 + b"\r\n"

    async def takes(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        while b"\r\n.\r\n" not in await remote.reader.read(1 << 20):
            pass
        await remote.say("250 done")

    patience = {**PATIENCE, Stage.GREETING: 20.0}
    async with (
        scripted(script, takes) as remote,
        agent(FakeResolver(zone), port=remote.port, patience=patience) as made,
    ):
        (result,) = await made.deliver(job("r.test", "a@r.test", static=False, content=content))
    # "data": the final dot cannot have been sent, unless the whole message fitted into the socket's buffers
    if after != "data" or result.kind is ResultKind.DELIVERED:
        assert (result.kind, remote.connections) == (ResultKind.DELIVERED, 2)
    else:
        assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "connection-lost")


def alarms(egress: Egress, *addresses: str) -> list[str]:
    with capture_logs() as logs:
        for address in addresses:
            egress.failed(address)
    return [entry["family"] for entry in logs if entry["event"] == "egress-blocked"]


def test_f165_a_way_out_that_is_blocked_is_told_once_an_hour() -> None:
    clock = ManualClock()
    egress = Egress(clock)
    many = [f"192.0.2.{n}" for n in range(MANY)]
    assert alarms(egress, *["192.0.2.1"] * 100) == [], "one dead server is ordinary"
    assert alarms(egress, *many, *many) == ["IPv4"]
    clock.advance(PAUSE + 1)
    assert alarms(egress, *many) == ["IPv4"]
    egress.connected("2001:db8::1")
    clock.advance(PAUSE + 1)
    assert alarms(egress, "192.0.2.99") == ["IPv4"], "another family says nothing about this one"
    clock.advance(PAUSE + 1)
    egress.connected("192.0.2.200")
    assert alarms(egress, *many[:-1]) == []
