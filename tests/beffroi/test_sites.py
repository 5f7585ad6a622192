"""The https door: the policies of hosted domains, as our own sender reads them; nothing for anybody else (RFC 8461)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from beffroi.installation import initialise
from beffroi.wiring import Rooms, open_rooms
from beffroi.worker.web import Web
from core.clock import ManualClock
from core.config import Config, Listen, MtaSts, load
from core.https import Https, HttpsFailed
from directory.types import Actor
from dkim_keys.check import Status, check_domain
from dkim_keys.records import domain_records
from dkim_keys.sts_policy import policy_id, policy_text
from smtp.outbound.sts_cache import StsCache
from smtp.outbound.sts_source import StsSource
from tests.fakes.resolver import FakeResolver

HOSTED, OTHER = "saint-aubin.test", "else.test"


@dataclass
class Door:
    config: Config
    web: Web
    rooms: Rooms
    port: int
    resolver: FakeResolver
    trusted: ssl.SSLContext
    authority: trustme.CA

    def https(self) -> Https:
        return Https(self.resolver, self.trusted, lambda address: True)

    async def get(self, name: str, path: str = "/.well-known/mta-sts.txt") -> tuple[int, bytes]:
        https = self.https()
        try:
            reply = await https.get(f"https://{name}:{self.port}{path}", most=10_000)
            return reply.status, reply.body
        finally:
            await https.close()


def certify(authority: trustme.CA, file: Path, *names: str) -> None:
    issued = authority.issue_cert(*names)
    chain = b"".join(item.bytes() for item in issued.cert_chain_pems)
    file.write_bytes(issued.private_key_pem.bytes() + chain)


@asynccontextmanager
async def opened(tmp_path: Path, change: Callable[[Config], dict[str, Any]] = lambda config: {}) -> AsyncIterator[Door]:
    config = load(await asyncio.to_thread(initialise, tmp_path / "data", "mx.dept.test"))
    authority = trustme.CA()
    sites = config.data / "sites"
    sites.mkdir()
    certify(authority, sites / f"mta-sts.{HOSTED}.pem", f"mta-sts.{HOSTED}")
    (sites / "broken.pem").write_text("no certificate")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        config = config.model_copy(
            update={
                "listen": Listen(https=[f"127.0.0.1:{port}"]),
                "tls": config.tls.model_copy(update={"sites": "sites"}),
                **change(config),
            }
        )
        stack = AsyncExitStack()
        rooms = await stack.enter_async_context(open_rooms(config))
        web = Web(config, rooms, stack)
        try:
            await web.serve((("https", sock),))
            actor = Actor.console()
            organisation = await rooms.directory.add_organisation(actor, "Saint-Aubin")
            await rooms.directory.add_domain(actor, HOSTED, organisation.id)
            names = {f"mta-sts.{name}": {"A": ["127.0.0.1"]} for name in (HOSTED, OTHER)}
            trusted = ssl.create_default_context()
            authority.configure_trust(trusted)
            yield Door(config, web, rooms, port, FakeResolver(names), trusted, authority)
        finally:
            await web.close()


async def test_our_own_sender_reads_the_policy_we_publish(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        text = policy_text(door.config)
        assert await door.get(f"mta-sts.{HOSTED}") == (200, text.encode())
        door.resolver.add(f"_mta-sts.{HOSTED}", "TXT", f"v=STSv1; id={policy_id(text)};")
        source = StsSource(door.resolver, door.https(), StsCache(tmp_path / "sts"), ManualClock(), port=door.port)
        state = await source.state(HOSTED)
        await source.close()
    assert state.policy
    assert (state.policy.mode.value, state.policy.patterns, state.fault) == ("testing", ("mx.dept.test",), "")
    assert state.policy.allows("mx.dept.test")


async def test_names_that_are_not_ours_and_paths_that_are_not_there_look_alike(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        certify(door.authority, door.config.data / "sites" / f"mta-sts.{OTHER}.pem", f"mta-sts.{OTHER}")
        with pytest.raises(HttpsFailed, match="certificate"):
            await door.get(f"mta-sts.{OTHER}")
        await door.web.reload(door.config)
        assert await door.get(f"mta-sts.{OTHER}") == (404, b"not found\n")
        assert await door.get(f"mta-sts.{HOSTED}", "/v1/domains") == (404, b"not found\n")


async def test_a_policy_is_found_under_the_name_that_the_rfc_gives_it_alone(tmp_path: Path) -> None:
    """RFC 8461 3.3: "mta-sts." before the domain; a commune's own web server may be at the domain itself."""
    async with opened(tmp_path) as door:
        certify(door.authority, door.config.data / "sites" / f"{HOSTED}.pem", HOSTED)
        door.resolver.add(HOSTED, "A", "127.0.0.1")
        await door.web.reload(door.config)
        assert await door.get(HOSTED) == (404, b"not found\n")


async def test_a_reload_changes_policy_and_id(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        changed = door.config.model_copy(update={"mta_sts": MtaSts(mode="enforce", max_age="30d")})
        await door.web.reload(changed)
        status, body = await door.get(f"mta-sts.{HOSTED}")
        assert (status, b"mode: enforce\r\n" in body, b"max_age: 2592000\r\n" in body) == (200, True, True)
        assert policy_id(policy_text(changed)) != policy_id(policy_text(door.config))
        await door.web.reload(door.config.model_copy(update={"mta_sts": MtaSts(mode="off")}))
        assert (await door.get(f"mta-sts.{HOSTED}"))[0] == 404


async def test_the_records_are_shown_and_checked(tmp_path: Path) -> None:
    text = "version: STSv1\r\n"
    records = [
        r
        for r in domain_records(HOSTED, "mx.dept.test", [], sts_policy=text)
        if r.kind.value in ("sts", "sts-host", "tlsrpt")
    ]
    assert [(r.name, r.type, r.required) for r in records] == [
        (f"_mta-sts.{HOSTED}", "TXT", False),
        (f"mta-sts.{HOSTED}", "CNAME", False),
        (f"_smtp._tls.{HOSTED}", "TXT", False),
    ]
    good = FakeResolver(
        {
            f"_mta-sts.{HOSTED}": {"TXT": [f"v=STSv1;id={policy_id(text)}"]},
            f"mta-sts.{HOSTED}": {"CNAME": ["mx.dept.test"]},
            f"_smtp._tls.{HOSTED}": {"TXT": ["v=TLSRPTv1; rua=mailto:dsi@dept.test"]},
        }
    )
    assert [item.status for item in await check_domain(good, records)] == [Status.CORRECT] * 3
    stale = FakeResolver({f"_mta-sts.{HOSTED}": {"TXT": ["v=STSv1; id=old;"]}})
    checks = await check_domain(stale, records)
    assert [item.status for item in checks] == [Status.INCORRECT, Status.MISSING, Status.MISSING]
    assert [item.good for item in checks] == [False, True, True]
