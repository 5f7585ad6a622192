"""What the joined parts do together that none of them shows alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from antispam.types import Unscanned
from beffroi.wiring import make_rspamd
from core.address import Address
from core.config import Antispam, Config, Limits
from core.envelope import Envelope, Listener, Peer, Recipient
from delivery.evidence import Case, gather
from message.address_list import From
from message.content import BytesContent
from tests.fakes.delivery_world import FakeAuthenticator, FakeVerification

HEAD = b"Subject: x\r\n\r\n"


async def test_f160_a_scanner_that_hangs_is_left_alone_after_five_messages(tmp_path: Path) -> None:
    """Both patiences were 30 s, the evidence's ended first, and the breaker never heard of it."""
    hold = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hold.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    config = Config(
        hostname="mx.dept.test", data=tmp_path, antispam=Antispam(rspamd=url), limits=Limits(evidence_timeout=0.5)
    )
    rspamd = make_rspamd(config)
    envelope = Envelope("q1", None, (Recipient(Address("b", "y.test")),))
    case = Case(envelope, Peer("192.0.2.1", 25, Listener.MX, "c1"), BytesContent(HEAD), b"", From((), (), frozenset()))

    async def scan() -> object:
        timeout = config.limits.evidence_timeout
        return (await gather(case, FakeAuthenticator(), FakeVerification(HEAD), rspamd, timeout=timeout)).scan

    try:
        assert await asyncio.gather(*(scan() for _ in range(5))) == [Unscanned("timeout")] * 5
        assert await scan() == Unscanned("unavailable"), "at once, without asking"
    finally:
        hold.set()
        await rspamd.close()
        server.close()
        await server.wait_closed()
