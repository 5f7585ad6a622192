"""AUTH with each mechanism over the wire, on a real directory (RFC 4954, RFC 7628, RFC 7677)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

from core.envelope import Listener
from smtp.listeners import Server
from tests.fakes.smtp_server import Wire, running, service
from tests.fakes.ways_in import MECHANISMS, OWN, USER, Sasl, Ways, ways_in


@contextlib.asynccontextmanager
async def served(path: Path) -> AsyncIterator[tuple[Ways, Server]]:
    async with (
        ways_in(path) as ways,
        running(service(Listener.SUBMISSION, tls=ways.tls, logins=ways.directory)) as server,
    ):
        yield ways, server


async def secured(ways: Ways, server: Server, *names: str) -> tuple[Wire, str]:
    """Connected, under TLS, and what EHLO then said."""
    talk = await Wire.connect(server)
    assert "AUTH" not in await talk.say("EHLO client.test")
    await talk.say("STARTTLS")
    await talk.writer.start_tls(ways.client(*names), server_hostname="127.0.0.1")
    return talk, await talk.say("EHLO client.test")


async def authenticate(talk: Wire, sasl: Sasl, *, initial: bool) -> str:
    first = sasl.line(None).decode() if initial else None
    answer = await talk.say(f"AUTH {sasl.mechanism}" + ("" if first is None else f" {first or '='}"))
    if first is None and sasl.mechanism != "LOGIN":
        assert answer.startswith("334 ")
        answer = await talk.say(sasl.line(None).decode())
    while answer.startswith("334 "):
        answer = await talk.say(sasl.line(answer[4:].strip().encode()).decode())
    return answer


async def test_each_mechanism_with_and_without_initial_response(tmp_path: Path) -> None:
    async with served(tmp_path) as (ways, server):
        for mechanism, initial in product(MECHANISMS, (True, False)):
            password = ways.clear if mechanism.startswith("SCRAM") else OWN
            talk, greeted = await secured(ways, server)
            assert "AUTH " + " ".join(MECHANISMS) in greeted
            if mechanism in ("SCRAM-SHA-256", "OAUTHBEARER") and initial:  # each costs the tarpit's second
                wrong = Sasl(mechanism, "wrong", "wrong")
                assert (await authenticate(talk, wrong, initial=initial)).startswith("535 5.7.8"), mechanism
            said = await authenticate(talk, Sasl(mechanism, password), initial=initial)
            assert said.startswith("235 2.7.0"), mechanism
            assert (await talk.say(f"MAIL FROM:<{USER}>")).startswith("250")
            assert (await talk.say("QUIT")).startswith("221")


async def test_external_speaks_for_the_certificate(tmp_path: Path) -> None:
    async with served(tmp_path) as (ways, server):
        talk, greeted = await secured(ways, server, USER)
        assert "EXTERNAL" in greeted
        assert (await talk.say("AUTH EXTERNAL =")).startswith("235 2.7.0")
        talk, greeted = await secured(ways, server)
        assert "EXTERNAL" not in greeted
        assert (await talk.say("AUTH EXTERNAL =")).startswith("504 5.5.4")


async def test_h095_each_mechanism_can_be_cancelled(tmp_path: Path) -> None:
    async with served(tmp_path) as (ways, server):
        for mechanism in MECHANISMS:
            talk, _ = await secured(ways, server)
            assert (await talk.say(f"AUTH {mechanism}")).startswith("334 ")
            assert (await talk.say("*")).startswith("501 5.7.0")
            assert (await talk.say("NOOP")).startswith("250")
            assert (await talk.say("QUIT")).startswith("221")
