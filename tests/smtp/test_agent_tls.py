"""The delivery agent under STARTTLS: offered, broken, required; and against our own server (security.md row 26)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
import uvloop

from core.clock import ManualClock
from core.config import Config
from core.tls import ServerTls
from delivery.types import Job, Result, ResultKind
from smtp.outbound.agent import SmtpAgent
from smtp.outbound.connection import Caller
from smtp.outbound.mx import MxResolver, Target
from smtp.outbound.pool import Pool
from smtp.outbound.tls_policy import Opportunistic, TlsPolicy
from smtp.outbound.tls_results import Applied, PolicyKind, Session, Uncounted
from tests.fakes.resolver import FakeResolver
from tests.fakes.scripted_smtp import EHLO, Remote, Script, job, scripted
from tests.fakes.smtp_server import FakeAcceptor, certificate, running, service
from tests.smtp.agent import agent, deliver, good, to

TLS_EHLO = EHLO.replace("250 HELP", "250 STARTTLS")


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")


def offers_tls(context: ssl.SSLContext, *, extra: str = "", ehlo: str = EHLO) -> Script:
    async def script(remote: Remote) -> None:
        await remote.greet(TLS_EHLO)
        await remote.hear(answer="220 go" + extra)
        await remote.start_tls(context)
        await remote.hear(answer=ehlo)
        for answer in ("250 ok", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        await remote.body()
        await remote.say("250 done")

    return script


async def test_tls_is_used_when_offered_without_trust(issued: tuple[trustme.CA, Path, Path]) -> None:
    (result,), heard = await deliver(to(), offers_tls(ServerTls(issued[1], issued[2]).context))
    assert result.kind is ResultKind.DELIVERED
    assert [line.split(" ")[0] for line in heard[:4]] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]


async def test_rfc9422_3_6_limits_told_in_clear_are_forgotten_with_all_that_was(
    issued: tuple[trustme.CA, Path, Path],
) -> None:
    async def script(remote: Remote) -> None:
        await remote.greet(TLS_EHLO.replace("250 STARTTLS", "250-LIMITS RCPTMAX=1\r\n250 STARTTLS"))
        await remote.hear(answer="220 go")
        await remote.start_tls(ServerTls(issued[1], issued[2]).context)
        await remote.hear(answer=EHLO)
        for answer in ("250 ok", "250 ok", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        await remote.body()
        await remote.say("250 done")

    results, _ = await deliver(to("a@r.test", "b@r.test"), script)
    assert [result.kind for result in results] == [ResultKind.DELIVERED] * 2


async def test_h026_replies_injected_before_the_handshake_end_the_session(
    issued: tuple[trustme.CA, Path, Path],
) -> None:
    script = offers_tls(ServerTls(issued[1], issued[2]).context, extra="\r\n250-evil\r\n250 NOTLS")
    (result,), heard = await deliver(to(), script)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "injected-reply")
    assert not any(line.startswith("MAIL") for line in heard)


async def test_a_failed_handshake_falls_back_to_what_would_have_been() -> None:
    async def breaks(remote: Remote) -> None:
        await remote.greet(TLS_EHLO)
        await remote.hear(answer="220 go")
        await remote.reader.read(100)
        remote.writer.write(b"not tls at all, sorry\r\n")

    (result,), heard = await deliver(to(), breaks, good)
    assert result.kind is ResultKind.DELIVERED
    assert [line.split(" ")[0] for line in heard[:4]] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]


async def test_h026_require_tls_is_verified_or_deferred(issued: tuple[trustme.CA, Path, Path], tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    issued[0].cert_pem.write_to_path(ca_file)
    with_requiretls = EHLO.replace("250 HELP", "250 REQUIRETLS")
    script = offers_tls(ServerTls(issued[1], issued[2]).context, ehlo=with_requiretls)
    work = to(require_tls=True)
    (result,), heard = await deliver(work, script, ca_file=str(ca_file))
    assert result.kind is ResultKind.DELIVERED
    assert heard[3].endswith(" REQUIRETLS")
    (result,), heard = await deliver(work, script)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "certificate-not-trusted")
    assert result.status.enhanced == "4.7.5", "RFC 3463 3.8: not 4.4.1, somebody did answer"
    (result,), heard = await deliver(work, good, ca_file=str(ca_file))
    assert (result.kind, result.status.enhanced) == (ResultKind.DEFERRED, "4.7.10")
    assert not any(line.startswith("MAIL") for line in heard)


async def told(policy: TlsPolicy, *scripts: Script) -> tuple[Result, list[Session]]:
    """What became of a message under a policy, and what is counted of it."""

    class Fixed:
        async def policy(self, _job: Job, _target: Target) -> TlsPolicy:
            return policy

        async def close(self) -> None:
            pass

    heard: list[Session] = []

    class Heard:
        def note(self, session: Session) -> None:
            heard.append(session)

    mx = MxResolver(FakeResolver(), port=25, ours=lambda a, p: False, allow_private=True, shuffle=lambda r: None)
    async with scripted(*scripts) as remote:
        made = SmtpAgent(Caller("mx.mairie.test"), mx, Fixed(), pool=Pool(idle=0.0), results=Heard())
        (result,) = await made.deliver(to()(remote.port))
        await made.close()
    return result, heard


@pytest.mark.parametrize(("fallback", "kind"), [(True, ResultKind.DELIVERED), (False, ResultKind.DEFERRED)])
async def test_a_server_without_starttls_is_told_to_who_reports_also_where_a_policy_lets_it_go(
    fallback: bool, kind: ResultKind
) -> None:
    """RFC 8460 4.3.1, starttls-not-supported; RFC 8461 5: that is what testing is for."""
    basis = Opportunistic()
    policy = replace(
        basis.required, applied=Applied(PolicyKind.STS, "r.test"), fallback=basis.offered if fallback else None
    )
    result, heard = await told(policy, good, good)
    assert result.kind is kind
    assert [item.failure for item in heard] == ["starttls-not-supported"]
    assert heard[0].source == "127.0.0.1", "RFC 8460 4.4, sending-mta-ip: who reads it looks for it in his own log"


async def test_a_certificate_that_is_not_trusted_is_told_with_the_address_we_called_from(
    issued: tuple[trustme.CA, Path, Path],
) -> None:
    policy = replace(Opportunistic().required, applied=Applied(PolicyKind.STS, "r.test"))
    result, heard = await told(policy, offers_tls(ServerTls(issued[1], issued[2]).context))
    assert result.kind is ResultKind.DEFERRED
    assert [(item.failure, item.source) for item in heard] == [("certificate-not-trusted", "127.0.0.1")]


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_from_our_agent_to_our_server(
    factory: Callable[[], asyncio.AbstractEventLoop], issued: tuple[trustme.CA, Path, Path]
) -> None:
    acceptor = FakeAcceptor()
    body = b"Subject: x\r\n\r\n" + (b"." * 70 + b"\r\n") * 20_000

    async def main() -> None:
        what = service(acceptor=acceptor, tls=ServerTls(issued[1], issued[2]))
        async with running(what) as server, agent(idle=5.0) as made:
            host, port = server.addresses[0]
            for number in range(20):
                people = ("agent@mairie.test", f"unknown{number}@mairie.test")
                results = await made.deliver(job(f"{host}:{port}", *people, content=body))
                assert [r.kind for r in results] == [ResultKind.DELIVERED, ResultKind.FAILED]

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert acceptor.messages == [body] * 20
    assert acceptor.receptions[0].transaction.peer.tls is not None
    assert len({each.transaction.peer.connection for each in acceptor.receptions}) == 1


def test_the_agent_of_the_suite(tmp_path: Path) -> None:
    config = Config(hostname="mx.mairie.test", data=tmp_path)
    assert isinstance(SmtpAgent.create(config, FakeResolver(), ManualClock(), Uncounted()), SmtpAgent)
